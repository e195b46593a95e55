"""The process for strangers' files: it reads what the server's own process reads, and outlives or dies of the rest."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import fields
from pathlib import Path

import numpy as np
import psutil
import pytest
from hostile import fuzzing, make
from waiting import LONG

from covid_core.errors import ImageError
from covid_core.images import codec, sandbox, sandbox_worker
from covid_core.images.image import GreyImage, WindowChoice
from covid_core.images.sandbox import Sandbox
from covid_core.work import NICENESS

ROOT = Path(__file__).parents[2]
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of memory and /proc are Linux's")
GOOD = make.png(make.LEANING)
SERVER = """
import sys, time
from covid_core.images.sandbox import Sandbox
made = Sandbox()
made.warm_up()
made.read_image(bytes.fromhex(sys.stdin.readline()))
print(*made.processes(), flush=True)
time.sleep(3600)
"""


@pytest.fixture
def hasty():
    """A sandbox of a single decoder, which has read an image, and has little time for the next."""
    made = Sandbox(decoders=1, seconds=1.5)
    made.read_image(GOOD)
    yield made
    made.close()


@pytest.fixture
def one():
    """The same with all the time in the world."""
    made = Sandbox(decoders=1, seconds=LONG)
    made.read_image(GOOD)
    yield made
    made.close()


@pytest.fixture(scope="module")
def usual():
    made = Sandbox(seconds=LONG)
    yield made
    made.close()


def read_all(given: Sandbox, contents: list[bytes]) -> list[str]:
    """What becomes of files: nothing for an image, the sentence for another."""
    said = []
    for content in contents:
        try:
            given.read_image(content)
            said.append("")
        except ImageError as refusal:
            said.append(str(refusal))
    return said


def refused(given: Sandbox, content: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        given.read_image(content)


def stopped_while_reading(given: Sandbox, signals: int, content: bytes) -> None:
    """Send a signal to the only decoder as soon as it has begun to work."""
    (process,) = map(psutil.Process, given.processes())
    before = process.cpu_times().user

    def strike() -> None:
        while process.cpu_times().user == before:
            time.sleep(0.002)
        process.send_signal(signals)

    striker = threading.Thread(target=strike)
    striker.start()
    try:
        given.read_image(content)
    finally:
        striker.join()


def large() -> bytes:
    """An image of 60 megapixels that takes a decoder about a second."""
    rows = np.zeros((7500, 8001), np.uint8)
    rows[:, 4000:] = 200
    return make.raw_png(8000, 7500, rows.tobytes(), extra=make.chunk(b"gAMA", bytes(4)))


def pixels_alike(one: object, other: object) -> bool:
    return np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        make.png(make.image(12)),
        make.png(make.colour_photo()),
        make.dicom(make.image(12), **make.bits_of(12), WindowCenter=[1500, 900], WindowWidth=[900, 80], Modality="CT"),
        make.dicom(make.image(8), ViewPosition="LL", BurnedInAnnotation="YES"),
    ],
    ids=["plain", "deep", "colours", "dicom", "doubtful"],
)
def test_a_image_is_the_same_as_from_the_servers_own_process(usual, content):
    read, expected = usual.read_image(content), codec.read_image(content)
    for one in fields(GreyImage):
        assert pixels_alike(getattr(read, one.name), getattr(expected, one.name)), one.name
    assert all(isinstance(choice, WindowChoice) for choice in read.windows)


def test_another_window_can_be_asked_for(usual):
    content = make.dicom(make.image(12), WindowCenter=[1500, 900], WindowWidth=[900, 80])
    for window in (1, -1):
        assert np.array_equal(usual.read_image(content, window).pixels, codec.read_image(content, window).pixels)


def test_a_window_that_only_another_reading_can_show_is_no_number(usual):
    table = {"LUTDescriptor": [4096, 0, 12], "LUTData": np.arange(4096, dtype="<u2").tobytes()}
    content = make.dicom(make.image(12), VOILUTSequence=[table], WindowCenter=900, WindowWidth=80)
    assert [np.isnan(choice.width) for choice in usual.read_image(content).windows] == [False, True, True]


def test_a_decoder_that_hangs_is_ended_and_the_next_image_is_read(hasty):
    """D10b: a process that does not go on, as in an endless loop; only stopped, so that no file has to do it."""
    (before,) = hasty.processes()
    os.kill(before, signal.SIGSTOP)
    refused(hasty, GOOD, "took longer than 1.5 seconds to read")
    assert not psutil.pid_exists(before)
    assert np.array_equal(hasty.read_image(GOOD).pixels, make.LEANING)


def test_a_new_decoder_is_started_at_once(hasty):
    (before,) = hasty.processes()
    os.kill(before, signal.SIGSTOP)
    refused(hasty, GOOD, "took longer")
    (after,) = hasty.processes()
    assert after != before
    assert psutil.Process(after).is_running()


def test_a_image_that_takes_too_long_is_refused():
    """D10b: work that a decoder really does, and too little time for it."""
    hastier = Sandbox(decoders=1, seconds=0.1)
    try:
        refused(hastier, large(), "took longer than 0.1 seconds")
    finally:
        hastier.close()


def test_a_small_file_that_keeps_its_reader_busy_for_minutes_is_refused(hasty):
    refused(hasty, make.scan_bomb(), "took longer than 1.5 seconds")


def test_the_default_limit_leaves_its_page_time_to_answer_within_five_seconds():
    assert sandbox.SECONDS <= 3.5


@pytest.mark.skipif(not hasattr(os, "nice"), reason="only POSIX has niceness")
def test_pages_go_before_decoders(one):
    (decoder,) = one.processes()
    assert psutil.Process(decoder).nice() >= NICENESS
    group = Path(f"/proc/{decoder}/autogroup")  # where Linux groups processes by session, niceness counts within one
    assert not group.exists() or int(group.read_text().split()[-1]) >= NICENESS


def test_a_decoder_that_crashes_over_a_file_costs_one_sentence(one):
    with pytest.raises(ImageError, match="made its reader break off"):
        stopped_while_reading(one, signal.SIGSEGV, large())
    assert np.array_equal(one.read_image(GOOD).pixels, make.LEANING)


def test_a_decoder_that_the_system_ended_had_too_much_memory(one):
    with pytest.raises(ImageError, match="too much memory"):
        stopped_while_reading(one, signal.SIGKILL, large())
    assert np.array_equal(one.read_image(GOOD).pixels, make.LEANING)


def test_a_decoder_that_died_idle_costs_nothing(one):
    (before,) = one.processes()
    os.kill(before, signal.SIGKILL)
    os.waitid(os.P_PID, before, os.WEXITED | os.WNOWAIT)
    assert np.array_equal(one.read_image(GOOD).pixels, make.LEANING)


@LINUX
@pytest.mark.parametrize("bomb", [make.deflate_bomb, make.rle_bomb], ids=["D10-deflate", "D10-rle"])
def test_a_bomb_is_refused_in_little_memory(bomb):
    """D10: 300 kB to 5 MB that unpack to 300 MB."""
    content = bomb()
    assert len(content) < 6_000_000
    made = Sandbox(decoders=1, seconds=LONG)
    try:
        made.read_image(GOOD)
        (process,) = map(psutil.Process, made.processes())
        before = process.memory_info().rss
        refused(made, content, "unpacks to more than 128 MB|too much memory|damaged|no image content")
        peak = highest_memory(process.pid) if process.is_running() else 0
        assert peak - before < 512 * 2**20
        assert np.array_equal(made.read_image(GOOD).pixels, make.LEANING)
    finally:
        made.close()


def highest_memory(process: int) -> int:
    """Bytes that a process has held at most."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@LINUX
