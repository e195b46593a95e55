"""Strangers' images, decoded in a process that can be ended: when it hangs, when it wants all memory, when it crashes.

Some damaged JPEG 2000 files hold pydicom 3.0.2 up for ever, and no thread can be stopped; so uploads are never decoded
in the server's own process. Two decoders are kept warm and serve all sessions in turn. Each is started anew, never
forked from a process that has threads, and ends with the server: its input ends then, also when the server was killed,
and an alarm of its own ends one that hangs.

Limits per image: ``SECONDS`` everywhere; ``MEGABYTES`` on Linux. Windows and macOS have no limit of memory for one
process; there the number of pixels, of a file's bytes and of a deflated file's unpacked bytes bound it.
"""

import atexit
import contextlib
import logging
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from covid_core.errors import ImageError
from covid_core.images import sandbox_worker
from covid_core.images.codec import LARGEST_FILE
from covid_core.images.image import TOO_MUCH_MEMORY, GreyImage
from covid_core.images.sandbox_worker import NO_KEY, Broken
from covid_core.work import lower_session

SECONDS = 3.5  # for one image, so that its page answers within 5; one of 12 megapixels takes about one
MEGABYTES = 512  # beyond what a warm decoder has: an image of 16 megapixels and 16 bits takes 200
DECODERS = 2
START_SECONDS = 60.0  # on a machine that is busy with everything else
OWN_ALARM = 2.0  # times SECONDS until a decoder ends itself
ROOT = Path(__file__).parents[2]
STOPPED_EARLY = "The file made its reader break off; it is damaged or made to do that."

log = logging.getLogger(__name__)


class Sandbox:
    """Some decoders, used by any number of threads. ``read_image`` waits while all of them are busy."""

    def __init__(self, decoders: int = DECODERS, seconds: float = SECONDS, megabytes: int = MEGABYTES) -> None:
        self.seconds, self.megabytes = seconds, megabytes
        self._idle = deque(_Decoder(seconds, megabytes) for _ in range(decoders))
        self._free = threading.Semaphore(decoders)

    def warm_up(self) -> None:
        """Start the decoders that do not run yet, in the background: the first image would wait a second for them."""
        for one in list(self._idle):
            one.start()

    def read_image(self, content: bytes, window: int = 0, key: bytes = NO_KEY) -> GreyImage:
        """As ``codec.read_image``, of a stranger's file. Raises ImageError, within the time limit, and nothing else.

        ``window`` is a place among the image's ``windows``. With a ``key`` of 32 bytes, the image comes as a data set
        holds it: without ``deep`` and windows, with ``facts``.
        """
        if len(content) > LARGEST_FILE:
            raise ImageError(f"The file is larger than {LARGEST_FILE // 2**20} MiB.")
        with self._free:
            one = self._idle.pop()
            try:
                image = one.read_image(content, window, key)
            finally:
                # The last one that worked is used first; one that has just been started comes to work last
                self._idle.append(one) if one.is_warm else self._idle.appendleft(one)
        return image

    def close(self) -> None:
        """End the decoders; the next image would start them anew."""
        for one in list(self._idle):
            one.end()

    def processes(self) -> list[int]:
        """Ids of the processes that run, for tests and measurements."""
        return [one.process.pid for one in list(self._idle) if one.process is not None]


