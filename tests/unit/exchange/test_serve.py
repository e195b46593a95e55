"""The prediction server: the answers of ``predict``, who gets them, and what is refused."""

import asyncio
import json
import os
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from api_server import Answer, Api, form, serving
from hostile import make
from starlette.datastructures import Headers

from covid_core.access import activity, web
from covid_core.commands import services
from covid_core.exchange.serve import api, guard, tokens
from covid_core.exchange.serve.api import Served
from covid_core.exchange.serve.guard import Guard
from covid_core.inference.predictor import Predictor
from covid_core.runs import store
from covid_core.workspace import Workspace

RUN, IMAGE = "two-seeds-seed-0-00006", "datasets/drawn-films-00002/files/COVID/images/COVID-1.png"
UNSAFE = make.dicom(make.image(), PatientName="Miller^Ada", BurnedInAnnotation="YES")
HOSTILE = {
    "empty": b"",
    "a signature alone": make.png(make.RAMP)[:8],
    "a header alone": make.png(make.RAMP)[:33],
    "cut off": make.png(make.LEANING)[:-60],
    "a cut JPEG": make.jpeg(make.colour_photo())[:-400],
    "a TIFF whose strip lies beyond its end": make.tiff(make.LEANING, strip=900),
    "a wrong checksum": make.broken_checksum(),
    "20,000 pixels a side": make.raw_png(20_000, 20_000, b""),
    "13,000 of one bit": make.raw_png(13_000, 13_000, b"", depth=1),
    "one pixel": make.png(make.RAMP[:1, :1]),
    "no width": make.raw_png(0, 5, b""),
    "HTML": b"<!doctype html><p>image",
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "EPS": make.alien("EPS"),
    "WEBP": make.alien("WEBP"),
    "PDF": make.alien("PDF"),
    "an animation": make.animation(),
    "an RLE bomb": make.rle_bomb(),
    "a deflate bomb": make.deflate_bomb(),
    "a file that keeps its reader busy for minutes": make.scan_bomb(),
}


@pytest.fixture(scope="module")
def home(golden, tmp_path_factory) -> Workspace:
    return Workspace(Path(shutil.copytree(golden, tmp_path_factory.mktemp("served") / "workspace")))


@pytest.fixture(scope="module")
def server(home):
    with serving(home, RUN) as one:
        yield one


@pytest.fixture(scope="module")
def image(home) -> bytes:
    return (home.root / IMAGE).read_bytes()


def put_tokens(home: Workspace, *lines: str) -> None:
    """Lines of the file of tokens after its first."""
    path = tokens.path_of(home)
    first = path.read_text().splitlines()[0]
    path.write_text("\n".join([first, *lines, ""]))


# Answers


@pytest.mark.parametrize("as_form", [False, True])
def test_an_image_gets_the_answer_of_the_command_line(server, home, image, answer, monkeypatch, as_form):
    monkeypatch.setenv("COVID_CORE_HOME", str(home.root))
    _, expected = answer("predict", RUN, str(home.root / IMAGE), "--anyway")
    content, kind = form((str(home.root / IMAGE), image)) if as_form else (image, "image/png")
    given = server.ask("/predict?anyway=true", content, kind)
    name = str(home.root / IMAGE) if as_form else api.BODY
    assert (given.status, given.body["images"][0].pop("file")) == (200, name)
    assert expected["images"][0].pop("file")
    assert given.body == expected


def test_several_images_are_answered_together_and_one_that_is_none_is_named(server, image):
    content, kind = form(("a.png", image), ("b.txt", b"no image"))
    given = server.ask("/predict", content, kind)
    assert (given.status, given.body["failed"], len(given.body["images"])) == (200, True, 2)
    assert [one["file"] for one in given.body["images"] if "error" in one] == ["b.txt"]


def test_the_runs_are_listed_and_another_one_is_not_there(server, image):
    assert [one["run"] for one in server.ask("/runs").body["runs"]] == [RUN]
    assert server.ask("/predict?run=other", image).status == 404


@pytest.mark.parametrize("query", ["coverage=0.2", "coverage=many", "window=-1", "anyway=perhaps"])
def test_a_wrong_parameter_is_refused_by_its_name(server, image, query):
    given = server.ask(f"/predict?{query}", image)
    assert given.status == 422 and query.partition("=")[0] in given.body["error"]


# Who gets an answer


def test_whether_it_answers_needs_no_token(server):
    assert server.ask("/health", Authorization="").body["status"] == "ok"