def test_a_image_over_the_limit_of_memory_is_refused_in_a_sentence():
    small = Sandbox(decoders=1, seconds=LONG, megabytes=24)
    try:
        assert "too much memory" in read_all(small, [large()])[0]
        assert np.array_equal(small.read_image(GOOD).pixels, make.LEANING)
    finally:
        small.close()


@LINUX
def test_the_largest_image_fits_the_limit_of_memory(usual):
    """16 megapixels of 16 bits, stored plainly: as large as a file may be."""
    deep = np.tile(np.arange(4096, dtype=np.uint16), (4090, 1))
    for content in (make.dicom(deep, WindowCenter=2000, WindowWidth=900), make.png(deep, compress_level=0)):
        image = usual.read_image(content)
        assert image.pixels.shape == (4090, 4096)


def test_more_threads_than_decoders_take_turns(usual):
    shifted = [np.roll(make.LEANING, shift, axis=1) for shift in range(24)]
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(usual.read_image, map(make.png, shifted)))
    assert all(np.array_equal(image.pixels, pixels) for image, pixels in zip(images, shifted, strict=True))
    assert len(usual.processes()) <= sandbox.DECODERS


def test_a_image_is_read_beside_one_that_hangs():
    made = Sandbox(decoders=2, seconds=LONG)
    try:
        made.warm_up()
        hung = made.processes()[-1]
        os.kill(hung, signal.SIGSTOP)
        with ThreadPoolExecutor(2) as pool:
            images = [pool.submit(made.read_image, GOOD) for _ in range(2)]
            read, waiting = wait(images, return_when=FIRST_COMPLETED)
            assert (len(read), len(waiting)) == (1, 1)
            os.kill(hung, signal.SIGCONT)
            assert all(np.array_equal(image.result().pixels, make.LEANING) for image in images)
    finally:
        made.close()


def test_a_file_over_the_limit_reaches_no_decoder(usual, monkeypatch):
    monkeypatch.setattr(sandbox, "LARGEST_FILE", 2**20)
    with pytest.raises(ImageError, match="larger than 1 MiB"):
        usual.read_image(bytes(2**20 + 1))


