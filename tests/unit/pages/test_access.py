"""Who is let in: everybody on this machine, nobody beyond it without a sign-in, and only who signed in where one is."""

import sys
import time
from collections.abc import Callable, Iterator

import page_tests
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from covid_core.data.imports.importing import import_folder
from covid_core.jobs import queue
from covid_core.lessons import classroom
from covid_core.runs import store
from covid_core.runs.store import Status
from covid_core.specs import TrainingSpec
from pages.server import access

PROVIDER = {"client_id": "app", "client_secret": "secret", "server_metadata_url": "https://sign-in.invalid/"}
ADDRESS = "ada@example.org"
SIGN_IN = {
    "viewers": [ADDRESS],
    "auth": {"redirect_uri": "http://localhost/oauth2callback", "cookie_secret": "long" * 8, **PROVIDER},
}
NAMED = {"auth": {"redirect_uri": "http://localhost/oauth2callback", "cookie_secret": "long" * 8, "ward": PROVIDER}}
ADA = {"is_logged_in": True, "name": "Ada *Lovelace*", "email": ADDRESS}
HERE, EVERYWHERE = "127.0.0.1", "0.0.0.0"

Listen = Callable[[str], None]


@pytest.fixture(autouse=True)
def listen(workspace, monkeypatch) -> Listen:
    """Say at which address the server listens; on this machine by default."""
    asked, real = {"server.address": HERE}, st.get_option
    monkeypatch.delenv(access.OVERRIDE, raising=False)
    monkeypatch.setattr(st, "get_option", lambda name: asked.get(name) or real(name))
    return lambda address: asked.update({"server.address": address})


def visited(
    user: dict[str, object] | None = None, secrets: dict[str, object] | None = None, page: str = "", **address: str
) -> AppTest:
    app = AppTest.from_file(str(page_tests.APP), default_timeout=page_tests.PATIENCE)
    app.user = user or {}
    app.secrets = secrets or {}
    for name, value in address.items():
        app.query_params[name] = value
    if page:
        app.switch_page(f"{page}.py")
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
@pytest.mark.parametrize("user", [{}, {"is_logged_in": False}, {"is_logged_in": "yes"}, {"email": ADDRESS}])
def test_where_a_sign_in_is_set_up_a_stranger_sees_the_way_in_and_nothing_else(listen, address, user):
    listen(address)
    app = visited(user, SIGN_IN)
    assert buttons(app) == ["sign-in-default", "way-in-join"]
    assert [len(app.title), len(app.caption), len(app.sidebar)] == [0, 0, 0]


def test_a_sign_in_is_asked_for_though_everybody_may_come_in(monkeypatch):
    monkeypatch.setenv(access.OVERRIDE, "1")
    assert not is_let_in(visited({}, SIGN_IN))


@pytest.mark.parametrize("address", [HERE, EVERYWHERE])
def test_who_has_signed_in_is_let_in_and_told_as_whom(listen, address):
    listen(address)
    app = visited(ADA, SIGN_IN)
    assert is_let_in(app)
    assert [one.value for one in app.sidebar.caption][-1] == r"Signed in as Ada \*Lovelace\*, viewer"


@pytest.mark.parametrize(("path", "warnings"), [("", 0), ("look", 1)])
def test_an_address_to_come_back_to_that_lacks_the_path_is_named(monkeypatch, path, warnings):
    real = st.get_option
    monkeypatch.setattr(st, "get_option", lambda name: path if name == "server.baseUrlPath" else real(name))
    assert len(visited({}, SIGN_IN).warning) == warnings


def test_who_has_just_signed_in_is_not_told_of_a_forgotten_session():
    assert not visited(ADA, SIGN_IN).toast


def test_signing_out_closes_the_pages():
    app = visited(ADA, SIGN_IN)
    app.button(key="sign-out").click().run()
    assert not is_let_in(app)
    assert "sign-in-default" in buttons(app)


def test_each_provider_has_its_way_in():
    assert buttons(visited({}, NAMED)) == ["sign-in-ward", "way-in-join"]


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


def role_of(user: dict[str, object], secrets: dict[str, object]) -> str:
    """The role in which the core meets somebody."""
    app = AppTest.from_function(_role, default_timeout=page_tests.PATIENCE)
    app.user, app.secrets = user, secrets
    app.run()
    return app.text[0].value


def _role() -> None:
    import streamlit as st

    from covid_core import access

    st.text(access.actor().role.name)


def test_at_this_machine_everybody_is_an_administrator():
    assert role_of({}, {}) == "ADMIN"


def test_beyond_this_machine_nobody_is_one_without_a_sign_in(listen):
    listen(EVERYWHERE)
    assert role_of({}, {}) == "TRAINER"