class _Decoder:
    """One process and what is said to it. Used by one thread at a time."""

    def __init__(self, seconds: float, megabytes: int) -> None:
        self.seconds, self.megabytes = seconds, megabytes
        self.process: subprocess.Popen[bytes] | None = None
        self.is_warm = False
        self._starting = threading.Lock()

    def start(self) -> subprocess.Popen[bytes]:
        """The process, started where none runs. It is ready about a second later; nobody waits for it here."""
        with self._starting:
            if self.process is None:
                self.process = _started(self.seconds * OWN_ALARM, self.megabytes)
            return self.process

    def end(self) -> None:
        with self._starting:
            process, self.process, self.is_warm = self.process, None, False
        if process is not None:
            process.kill()
            for handle in _pipes(process):
                handle.close()
            process.wait()

    def read_image(self, content: bytes, window: int, key: bytes) -> GreyImage:
        if self.process is not None and self.process.poll() is not None:
            self.end()  # it ended while nobody looked: memory ran short, or somebody killed it
        process = self.start()
        is_whole = False
        try:
            self._wait_until_warm(process)
            image, error, failed_at = self._reply(process, content, window, key)
            is_whole = self.is_warm  # false also where the whole answer came as the time ran out
        finally:
            if not is_whole:
                self.end()
                self.start()
        if failed_at:
            log.warning("The decoder failed unforeseen: %s", failed_at)
        if image is None:
            raise ImageError(error)
        return image

    def _wait_until_warm(self, process: subprocess.Popen[bytes]) -> None:
        if self.is_warm:
            return
        _, answers = _pipes(process)
        with killed_after(process, START_SECONDS):
            try:
                self.is_warm = sandbox_worker.receive(answers, len(sandbox_worker.READY)) == sandbox_worker.READY
            except Broken:
                self.is_warm = False
        if not self.is_warm:
            raise ImageError("The process that reads images did not start; the server's log tells why.")

    def _reply(
        self, process: subprocess.Popen[bytes], content: bytes, window: int, key: bytes
    ) -> tuple[GreyImage | None, str, str]:
        requests, answers = _pipes(process)
        try:
            with killed_after(process, self.seconds) as late:
                sandbox_worker.send_request(requests, content, window, key)
                return sandbox_worker.receive_answer(answers)
        except (Broken, OSError):
            if late.is_set():
                raise ImageError(f"The file took longer than {self.seconds:g} seconds to read.") from None
            raise ImageError(_why_it_ended(process)) from None
        finally:
            self.is_warm = not late.is_set()


@contextlib.contextmanager
def killed_after(process: subprocess.Popen[bytes], seconds: float) -> Iterator[threading.Event]:
    """Kill a process that is not done in time, which the event then says; a timer, since reading from a pipe cannot be
    given up by itself."""
    late = threading.Event()

    def kill() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(seconds, kill)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()
        timer.join()


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    """Where requests go, and where answers come from."""
    assert process.stdin and process.stdout  # ``_started`` makes both
    return process.stdin, process.stdout


def _why_it_ended(process: subprocess.Popen[bytes]) -> str:
    """A process that the system killed had taken too much memory; one that ended otherwise was broken by the file."""
    try:
        code = process.wait(1)
    except subprocess.TimeoutExpired:
        return STOPPED_EARLY
    return TOO_MUCH_MEMORY if code == -9 else STOPPED_EARLY


def _started(seconds: float, megabytes: int) -> subprocess.Popen[bytes]:
    """A process of its own session, which no interrupt of the server's terminal reaches; it inherits nothing open."""
    process = subprocess.Popen(
        [sys.executable, "-m", "covid_core.images.sandbox_worker", str(seconds), str(megabytes)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
        **detached(),
    )
    lower_session(process.pid)
    _widen(process)
    return process


def detached() -> dict[str, Any]:
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def _widen(process: subprocess.Popen[bytes]) -> None:
    """Larger pipes, where there are: fewer turns between the two sides."""
    if not sys.platform.startswith("linux"):
        return
    import fcntl

    with contextlib.suppress(OSError):  # this user has as much memory in pipes as the system allows: slower, no more
        for handle in _pipes(process):
            fcntl.fcntl(handle, fcntl.F_SETPIPE_SZ, sandbox_worker.PIPE_SIZE)


DEFAULT = Sandbox()  # of this process; no decoder runs before the first image
atexit.register(DEFAULT.close)
read_image, warm_up = DEFAULT.read_image, DEFAULT.warm_up
