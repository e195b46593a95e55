"""Who is let in: everybody on this machine, nobody beyond it without a sign-in, and only who signed in where one is."""

import sys
from collections.abc import Callable

import page_tests
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages.server import access

PROVIDER = {"client_id": "app", "client_secret": "secret", "server_metadata_url": "https://sign-in.invalid/"}
SIGN_IN = {"auth": {"redirect_uri": "http://localhost/oauth2callback", "cookie_secret": "long", **PROVIDER}}
NAMED = {"auth": {"redirect_uri": "http://localhost/oauth2callback", "cookie_secret": "long", "ward": PROVIDER}}
ADA = {"is_logged_in": True, "name": "Ada *Lovelace*"}
HERE, EVERYWHERE = "127.0.0.1", "0.0.0.0"

Listen = Callable[[str], None]


@pytest.fixture(autouse=True)
def listen(workspace, monkeypatch) -> Listen:
    """Say at which address the server listens; on this machine by default."""
    asked, real = {"server.address": HERE}, st.get_option
    monkeypatch.delenv(access.OVERRIDE, raising=False)
    monkeypatch.setattr(st, "get_option", lambda name: asked.get(name) or real(name))
    return lambda address: asked.update({"server.address": address})


def visited(user: dict[str, object] | None = None, secrets: dict[str, object] | None = None) -> AppTest:
    app = AppTest.from_file(str(page_tests.APP), default_timeout=page_tests.PATIENCE)
    app.user = user or {}
    app.secrets = secrets or {}
    app.run()
    assert not app.exception
    return app


def is_let_in(app: AppTest) -> bool:
    return bool(app.title)


def buttons(app: AppTest) -> list[str]:
    return [button.key for button in app.button]


def test_on_this_machine_without_a_sign_in_everybody_is_let_in(workspace):
    app = visited()
    assert is_let_in(app)
    assert "sign-out" not in buttons(app)


def test_beyond_this_machine_without_a_sign_in_nobody_is(listen):
    listen(EVERYWHERE)
    app = visited()
    assert not is_let_in(app)
    assert len(app.error) == 1


def test_who_says_that_everybody_may_come_in_is_believed(listen, monkeypatch):
    listen(EVERYWHERE)
    monkeypatch.setenv(access.OVERRIDE, "1")
    assert is_let_in(visited())


@pytest.mark.parametrize("address", [HERE, EVERYWHERE])
@pytest.mark.parametrize("user", [{}, {"is_logged_in": False}, {"is_logged_in": "yes"}, {"email": "ada@example.com"}])
def test_where_a_sign_in_is_set_up_a_stranger_sees_the_way_in_and_nothing_else(listen, address, user):
    listen(address)
    app = visited(user, SIGN_IN)
    assert buttons(app) == ["sign-in-default"]
    assert [len(app.markdown), len(app.title), len(app.caption), len(app.sidebar)] == [1, 0, 0, 0]


def test_a_sign_in_is_asked_for_though_everybody_may_come_in(monkeypatch):
    monkeypatch.setenv(access.OVERRIDE, "1")
    assert not is_let_in(visited({}, SIGN_IN))


@pytest.mark.parametrize("address", [HERE, EVERYWHERE])
def test_who_has_signed_in_is_let_in_and_told_as_whom(listen, address):
    listen(address)
    app = visited(ADA, SIGN_IN)
    assert is_let_in(app)
    assert [one.value for one in app.sidebar.caption][-1] == r"Signed in as Ada \*Lovelace\*"


def test_signing_out_closes_the_pages():
    app = visited(ADA, SIGN_IN)
    app.button(key="sign-out").click().run()
    assert not is_let_in(app)
    assert buttons(app) == ["sign-in-default"]


def test_each_provider_has_its_way_in():
    assert buttons(visited({}, NAMED)) == ["sign-in-ward"]


def test_without_authlib_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "authlib", None)
    app = visited({}, SIGN_IN)
    app.button(key="sign-in-default").click().run()
    assert not app.exception
    assert ["streamlit[auth]" in one.value for one in app.error] == [True]
    assert not is_let_in(app)


def test_a_file_of_secrets_that_cannot_be_read_lets_nobody_in(tmp_path, monkeypatch):
    broken = tmp_path / "secrets.toml"
    broken.write_text("[auth\n")
    real = st.get_option
    monkeypatch.setattr(st, "get_option", lambda name: [str(broken)] if name == "secrets.files" else real(name))
    app = visited()
    assert not is_let_in(app)
    assert len(app.error) == 1


ADMIN = {**ADA, "email": "ada@example.org"}


def may_administer(user: dict[str, object], secrets: dict[str, object]) -> bool:
    app = AppTest.from_function(_permission, default_timeout=page_tests.PATIENCE)
    app.user, app.secrets = user, secrets
    app.run()
    return app.text[0].value == "True"


def _permission() -> None:
    import streamlit as st

    from pages.server import access

    st.text(access.may_administer())


def test_at_this_machine_everybody_may_administer():
    assert may_administer({}, {})


def test_beyond_this_machine_nobody_may_administer_without_a_sign_in(listen):
    listen(EVERYWHERE)
    assert not may_administer({}, {})


@pytest.mark.parametrize(("named", "may"), [(["ada@example.org"], True), (["eve@example.org"], False), ([], False)])
def test_where_people_sign_in_those_who_are_named_may_administer(named, may):
    assert may_administer(ADMIN, {**SIGN_IN, "administrators": named}) == may


def test_who_has_not_signed_in_may_not_administer():
    assert not may_administer({"email": "ada@example.org"}, {**SIGN_IN, "administrators": ["ada@example.org"]})