LISTED = {"administrators": ["ada@example.org"], "trainers": ["bo@example.org"], "viewers": ["*@example.org"]}


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"email": "Ada@Example.org"}, "ADMIN"),
        ({"email": "bo@example.org"}, "TRAINER"),
        ({"email": "cy@example.org"}, "VIEWER"),
        ({"email": "cy@example.org.evil.test"}, "NOBODY"),
        ({"email": "ada@example.org", "email_verified": False, "sub": "7"}, "NOBODY"),
        ({"email": "ada@example.org", "is_logged_in": False}, "NOBODY"),
        ({}, "NOBODY"),
    ],
)
def test_the_lists_of_the_secrets_give_each_visitor_one_role(claims, role):
    assert role_of({"is_logged_in": True, **claims}, {**SIGN_IN, **LISTED}) == role


@pytest.mark.parametrize(("name", "is_trainer"), [("bo", True), ("cy", False)])
def test_a_button_that_a_role_may_not_press_is_disabled_and_says_why(
    workspace, image_folder, jobs_wait, name, is_trainer
):
    dataset = import_folder(workspace, image_folder({"a": 8, "b": 8}))
    spec = TrainingSpec(dataset=dataset.id, classes=dataset.classes, backbone="baseline_cnn", image_size=32)
    run = queue.submit_training(workspace, spec)
    run.write_status(Status(store.STOPPED))
    visitor = {"is_logged_in": True, "email": f"{name}@example.org"}, {**SIGN_IN, **LISTED}, "train"
    train = visited(*visitor, dataset=dataset.id).button(key="train")
    assert train.disabled != is_trainer
    assert ("Only a trainer" in train.help) != is_trainer
    resume = visited(*visitor, run=run.id).button(key=f"resume-{run.id}")  # of the administrator at this machine
    assert resume.disabled and "Only an administrator" in resume.help


def test_who_has_signed_in_and_is_on_no_list_is_not_let_in():
    app = visited({**ADA, "email": "eve@example.com"}, SIGN_IN)
    assert not is_let_in(app)
    assert "sign-out" in buttons(app)


def test_a_cookie_secret_that_can_be_tried_out_lets_nobody_sign_in():
    app = visited({}, {"auth": {**SIGN_IN["auth"], "cookie_secret": "A LONG RANDOM TEXT"}})
    assert buttons(app) == ["way-in-join"]


# A proxy that names the visitor


@pytest.fixture
def behind_a_proxy(monkeypatch):
    real = st.get_option
    name = "server.trustedUserHeaders"
    monkeypatch.setattr(st, "get_option", lambda one: {"X-User": "email"} if one == name else real(one))


@pytest.mark.parametrize(("user", "enters"), [({"email": ADDRESS}, True), ({"email": None}, False), ({}, False)])
def test_whom_the_proxy_names_is_let_in_if_listed(behind_a_proxy, user, enters):
    app = visited(user, {"viewers": [ADDRESS], "proxy_secret": "shared"})
    assert is_let_in(app) == enters


# A class


@pytest.fixture
def code(workspace) -> Iterator[str]:
    access._wrong.clear()
    yield classroom.open_class(workspace, "opener")
    access._wrong.clear()


def test_a_class_code_admits_a_student_to_the_lessons_alone(code):
    app = visited({}, SIGN_IN)
    app.session_state["lesson_visitor"] = "browser"
    app.text_input(key="way-in-code").input(code)
    app.button(key="way-in-join").click().run()
    assert not app.exception
    assert app.title[0].value == "How does a model fool me?"
    assert app.session_state[access.CLASS] == code


@pytest.mark.parametrize("page", ["dataset", "train", "activity"])
def test_a_student_who_enters_the_address_of_another_page_is_led_to_the_lessons(code, page):
    app = AppTest.from_file(str(page_tests.APP), default_timeout=page_tests.PATIENCE)
    app.secrets, app.session_state[access.CLASS] = SIGN_IN, code
    app.switch_page(f"{page}.py")
    app.run()
    assert app.title[0].value == "How does a model fool me?"


def test_who_joined_a_class_that_is_closed_is_out(workspace, code):
    app = AppTest.from_file(str(page_tests.APP), default_timeout=page_tests.PATIENCE)
    app.secrets, app.session_state[access.CLASS] = SIGN_IN, code
    assert is_let_in(app.run())
    classroom.close_class(workspace, "opener", code)
    assert not is_let_in(app.run())


def test_after_many_wrong_codes_a_right_one_does_not_count(code):
    access._wrong.extend([time.monotonic()] * access.WRONG_CODES)
    app = visited({}, SIGN_IN)
    app.text_input(key="way-in-code").input(code)
    app.button(key="way-in-join").click().run()
    assert not is_let_in(app)
