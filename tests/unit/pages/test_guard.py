"""What a request meets before Streamlit: hosts, origins, the headers of a proxy, uploads, and what each answer has."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import streamlit as st
from starlette.responses import HTMLResponse, PlainTextResponse
from streamlit import config

from covid_core.access import web
from pages.server import guard
from pages.server.guard import Guard

HOST = "localhost:8501"


@pytest.fixture(autouse=True)
def options() -> Iterator[Callable[[str, object], None]]:
    """Set an option of Streamlit for a test."""
    before = {name: config.get_option(name) for name in ("server.baseUrlPath", "server.trustedUserHeaders")}
    config.set_option("server.allowedHosts", ["localhost", "127.0.0.1"])
    guard._uploaded.clear()
    yield config.set_option
    for name, value in before.items():
        config.set_option(name, value)


def finished(work: Coroutine[object, object, None]) -> None:
    """Run to the end, in a thread of its own: a browser of other tests has a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()


def asked(path: str = "/", kind: str = "http", method: str = "GET", **headers: str) -> list[dict[str, object]]:
    """What the guard sends; behind it stands an app that answers with the names of the headers that it was given."""
    sent: list[dict[str, object]] = []

    async def behind(scope, receive, send):
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            return
        names = " ".join(sorted(name.decode() for name, _ in scope["headers"]))
        await HTMLResponse(f"<head></head>{names}")(scope, receive, send)

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request"}

    encoded = [(name.replace("_", "-").encode(), value.encode()) for name, value in {"host": HOST, **headers}.items()]
    scope = {"type": kind, "path": path, "headers": encoded, "method": method}
    finished(Guard(behind)(scope, receive, send))
    return sent


def status(sent: list[dict[str, object]]) -> int:
    """Of an answer; of a handshake, 101 or 403, as uvicorn answers it."""
    first = sent[0]
    if first["type"].startswith("websocket"):
        return 101 if first["type"] == "websocket.accept" else 403
    return first["status"]


MATRIX = {
    "own page": ({"origin": f"http://{HOST}"}, 101),
    "own page behind TLS": ({"origin": f"https://{HOST}"}, 101),
    "no page": ({}, 101),
    "another port here": ({"origin": "http://localhost:9999"}, 403),
    "no port here": ({"origin": "http://localhost"}, 403),
    "another name of this machine": ({"origin": "http://127.0.0.1:8501"}, 403),
    "foreign": ({"origin": "https://evil.test"}, 403),
    "nothing to name": ({"origin": "null"}, 403),
    "no address": ({"origin": "http://["}, 403),
    "rebound": ({"origin": "http://evil.test:8501", "host": "evil.test:8501"}, 403),
    "foreign host alone": ({"host": "evil.test"}, 403),
}


@pytest.mark.parametrize("case", MATRIX)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_only_the_apps_own_pages_reach_it(case, kind):
    headers, expected = MATRIX[case]
    sent = asked("/_stcore/stream", kind, **headers)
    assert status(sent) == (expected if kind == "websocket" else {101: 200, 403: 403}[expected])


def test_a_foreign_origin_asks_nobody_for_the_servers_address(monkeypatch):
    from streamlit import net_util

    asked_for: list[str] = []
    monkeypatch.setattr(net_util, "get_external_ip", lambda: asked_for.append("outside"))
    monkeypatch.setattr(net_util, "get_internal_ip", lambda: asked_for.append("network"))
    assert status(asked("/_stcore/health", origin="https://evil.test")) == 403
    assert not asked_for


@pytest.mark.parametrize("path", ["/", "/second-look/connection"])
@pytest.mark.parametrize("host", [HOST, "evil.test"])
def test_every_answer_has_the_headers(path, host):
    sent = asked(path, host=host, accept="text/html")
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    assert guard.HEADERS.items() <= headers.items()


def test_a_bug_is_answered_with_the_headers(monkeypatch):
    sent: list[dict[str, object]] = []

    async def broken(scope, receive, send):
        raise KeyError("a bug")

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request"}

    scope = {"type": "http", "path": "/", "headers": [(b"host", HOST.encode())], "method": "GET"}
    with pytest.raises(KeyError):
        finished(Guard(broken)(scope, receive, send))
    assert sent[0]["status"] == 500
    assert b"content-security-policy" in dict(sent[0]["headers"])


def test_the_policy_admits_no_frame_and_no_other_host():
    assert guard.POLICY["frame-ancestors"] == "'none'"
    assert not [one for one in guard.POLICY.values() if "*" in one or "http" in one or "'unsafe-eval'" in one]
    assert "'unsafe-inline'" not in guard.POLICY["script-src"]


def test_a_page_has_the_script_that_explains_an_empty_one_and_its_length():
    start, body = asked(accept="text/html")
    assert guard.HERE.encode() in body["body"]
    assert int(dict(start["headers"])[b"content-length"]) == len(body["body"])


def test_a_report_that_is_downloaded_stays_as_it_was_made():
    body = asked("/media/0123.html", accept="text/html")[1]["body"]
    assert guard.HERE.encode() not in body


