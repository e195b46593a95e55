"""The process in which strangers' files are decoded. ``images.sandbox`` starts it and is the only one to talk to it.

    python -m covid_core.images.sandbox_worker SECONDS MEGABYTES

It reads requests on standard input and answers them on standard output, in the format of the functions below, until the
input ends. Answers are JSON and plain pixels, never pickles: a file that took over a decoder could not reach further.
"""

import contextlib
import functools
import json
import logging
import os
import signal
import struct
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import IO, Any

import numpy as np

from covid_core.errors import ImageError
from covid_core.images.image import MOST_PIXELS, TOO_MUCH_MEMORY, GreyImage, WindowChoice

READY = b"ready"
REQUEST = struct.Struct("<Qi32s")  # bytes of the file, place of the window, key
NO_KEY = bytes(32)  # of a request for an image to predict
ANSWER = struct.Struct("<I")  # bytes of the JSON object; the pixels follow it
LONGEST_ANSWER = 2**18  # bytes of it
PIPE_SIZE = 2**20  # bytes that a pipe takes before the other side has to read; the least that Linux always grants
DESCRIPTION = (
    "mode",
    "notes",
    "warnings",
    "window",
    "windows",
    "chosen",
    "not_chest",
    "spacing",
    "facts",
)  # all but pixels
UNEXPECTED = "The file cannot be read: it is damaged, or of a kind that the reader does not know."


class Broken(Exception):
    """The other side has gone, or says what it never would."""


def send_request(handle: IO[bytes], content: bytes, window: int, key: bytes = NO_KEY) -> None:
    send(handle, REQUEST.pack(len(content), window, key))
    send(handle, content)


def receive_request(handle: IO[bytes]) -> tuple[bytes, int, bytes]:
    length, window, key = REQUEST.unpack(receive(handle, REQUEST.size))
    return receive(handle, length), window, key


def send_answer(handle: IO[bytes], image: GreyImage | None, error: str = "", failed_at: str = "") -> None:
    """An image, or why there is none; ``failed_at`` names the place in the code of an error that nobody foresaw."""
    about: dict[str, Any] = {"error": error, "failed_at": failed_at}
    if image is not None:
        about |= {name: getattr(image, name) for name in DESCRIPTION}
        about |= {"shape": image.pixels.shape, "is_deep": image.deep is not None}
    message = json.dumps(about).encode()
    send(handle, ANSWER.pack(len(message)) + message)
    if image is not None:
        send(handle, np.ascontiguousarray(image.pixels).data)
        if image.deep is not None:
            send(handle, np.ascontiguousarray(image.deep).data)


def receive_answer(handle: IO[bytes]) -> tuple[GreyImage | None, str, str]:
    """Image, reason why there is none, and place in the code. Raises Broken for what no healthy process answers."""
    (length,) = ANSWER.unpack(receive(handle, ANSWER.size))
    if length > LONGEST_ANSWER:
        raise Broken
    try:
        about = json.loads(receive(handle, length))
        if about["error"]:
            return None, str(about["error"]), str(about["failed_at"])
        height, width = map(int, about["shape"])
        if not 0 < height * width <= MOST_PIXELS:
            raise Broken
        pixels = received_array(handle, (height, width), np.uint8)
        deep = received_array(handle, (height, width), np.uint16) if about["is_deep"] else None
        return _image(about, pixels, deep), "", ""
    except (KeyError, TypeError, ValueError) as error:
        raise Broken from error


def _image(about: dict[str, Any], pixels: np.ndarray, deep: np.ndarray | None) -> GreyImage:
    return GreyImage(
        pixels,
        str(about["mode"]),
        tuple(map(str, about["notes"])),
        tuple(map(str, about["warnings"])),
        deep,
        _pair(about["window"]),
        tuple(WindowChoice(str(name), float(centre), float(width)) for name, centre, width in about["windows"]),
        int(about["chosen"]),
        tuple(map(str, about["not_chest"])),
        _pair(about["spacing"]),
        {str(name): str(value) for name, value in about["facts"].items()},
    )


