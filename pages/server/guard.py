"""What each request passes before Streamlit: host, origin, the proxy's headers, the limit of uploads. Each answer gets
the headers by which a browser protects its user.

Streamlit itself takes any other port of this machine for the app's own origin, and asks outside hosts for the server's
address before it refuses a foreign one. Here an origin is the app's own only if it is the host that was asked.
"""

import base64
import hashlib
import hmac
import json
import logging
import re
from pathlib import Path
from urllib.parse import unquote_to_bytes

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.web.server.starlette.starlette_websocket import is_host_allowed

from covid_core.access import web
from covid_core.access.web import is_own_origin

HERE = "second-look/connection"  # the script that says why a page stays empty or a file is refused, and what it asks
SCRIPT = Path(__file__).with_name("connection.js")
PROXY_SECRET = "proxy_secret"  # of the secrets, and the header by which the proxy proves that it is the proxy
SECRET_HEADER = "x-proxy-secret"
COOKIE = re.compile(rb"(_streamlit_\w+=)([\w%.~!*()'-]*%7C[\w%.~!*()'-]*)")  # encoded; a separator of values is "|"
MEDIA = "/media/"
UPLOADS = "/_stcore/upload_file/"
SIGN_IN = ("/auth/login", "/oauth2callback")  # of Streamlit, which says "Authentication error" where they fail
NO_SIGN_IN = (
    "The sign-in failed: its provider does not answer, or not as the secrets describe it. The server's log says why."
)
MOST_SESSIONS = 4096  # that are remembered


def _inline_scripts() -> list[str]:
    """The scripts in Streamlit's own page, as a policy names them: no other script without a file runs."""
    page = Path(st.__file__).with_name("static") / "index.html"
    scripts = re.findall(rb"<script>(.*?)</script>", page.read_bytes(), re.DOTALL)
    return [f"'sha256-{base64.b64encode(hashlib.sha256(one).digest()).decode()}'" for one in scripts]


POLICY = {  # of contents; Streamlit styles its elements inline
    **web.POLICY,
    "script-src": " ".join(("'self'", "blob:", *_inline_scripts())),
    "img-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "connect-src": "'self' data: blob:",
    "worker-src": "'self' blob:",
    "frame-src": "'self' blob: data:",
}
HEADERS = web.headers(POLICY)

uploaders: dict[str, str] = {}  # session: the visitor in it who may hand in files; the pages write it
_uploaded = web.Allowance()