@pytest.mark.parametrize("presented", ["", "Bearer ", "Bearer wrong", "Basic YTpi", f"Bearer {'x' * 43}"])
@pytest.mark.parametrize("path", ["/runs", "/predict"])
def test_without_a_right_token_there_is_no_answer(server, image, presented, path):
    given = server.ask(path, image if path == "/predict" else None, Authorization=presented)
    assert (given.status, given.headers["www-authenticate"]) == (401, "Bearer")


def test_a_role_that_may_not_predict_is_refused_and_noted(server, home, image):
    put_tokens(home, f"class student {'s' * 40}")
    given = server.ask("/predict", image, Authorization=f"Bearer {'s' * 40}")
    assert given.status == 403 and "student" in given.body["error"]
    noted = activity.lines(home, 1)[0]
    assert (noted.who, noted.role, noted.what) == ("token class", "student", RUN)


def test_a_token_that_is_taken_out_counts_no_longer(server, home, image):
    put_tokens(home, f"ward trainer {'t' * 40}")
    assert server.ask("/runs", Authorization=f"Bearer {'t' * 40}").status == 200
    put_tokens(home)
    assert server.ask("/runs", Authorization=f"Bearer {'t' * 40}").status == 401


def test_the_file_of_tokens_is_made_once_for_this_account_alone(workspace):
    path = tokens.path_of(workspace)
    content = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert tokens.path_of(workspace).read_text() == content
    assert list(tokens.actors(path).values())[0].role.label == "viewer"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_file_of_tokens_that_others_can_read_answers_nobody(server, home):
    path = tokens.path_of(home)
    path.chmod(0o640)
    assert server.ask("/runs").status == 503
    path.chmod(0o600)
    assert server.ask("/runs").status == 200


@pytest.mark.parametrize("line", ["client viewer short", f"client king {'x' * 40}", f"client viewer {'x' * 40} more"])
def test_a_wrong_line_of_tokens_is_named_by_its_number(workspace, line):
    path = tokens.path_of(workspace)
    path.write_text(f"# tokens\n{line}\n")
    with pytest.raises(tokens.DataError, match="Line 2"):
        tokens.actors(path)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.test"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "localhost"}, 200),
        ({"Host": "LOCALHOST:1"}, 200),
        ({"Host": "[::1]:8600"}, 200),
        ({"Host": "[::1"}, 403),
        ({"Host": "localhost.evil.test"}, 403),
        ({"Origin": "http://localhost:8501"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Origin": "http://evil.test:8600", "Host": "evil.test:8600"}, 403),
        ({"Host": "localhost:8600", "Origin": "http://localhost:8600"}, 200),
    ],
)
def test_only_its_own_names_and_pages_reach_it(server, headers, status):
    assert server.ask("/health", **headers).status in ({403: (400, 403)}.get(status, (status,)))


@pytest.mark.parametrize("path", ["/health", "/runs", "/docs", "/openapi.json", "/nowhere", "/docs/swagger/nowhere"])
def test_every_answer_has_the_headers(server, path):
    for given in (server.ask(path), server.ask(path, Host="evil.test")):
        assert guard.HEADERS.items() <= given.headers.items()


def test_the_description_loads_nothing_from_elsewhere(server):
    page, script, described = (server.ask(path).body for path in ("/docs", "/docs/page.js", "/openapi.json"))
    assert "://" not in page + script + json.dumps(described)
    assert server.ask("/docs/swagger/swagger-ui-bundle.js").status == 200


# Uploads


def refused(given: Answer, status: int) -> bool:
    return given.status == status and given.body["error"].endswith(".")


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(server):
    assert refused(server.ask("/predict", b"", Content_Length=str(api.LARGEST_FILE + 1)), 413)
    kind = "multipart/form-data; boundary=end"
    assert refused(server.ask("/predict", b"", kind, Content_Length=str(api.LARGEST_BODY + 1)), 413)


def test_a_body_without_a_length_is_refused(server):
    assert refused(server.ask("/predict", b"0\r\n\r\n", Content_Length="", Transfer_Encoding="chunked"), 411)


@pytest.mark.parametrize("kind", ["", "text/html", "application/json", "application/x-www-form-urlencoded"])
def test_another_kind_of_content_is_refused(server, image, kind):
    assert refused(server.ask("/predict", image, kind), 415)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "multipart/form-data"),
        (b"no parts", "multipart/form-data; boundary=end"),
        (b"--end--\r\n", "multipart/form-data; boundary=end"),
        (
            b'--end\r\nContent-Disposition: form-data; name="files"\r\n\r\ntext\r\n--end--\r\n',
            "multipart/form-data; boundary=end",
        ),
        form(*[("a.png", b"")] * (api.MOST_FILES + 1)),
    ],
    ids=["no boundary", "no parts", "no file", "a field", "too many files"],
)
def test_a_form_that_cannot_be_read_is_refused(server, content, kind):
    assert refused(server.ask("/predict", content, kind), 422)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_gets_its_reason_and_no_number(server, name):
    given = server.ask("/predict?anyway=true", HOSTILE[name], "application/octet-stream")
    assert (given.status, [list(one) for one in given.body["images"]]) == (422, [["file", "error"]])
    assert server.process.poll() is None