def _pair(values: list[Any] | None) -> tuple[float, float] | None:
    return None if values is None else (float(values[0]), float(values[1]))


def send(handle: IO[bytes], content: bytes | memoryview) -> None:
    """All of it, however little a pipe takes at once."""
    rest = memoryview(content).cast("B")
    while rest:
        rest = rest[handle.write(rest) :]


def receive(handle: IO[bytes], size: int) -> bytes:
    """Exactly that many bytes. Raises Broken if the other side ends before."""
    content = bytearray(size)
    receive_into(handle, memoryview(content))
    return bytes(content)


def received_array(handle: IO[bytes], shape: tuple[int, int], kind: type) -> np.ndarray:
    pixels: np.ndarray = np.empty(shape, kind)
    receive_into(handle, pixels.data.cast("B"))
    return pixels


def receive_into(handle: IO[bytes], rest: memoryview) -> None:
    while rest:
        got = handle.readinto(rest)  # type: ignore[attr-defined]  # pipes without buffers have it
        if not got:
            raise Broken
        rest = rest[got:]


def main() -> None:
    seconds, megabytes = float(sys.argv[1]), int(sys.argv[2])
    requests = os.fdopen(0, "rb", buffering=0)
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    sys.dont_write_bytecode = True
    from covid_core.images import codec, dicom

    codec.load_decoders()
    dicom.load_decoders()
    _silence()
    limit(megabytes)
    send(answers, READY)
    with contextlib.suppress(Broken, OSError):  # the server has ended; so does this
        while True:
            content, window, key = receive_request(requests)
            read = codec.read_image if key == NO_KEY else functools.partial(_as_stored, key)
            with _alarm(seconds):
                _answer(answers, read, content, window)
            del content


def _as_stored(key: bytes, content: bytes, window: int) -> GreyImage:
    """An image as a data set holds it: 8 bits, and what a DICOM header says of it."""
    from covid_core.images import codec, dicom

    image = codec.read_image(content, window)
    facts = dicom.facts_of(content, key) if codec.kind_of(content) == codec.DICOM else {}
    return replace(image, deep=None, window=None, windows=(), chosen=0, facts=facts)


def _answer(answers: IO[bytes], read: Callable[[bytes, int], GreyImage], content: bytes, window: int) -> None:
    image, error, failed_at = None, "", ""
    try:
        image = read(content, window)
    except ImageError as refusal:
        error = str(refusal)
    except MemoryError:
        error = TOO_MUCH_MEMORY
    except Exception as unforeseen:  # a file must not end this process; the server notes the place, never the text
        last = traceback.extract_tb(unforeseen.__traceback__)[-1]
        error = UNEXPECTED
        failed_at = f"{type(unforeseen).__name__} in {os.path.basename(last.filename)}, line {last.lineno}"
    send_answer(answers, image, error, failed_at)


def _silence() -> None:
    """Decoders print what they find in a file, and pydicom logs it; none of it may reach the server's log."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def limit(megabytes: int) -> None:
    """At most that much memory beyond what the process has now, no files, no core dump with pixels in it.

    On Linux alone: macOS takes the limit of memory and ignores it, Windows has none of them. There the limits of pixels
    and of unpacked bytes hold, and the time.
    """
    if not sys.platform.startswith("linux"):
        return
    import resource

    with open("/proc/self/statm", encoding="ascii") as handle:
        pages = int(handle.read().split()[0])
    most = pages * resource.getpagesize() + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """End this process by itself if an image takes much longer than the server lets it: the server may be gone by then,
    and a process that hangs in a decoder does not see the end of its input."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)  # not caught, so that the system itself ends the process
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return
    timer = threading.Timer(seconds, os._exit, (1,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


if __name__ == "__main__":
    main()