class Guard:
    """Pure ASGI: ``st.App`` puts it before all that Streamlit does."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        scope = {**scope, "headers": trusted(with_plain_cookies(scope["headers"]))}
        answer = refusal(scope)
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send, answer)
            return
        send = _with_headers(send)
        if answer is None and scope["path"].endswith(f"/{HERE}"):
            answer = connection(scope)
        if answer is not None:
            await answer(scope, receive, send)
        elif _wants_page(scope):
            await self._page(scope, receive, send)
        else:
            await self._answered(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send, answer: Response | None) -> None:
        if answer is None and not scope["path"].endswith(f"/{HERE}"):
            await self.app(scope, receive, send)
            return
        if answer is None:  # the trial of the script
            await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 1008 if answer else 1000})

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The page with the script that says why it stays empty."""
        plain = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        start: Message = {}
        parts: list[bytes] = []

        async def collected(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                body = b"".join(parts)
                if "text/html" in Headers(raw=start["headers"]).get("content-type", ""):
                    body = body.replace(b"</head>", f'<script defer src="./{HERE}"></script></head>'.encode(), 1)
                    MutableHeaders(raw=start["headers"])["content-length"] = str(len(body))
                await send(start)
                await send({"type": "http.response.body", "body": body})

        await self._answered({**scope, "headers": plain}, receive, collected)

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What Streamlit answers. A bug of it is answered here: the server's own answer to it has no headers. So is a
        sign-in that fails."""
        started = failed = False

        async def noted(message: Message) -> None:
            nonlocal started, failed
            is_first, started = not started, True
            if is_first and message["status"] >= 400 and scope["path"].endswith(SIGN_IN):
                failed = True
                await PlainTextResponse(NO_SIGN_IN, 502)(scope, receive, send)
            elif not failed:
                await send(message)

        try:
            await self.app(scope, receive, noted)
        except Exception:
            if not started:
                await PlainTextResponse("The server met an error; its log says which.", 500)(scope, receive, send)
            raise


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(raw=message["headers"]).update(HEADERS)
        await send(message)

    return sent


def _wants_page(scope: Scope) -> bool:
    """Whether a browser asks for the app's page; a report that it downloads stays as it was made."""
    is_file = MEDIA in scope["path"]
    return scope["method"] == "GET" and not is_file and "text/html" in Headers(scope=scope).get("accept", "")


def trusted(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers of a request, without those that name a user unless they come from the proxy."""
    users = {name.lower().encode() for name in st.get_option("server.trustedUserHeaders") or {}}
    if not users or is_from_proxy(Headers(raw=headers).get(SECRET_HEADER, "")):
        return headers
    return [(name, value) for name, value in headers if name not in users]


def with_plain_cookies(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers of a request, with Streamlit's cookies as Streamlit wrote them: code-server percent-encodes what they
    hold, and uploads and sign-ins then fail (coder/code-server, issue 7927)."""
    return [(name, COOKIE.sub(_decoded, value) if name == b"cookie" else value) for name, value in headers]


def _decoded(cookie: re.Match[bytes]) -> bytes:
    return cookie[1] + unquote_to_bytes(cookie[2])


def is_from_proxy(presented: str) -> bool:
    """Whether that is the secret which the secrets hold; never where they hold none."""
    secret = _proxy_secret()
    return bool(secret) and hmac.compare_digest(presented.encode(), secret.encode())


def _proxy_secret() -> str:
    return str(st.secrets.get(PROXY_SECRET, "")) if st.secrets.load_if_toml_exists() else ""


def refusal(scope: Scope) -> Response | None:
    """The answer to a request that Streamlit does not get; None where it does."""
    headers, base = Headers(scope=scope), (st.get_option("server.baseUrlPath") or "").strip("/")
    host, origin, path = headers.get("host"), headers.get("origin"), scope["path"]
    if not is_host_allowed(host):
        return _refused(403, f"This server does not answer as {host}. Add the name to allowedHosts, without the port.")
    if not is_own_origin(origin, host):
        return _refused(403, f"A page of {origin} asked the server {host}. A proxy has to pass the Host header on.")
    if base and path != f"/{base}" and not path.startswith(f"/{base}/"):
        return _refused(404, f"This server answers below /{base}/, its baseUrlPath. The proxy has to pass that on.")
    if scope["type"] == "http" and scope["method"] == "PUT" and UPLOADS in path:
        return upload_refusal(path.partition(UPLOADS)[2].partition("/")[0], headers.get("content-length"))
    return None


def _refused(status: int, sentence: str) -> Response:
    logging.getLogger(__name__).warning("%s", sentence.encode("ascii", "replace").decode()[:300])
    return PlainTextResponse(sentence, status)


def upload_refusal(session: str, length: str | None) -> Response | None:
    """The answer to a file that a session may not hand in, or not now."""
    if session not in uploaders:
        return _refused(403, "This session may not hand in files.")
    if not (length or "").isdecimal():
        return _refused(411, "An upload has to name its length.")
    sentence = _uploaded.refusal(uploaders[session], int(length or 0))
    return _refused(429, sentence) if sentence else None


def admit_uploads(session: str, visitor: str, may: bool) -> None:
    """Note whether a session may hand in files, and for which visitor they count."""
    uploaders.pop(session, None)
    if may:
        uploaders[session] = visitor
        while len(uploaders) > MOST_SESSIONS:
            uploaders.pop(next(iter(uploaders)))


def connection(scope: Scope) -> Response:
    """The script, with the host that this request named."""
    host = json.dumps(Headers(scope=scope).get("host", "")).replace("<", "\\u003c")
    content = f"const askedHost = {host};\n{SCRIPT.read_text(encoding='utf-8')}"
    return Response(content, media_type="text/javascript", headers={"cache-control": "no-store"})
