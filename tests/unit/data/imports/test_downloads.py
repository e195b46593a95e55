"""Files from the network, against a real server on this machine that is honest, slow, rude, or cuts off."""

import hashlib
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from waiting import LONG, until

from covid_core.data.imports import downloads
from covid_core.data.imports.downloads import can_be_reached, download, watched
from covid_core.errors import Stopped, WeightsUnavailable
from covid_core.work import silent

CONTENT = bytes(range(256)) * 4096  # 1 MiB
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """``/whole``, ``/unsized``, ``/cut``, ``/cut-chunks``, ``/slow`` and ``/rude`` behave as they are called."""

    def do_HEAD(self):
        self.send_response(200 if self.path == "/whole" else 404)
        self.end_headers()

    def do_GET(self):
        answer = {"/whole": self.whole, "/unsized": self.unsized, "/cut": self.cut, "/cut-chunks": self.cut_chunks}
        answer |= {"/slow": self.slow, "/rude": self.rude}
        answer.get(self.path, lambda: self.send_error(404))()

    def whole(self):
        self.begin(("Content-Length", str(len(CONTENT))))
        self.wfile.write(CONTENT)

    def unsized(self):
        self.begin()
        self.wfile.write(CONTENT)

    def cut(self):
        self.begin(("Content-Length", str(len(CONTENT))))
        self.wfile.write(CONTENT[: len(CONTENT) // 2])

    def cut_chunks(self):
        self.protocol_version = "HTTP/1.1"
        self.begin(("Transfer-Encoding", "chunked"))
        self.wfile.write(b"100000\r\n" + CONTENT[:1000])
        self.close_connection = True

    def slow(self):
        self.begin(("Content-Length", str(len(CONTENT))))
        self.wfile.write(CONTENT[:10])
        self.server.over.wait(LONG)

    def rude(self):
        self.wfile.write(b"no HTTP at all\r\n\r\n")

    def begin(self, *headers):
        self.send_response(200)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *arguments):
        """Tests are silent."""


@pytest.fixture(scope="module")
def server():
    """The address of a server that answers as ``Handler`` does."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.over = threading.Event()
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.over.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def nobody() -> str:
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def refused(url: str, tmp_path, reason: str, md5: str = "") -> None:
    """The download fails for that reason and leaves nothing."""
    with pytest.raises(WeightsUnavailable, match=reason):
        download(url, tmp_path / "models" / "weights.h5", md5, silent)
    assert os.listdir(tmp_path / "models") == []


def test_a_whole_file_is_published(server, tmp_path):
    download(f"{server}/whole", tmp_path / "models" / "weights.h5", MD5, silent)
    assert (tmp_path / "models" / "weights.h5").read_bytes() == CONTENT


def test_a_file_of_unstated_size_is_published(server, tmp_path):
    download(f"{server}/unsized", tmp_path / "weights.h5", MD5, silent)
    assert (tmp_path / "weights.h5").read_bytes() == CONTENT


def test_progress_tells_the_share_and_the_size(server, tmp_path):
    told = []
    download(f"{server}/whole", tmp_path / "weights.h5", "", lambda *what: told.append(what))
    assert [share for share, _ in told] == sorted(share for share, _ in told)
    assert told[-1] == (1.0, "Downloading weights.h5: 1.0 MB")


def test_a_download_can_be_stopped(server, tmp_path):
    def stop(share, message):
        raise Stopped("Stopped by the user.")

    with pytest.raises(Stopped):
        download(f"{server}/whole", tmp_path / "weights.h5", MD5, stop)
    assert os.listdir(tmp_path) == []


def test_the_wrong_bytes_are_refused(server, tmp_path):
    refused(f"{server}/whole", tmp_path, "weights.h5 was cut off or changed", md5="0" * 32)


@pytest.mark.parametrize("page", ["cut", "cut-chunks"])
def test_a_connection_that_ends_early_is_refused(server, tmp_path, page):
    refused(f"{server}/{page}", tmp_path, "cut off|cannot be downloaded")


def test_a_missing_file_is_refused(server, tmp_path):
    refused(f"{server}/nothing", tmp_path, "weights.h5 cannot be downloaded: Not Found")


def test_a_server_that_speaks_no_http_is_refused(server, tmp_path):
    refused(f"{server}/rude", tmp_path, "cannot be downloaded")


def test_a_silent_server_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT", 0.3)
    refused(f"{server}/slow", tmp_path, "cannot be downloaded: .*timed out")


def test_an_address_without_a_server_is_refused(nobody, tmp_path):
    refused(f"{nobody}/whole", tmp_path, "cannot be downloaded: .*refused")


def test_an_old_file_survives_a_failed_download(server, tmp_path):
    (tmp_path / "weights.h5").write_bytes(b"old")
    with pytest.raises(WeightsUnavailable):
        download(f"{server}/cut", tmp_path / "weights.h5", MD5, silent)
    assert (tmp_path / "weights.h5").read_bytes() == b"old"


def test_only_a_server_that_has_the_file_can_be_reached(server, nobody):
    assert can_be_reached(f"{server}/whole")
    assert not can_be_reached(f"{server}/nothing")
    assert not can_be_reached(f"{nobody}/whole")


def test_a_folder_that_a_library_fills_is_watched(tmp_path):
    told = []
    with watched(lambda *what: told.append(what), expected=2000, folder=tmp_path):
        (tmp_path / "part").write_bytes(bytes(1000))
        until(lambda: told, "word of a download")
    assert told[0] == (0.5, "Downloading: 1.0 kB of about 2.0 kB")


def test_a_stop_while_a_library_downloads_ends_the_wait(tmp_path):
    asked = threading.Event()

    def stop(share, message):
        asked.set()
        raise Stopped("Stopped by the user.")

    with pytest.raises(Stopped), watched(stop, expected=2000, folder=tmp_path):
        assert asked.wait(LONG)