@LINUX
def test_decoders_end_with_a_server_that_was_killed():
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    server.stdin.write(GOOD.hex() + "\n")
    server.stdin.flush()
    decoders = [psutil.Process(int(pid)) for pid in server.stdout.readline().split()]
    assert len(decoders) == 2
    server.kill()
    server.wait()
    server.stdin.close()
    server.stdout.close()
    _, alive = psutil.wait_procs(decoders, timeout=LONG)
    assert not alive


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no such alarm")
def test_a_decoder_without_a_server_ends_itself_over_a_image_that_hangs():
    alone = subprocess.Popen(
        [sys.executable, "-m", "covid_core.images.sandbox_worker", "0.1", "512"],
        cwd=ROOT,
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with alone:
        assert sandbox_worker.receive(alone.stdout, len(sandbox_worker.READY)) == sandbox_worker.READY
        sandbox_worker.send_request(alone.stdin, large(), 0)
        assert alone.wait(LONG) == -signal.SIGALRM


@LINUX
def test_a_decoder_inherits_nothing_that_is_open(tmp_path):
    with open(tmp_path / "secret", "w") as secret:
        os.set_inheritable(secret.fileno(), True)
        made = Sandbox(decoders=1)
        try:
            made.read_image(GOOD)
            folder = Path(f"/proc/{made.processes()[0]}/fd")
            open_files = [os.readlink(handle) for handle in folder.iterdir()]
        finally:
            made.close()
    assert not [name for name in open_files if "secret" in name or name.startswith("socket")]
    assert {name.partition(":")[0] for name in open_files} <= {"pipe", "/dev/null"}


@LINUX
def test_a_decoder_knows_neither_streamlit_nor_tensorflow_nor_tables(usual):
    usual.read_image(make.dicom(make.image(12)))
    maps = Path(f"/proc/{usual.processes()[0]}/maps").read_text(encoding="utf-8")
    assert "pydicom" in maps or "gdcm" in maps or "numpy" in maps
    assert not [name for name in ("tensorflow", "pyarrow", "pandas", "litert", "tornado") if name in maps]
    code = "import sys; import covid_core.images.sandbox_worker, covid_core.images.codec, covid_core.images.dicom; "
    code += "sys.exit(bool({'streamlit', 'tensorflow', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=LONG).returncode == 0


def test_what_decoders_print_reaches_no_log(usual, capfd, caplog):
    """Native decoders write to standard output and error by themselves, past Python."""
    frame = b"\xff\x4f\xff\x51" + bytes(range(200))
    with pytest.raises(ImageError):
        usual.read_image(make.dicom(make.image(12), "1.2.840.10008.1.2.4.90", frames=[frame], PatientName="CANARY"))
    said = capfd.readouterr()
    assert (said.out, said.err, caplog.text) == ("", "", "")


def test_an_error_that_nobody_foresaw_is_told_by_its_place_and_never_by_its_text():
    def broken(_content: bytes, _window: int) -> GreyImage:
        raise RuntimeError("CANARY")

    answer = io.BytesIO()
    sandbox_worker._answer(answer, broken, b"", 0)
    answer.seek(0)
    image, error, failed_at = sandbox_worker.receive_answer(answer)
    assert image is None
    assert error == sandbox_worker.UNEXPECTED
    assert failed_at.startswith("RuntimeError in test_sandbox.py, line ")
    assert b"CANARY" not in answer.getvalue()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\xff\xff\xff\xff",
        sandbox_worker.ANSWER.pack(2) + b"{}",
        sandbox_worker.ANSWER.pack(3) + b"{x}",
        sandbox_worker.ANSWER.pack(37) + b'{"error": "", "shape": [99999, 99999]}'[:37],
        sandbox_worker.ANSWER.pack(30) + b'{"error": "", "shape": [8, 8]}',
    ],
    ids=["nothing", "length", "empty", "no-json", "shape", "no-pixels"],
)
def test_an_answer_that_no_healthy_decoder_gives_is_not_believed(answer):
    with pytest.raises(sandbox_worker.Broken):
        sandbox_worker.receive_answer(io.BytesIO(answer))


def test_decoders_are_closed_and_can_be_used_again():
    made = Sandbox(decoders=2)
    made.warm_up()
    processes = [psutil.Process(pid) for pid in made.processes()]
    assert len(processes) == 2
    made.close()
    assert not [process for process in processes if process.is_running()]
    assert made.processes() == []
    assert np.array_equal(made.read_image(GOOD).pixels, make.LEANING)
    made.close()


def test_the_whole_program_shares_one_sandbox():
    sandbox.warm_up()
    assert np.array_equal(sandbox.read_image(GOOD).pixels, make.LEANING)
    assert sandbox.DEFAULT.processes()
    sandbox.DEFAULT.close()


def test_mutated_files_are_read_or_refused_and_nothing_else():
    fuzzing.strangers_files(200, seed=1)
