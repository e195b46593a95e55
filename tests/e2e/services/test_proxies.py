"""The app behind the proxies of docs/sharing.md, with the very settings that stand there, and behind wrong ones.

Each proxy serves another host name with TLS. A browser opens a page, which needs the WebSocket, and hands in a file.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import services
from app_server import ROOT, App
from behind_proxies import hand_in, served, walk
from playwright.sync_api import Browser, Page, expect

from pages.shared.shell import WORD_JOINER

DOCUMENT = (ROOT / "docs" / "sharing.md").read_text(encoding="utf-8")
NAME = "second-look.example.org"
PROXIES = ("nginx", "caddy")
AT = f"{WORD_JOINER}@example.org"  # an address is shown as text, not as a link


def block(language: str, place: int = 0) -> str:
    """A block of the document."""
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)[place]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a certificate for NAME."""
    made = tmp_path_factory.mktemp("proxy")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout key.pem -out cert.pem "
        f"-subj /CN={NAME} -addext subjectAltName=DNS:{NAME}"
    )
    subprocess.run(command.split(), cwd=made, check=True, capture_output=True)
    return made


@contextlib.contextmanager
def proxied(kind: str, settings: str, folder: Path, app: App, port: int = 0) -> Iterator[str]:
    """The address behind a proxy of that kind with these settings, on free ports and with the certificate here."""
    port = port or services.free_port()
    there = {"127.0.0.1:8501": f"127.0.0.1:{app.port}", "listen 443 ssl": f"listen 127.0.0.1:{port} ssl"}
    there |= {"/etc/ssl/second-look.pem": f"{folder}/cert.pem", "/etc/ssl/second-look.key": f"{folder}/key.pem"}
    there |= (
        {f"{NAME} {{": f"https://{NAME}:{port} {{\n    tls {folder}/cert.pem {folder}/key.pem"}
        if kind == "caddy"
        else {}
    )
    for before, after in there.items():
        settings = settings.replace(before, after)
    path = folder / f"{kind}-{port}.conf"
    if kind == "nginx":
        temporary = "".join(
            f"{one}_temp_path {folder}/{one};\n" for one in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        who = "user root;" if os.geteuid() == 0 else ""  # what pytest makes is for its own account alone
        path.write_text(
            f"{who} daemon off; pid {folder}/nginx.pid; events {{}}\nhttp {{\naccess_log off; {temporary}{settings}\n}}"
        )
        command = [services.program("nginx"), "-c", str(path), "-e", str(folder / "nginx.log")]
    else:
        path.write_text("{\n    admin off\n    auto_https disable_redirects\n}\n" + settings)
        command = [services.program("caddy"), "run", "--adapter", "caddyfile", "--config", str(path)]
    environment = {**os.environ, "HOME": str(folder)}
    with services.running(command, port, folder / f"{kind}.log", environment):
        yield f"https://{NAME}:{port}"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Of a browser that finds NAME on this machine, and takes the certificate."""
    launched = browser.browser_type.launch(
        executable_path=services.program("chromium"),
        args=["--no-sandbox", "--disable-gpu", f"--host-resolver-rules=MAP {NAME} 127.0.0.1"],
    )
    with launched.new_context(ignore_https_errors=True) as context:
        yield context.new_page()
    launched.close()


OWN_NAME = [NAME]


@pytest.mark.parametrize("kind", PROXIES)
def test_the_app_works_behind_the_proxy_of_the_document(kind: str, folder: Path, page: Page):
    with served(folder, OWN_NAME) as app, proxied(kind, block(kind), folder, app) as address:
        walk(page, address)


@pytest.mark.parametrize("kind", PROXIES)
def test_the_app_works_below_a_path(kind: str, folder: Path, page: Page):
    with served(folder, OWN_NAME, "/look") as app, proxied(kind, block(kind, 1), folder, app) as address:
        walk(page, f"{address}/look")


def test_whom_the_web_server_names_is_let_in_with_his_role(folder: Path, page: Page):
    words = subprocess.run(["openssl", "passwd", "-apr1", "open"], check=True, capture_output=True, text=True)
    (folder / "users").write_text(f"bo@example.org:{words.stdout}")
    sign_in = block("nginx", 2).replace("/etc/nginx/second-look.users", str(folder / "users"))
    settings = block("nginx").replace("location / {", f"location / {{\n{sign_in}")
    secrets = f'proxy_secret = "ANOTHER RANDOM TEXT"\n{block("toml", 0)}'
    with served(folder, OWN_NAME, settings=block("toml", 2), secrets=secrets) as app:
        with proxied("nginx", settings, folder, app) as address:
            known = {"username": "bo@example.org", "password": "open"}
            with page.context.browser.new_context(ignore_https_errors=True, http_credentials=known) as context:
                entered = context.new_page()
                entered.goto(address)
                expect(entered.get_by_text(f"Signed in as bo{AT}, trainer")).to_be_visible()
        page.set_extra_http_headers({"X-User": "ada@example.org", "X-Proxy-Secret": "guessed"})
        page.goto(app.url)  # past the proxy
        expect(page.get_by_role("alert")).to_contain_text("names no user")


@pytest.mark.parametrize(("name", "role"), [("ada", "administrator"), ("bo", "trainer"), ("dy", "viewer")])
def test_people_sign_in_behind_another_name_and_path(name: str, role: str, folder: Path, page: Page):
    port, provider = services.free_port(), services.free_port()
    auth = block("toml", 1).replace(f"https://{NAME}/", f"https://{NAME}:{port}/look/")
    auth = auth.replace("https://PROVIDER", f"http://127.0.0.1:{provider}").replace('"..."', '"second-look"')
    user = json.dumps({"sub": name, "email": f"{name}@example.org"})
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "oidc_provider_mock",
        "--port",
        str(provider),
        "--user-claims",
        user,
    ]
    with (
        services.running(command, provider, folder / "provider.log"),
        served(folder, OWN_NAME, "/look", secrets=block("toml", 0) + auth) as app,
        proxied("nginx", block("nginx", 1), folder, app, port) as address,
    ):
        page.goto(f"{address}/look/")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name=name, exact=True).first.click()
        expect(page.get_by_text(f"Signed in as {name}{AT}, {role}")).to_be_visible()
        for title in ("Data set", "Audit", "Train", "Compare", "Predict", "Lessons"):
            page.get_by_role("link", name=title, exact=True).click()
            expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_role("link", name="Activity")).to_have_count(int(role == "administrator"))


# Wrong settings


def test_a_host_that_is_not_allowed_is_named(folder: Path, page: Page):
    with served(folder) as app, proxied("nginx", block("nginx"), folder, app) as address:
        page.goto(address)
        expect(page.locator("body")).to_contain_text("allowedHosts")


def test_a_path_that_the_app_does_not_have_is_named(folder: Path, page: Page):
    with served(folder, OWN_NAME, "/other") as app, proxied("nginx", block("nginx"), folder, app) as address:
        page.goto(address)
        expect(page.locator("body")).to_contain_text("/other/")


WRONG = {
    "no host": ("proxy_set_header Host $http_host;", "Host header"),
    "no WebSocket": ('proxy_set_header Connection "upgrade";', "WebSocket"),
}


@pytest.mark.parametrize("missing", WRONG)
def test_a_line_that_is_missing_is_named_on_the_empty_page(missing: str, folder: Path, page: Page):
    line, words = WRONG[missing]
    settings = block("nginx")
    assert line in settings
    with served(folder, OWN_NAME) as app, proxied("nginx", settings.replace(line, ""), folder, app) as address:
        page.goto(address)
        expect(page.get_by_role("alert")).to_contain_text(words)


def test_a_limit_of_the_web_server_is_named_where_a_file_is_larger(folder: Path, page: Page):
    settings = block("nginx")
    assert "client_max_body_size 65m;" in settings
    settings = settings.replace("client_max_body_size 65m;", "client_max_body_size 1k;")
    with served(folder, OWN_NAME) as app, proxied("nginx", settings, folder, app) as address:
        hand_in(page, address)
        expect(page.get_by_role("alert").filter(has_text="web server")).to_be_visible()