def test_nothing_personal_of_an_upload_is_answered_or_logged(server):
    content, kind = form(("Miller.dcm", UNSAFE))
    given = server.ask("/predict?anyway=true", content, kind)
    assert given.status == 200 and "burned into" in json.dumps(given.body["images"][0]["warnings"])
    assert "Miller^Ada" not in json.dumps(given.body)
    assert "Miller" not in server.log.read_text()


def test_no_part_of_a_form_goes_through_a_file():
    content, kind = form(("a.png", bytes(3 * 2**20)))

    async def parsed():
        return await api.InMemory(Headers({"content-type": kind}), api.stream_of(content)).parse()

    ((_, part),) = finished(parsed()).multi_items()
    with part.file:
        assert (part.size, part.file._rolled) == (3 * 2**20, False)


# Load


def finished(work):
    """The result of a coroutine, in a thread of its own: a browser of other tests has a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


@pytest.fixture
def within(home):
    """Ask an application in this process: what is received is a coroutine's."""
    run = store.open_run(home, RUN)
    app = Guard(
        api.application(home, {RUN: Served(run, Predictor.open(home, run))}, tokens.path_of(home)), web.LOOPBACK
    )

    async def asked(content: bytes, receive) -> int:
        headers = {"host": "localhost", "content-type": "image/png", "content-length": str(len(content))}
        headers["authorization"] = f"Bearer {tokens.path_of(home).read_text().split()[2]}"
        scope = {"type": "http", "method": "POST", "path": "/predict", "query_string": b"", "http_version": "1.1"}
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        statuses = []

        async def send(message):
            statuses.extend([message["status"]] if "status" in message else [])

        await app(scope | {"headers": encoded, "raw_path": b"/predict", "root_path": ""}, receive, send)
        return statuses[0]

    return asked


async def never():
    await asyncio.Event().wait()


def test_a_body_that_does_not_arrive_in_time_is_given_up(within, monkeypatch):
    monkeypatch.setattr(api, "BODY_SECONDS", 0.01)
    assert finished(within(b"late", never)) == 408


@pytest.mark.parametrize(("limit", "value"), [("MOST_WAITING", 1), ("MOST_HELD", 5)])
def test_a_request_too_many_is_refused_and_its_place_is_free_again(within, image, monkeypatch, limit, value):
    monkeypatch.setattr(api, limit, value)
    monkeypatch.setattr(api, "BODY_SECONDS", 1.0)

    async def both() -> tuple[int, int]:
        first = asyncio.create_task(within(b"1234", never))
        await asyncio.sleep(0.1)
        second = await within(b"5678", never)
        return await first, second

    assert finished(both()) == (408, 429)
    monkeypatch.setattr(api, "BODY_SECONDS", 0.01)
    assert finished(within(b"1234", never)) == 408


def test_a_token_hands_in_so_much_within_ten_minutes(within, monkeypatch):
    monkeypatch.setattr(web, "MOST_UPLOADED", 6)
    monkeypatch.setattr(api, "BODY_SECONDS", 0.01)

    async def both() -> list[int]:
        return [await within(b"1234", never) for _ in range(2)]

    assert finished(both()) == [408, 429]


# The verb


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_an_address_that_others_reach_is_refused(answer_of, address):
    assert "SECOND_LOOK_ALLOW_REMOTE" in answer_of("serve", RUN, "--address", address)


def test_a_port_that_is_taken_is_told(server: Api, answer_of):
    assert str(server.port) in answer_of("serve", RUN, "--port", str(server.port))


def test_what_lacks_is_named_with_the_command_that_adds_it(answer_of, monkeypatch):
    monkeypatch.setattr(services.importlib.util, "find_spec", lambda name: None)
    assert 'pip install "second-look[serve]"' in answer_of("serve", RUN)


@pytest.fixture
def answer_of(home, monkeypatch, capsys):
    """The error of a verb that is refused."""
    from covid_core.commands import main

    monkeypatch.setenv("COVID_CORE_HOME", str(home.root))
    monkeypatch.delenv(web.OVERRIDE, raising=False)

    def error(*words: str) -> str:
        assert main.main(words) == 1
        return capsys.readouterr().err

    return error