def test_a_path_outside_the_base_path_is_answered_with_a_sentence(options):
    options("server.baseUrlPath", "lab/look")
    assert [status(asked(path)) for path in ("/lab/look", "/lab/look/train", "/", "/lab/lookout")] == [
        200,
        200,
        404,
        404,
    ]
    assert b"/lab/look/" in asked("/")[1]["body"]


# A proxy that names the visitor


@pytest.mark.parametrize(
    ("stored", "presented", "passes"),
    [("shared", "shared", True), ("shared", "", False), ("shared", "wrong", False), ("", "", False)],
)
def test_a_user_is_named_by_the_proxy_alone(options, monkeypatch, stored, presented, passes):
    options("server.trustedUserHeaders", {"X-User": "email"})
    monkeypatch.setattr(guard, "_proxy_secret", lambda: stored)
    body = asked(x_user="ada@example.org", x_proxy_secret=presented)[1]["body"]
    assert (b"x-user" in body) == passes


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (b"_streamlit_xsrf=2%7Cab%7C1; other=a%7Cb", b"_streamlit_xsrf=2|ab|1; other=a%7Cb"),
        (b"a=b; _streamlit_user=2%7C1%3A0%7Cx%3D%7Cy", b"a=b; _streamlit_user=2|1:0|x=|y"),
        (b"_streamlit_xsrf=2|a%62|1", b"_streamlit_xsrf=2|a%62|1"),
    ],
)
def test_cookies_that_a_proxy_has_encoded_are_read_as_they_were(sent, meant):
    assert guard.with_plain_cookies([(b"cookie", sent)]) == [(b"cookie", meant)]


# A sign-in that fails


@pytest.mark.parametrize(("path", "answered"), [("/look/auth/login", 502), ("/oauth2callback", 502), ("/media/x", 400)])
def test_a_sign_in_that_fails_is_answered_in_a_sentence(path, answered):
    sent: list[dict[str, object]] = []

    async def behind(scope, receive, send):
        await PlainTextResponse("Authentication error", 400)(scope, receive, send)

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": path, "headers": [(b"host", HOST.encode())], "method": "GET"}
    finished(Guard(behind)(scope, None, send))
    assert [one["status"] for one in sent if "status" in one] == [answered]
    assert (guard.NO_SIGN_IN.encode() in [one.get("body") for one in sent]) == (answered == 502)


# Uploads


@pytest.fixture
def session(monkeypatch) -> str:
    monkeypatch.setattr(guard, "uploaders", {})
    guard.admit_uploads("mine", "ada@example.org", True)
    return "mine"


def put(session: str, length: str) -> int:
    return status(asked(f"{guard.UPLOADS}{session}/file", method="PUT", content_length=length))


def test_a_visitor_hands_in_so_much_within_ten_minutes(session, monkeypatch):
    monkeypatch.setattr(web, "MOST_UPLOADED", 100)
    guard.admit_uploads("other tab", "ada@example.org", True)
    guard.admit_uploads("bo", "bo@example.org", True)
    assert [put("mine", "60"), put("other tab", "60"), put("bo", "60"), put("mine", "40")] == [200, 429, 200, 200]


def test_after_ten_minutes_more_can_be_handed_in(session, monkeypatch):
    monkeypatch.setattr(web, "MOST_UPLOADED", 100)
    clock = iter([0.0, 1.0, web.WINDOW + 0.5])
    monkeypatch.setattr(web.time, "monotonic", lambda: next(clock))
    assert [guard.upload_refusal("mine", "100") is None for _ in range(3)] == [True, False, True]


def test_who_has_handed_in_too_much_is_told_when_to_try_again(session, monkeypatch):
    monkeypatch.setattr(web, "MOST_UPLOADED", 100)
    clock = iter([0.0, 60.0, 100.0])
    monkeypatch.setattr(web.time, "monotonic", lambda: next(clock))
    *_, refused = [guard.upload_refusal("mine", length) for length in ("50", "50", "70")]
    assert b"Try again in 10 min." in refused.body  # 9:20; the second file is a minute old by then


def test_who_may_not_hand_in_files_is_refused(session):
    guard.admit_uploads("mine", "student", False)
    assert [put("mine", "5"), put("unknown", "5")] == [403, 403]


@pytest.mark.parametrize("length", ["", "-1", "many"])
def test_an_upload_without_a_length_is_refused(session, length):
    assert put("mine", length) == 411


def test_sessions_are_remembered_up_to_a_number(session, monkeypatch):
    monkeypatch.setattr(guard, "MOST_SESSIONS", 2)
    for name in ("a", "b", "c"):
        guard.admit_uploads(name, "ada", True)
    assert list(guard.uploaders) == ["b", "c"]


def test_the_scripts_in_streamlits_page_are_those_of_the_policy():
    page = (Path(st.__file__).with_name("static") / "index.html").read_bytes()
    assert page.count(b"<script>") == guard.POLICY["script-src"].count("sha256-") > 0
