"""The prediction server under 20 clients at once: seconds until each has its answer.

Each client sends one image after the other, as the body of a request, and waits for the assessment. Clients are threads
of this process; the server is a process of its own, with a run of the workspace ``COVID_CORE_HOME``, or one on drawn
images.

    python -m benchmarks.predicting.server [--run RUN] [--clients 20] [--requests 10] [--repeats 3]
"""

import os
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import Request, urlopen

from benchmarks.measuring import ROOT, command_line, machine, options, show, tell
from covid_core.data.dataset import open_dataset
from covid_core.runs.store import open_run
from covid_core.workspace import Workspace

sys.path.insert(0, str(ROOT / "tests/support"))
from api_server import Api, serving


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--run", help="of the workspace; without it a MobileNetV2 is trained on drawn images")
    parser.add_argument("--clients", type=int, default=20, help="at once")
    parser.add_argument("--requests", type=int, default=10, help="of each client, one after the other")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(os.environ["COVID_CORE_HOME"]) if given.run else Path(folder) / "workspace"
        run = given.run or drawn(home)
        dataset = open_dataset(Workspace(home), open_run(Workspace(home), run).dataset.id)
        images = [dataset.path_of(row).read_bytes() for row in range(min(50, len(dataset.images)))]
        with serving(Workspace(home), run) as server:
            alone = [asked(server, images[number % len(images)]) for number in range(20)]
            turns = [together(server, images, given.clients, given.requests) for _ in range(given.repeats)]
    times = {"p50": [turn[len(turn) // 2] for turn in turns], "p95": [turn[int(len(turn) * 0.95)] for turn in turns]}
    show(
        {
            "benchmark": "prediction server",
            "clients": given.clients,
            "requests": given.clients * given.requests,
            "seconds": {name: [round(one, 3) for one in values] for name, values in times.items()},
            "median": {name: round(statistics.median(values), 3) for name, values in times.items()},
            "alone": round(statistics.median(alone), 3),
            "images_per_second": round(statistics.median(given.clients / statistics.mean(turn) for turn in turns), 2),
            "machine": machine(),
        }
    )


def drawn(home: Path) -> str:
    """A run on drawn images, trained now."""
    _, made = command_line("demo", "--images", "240", "--plant", "clear-lesions", home=home)
    words = ("train", made["dataset"], "--backbone", "mobilenet_v2", "--set", "epochs=5", "--wait")
    return command_line(*words, home=home)[1]["run"]


def asked(server: Api, image: bytes) -> float:
    """Seconds until one image is answered."""
    headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "image/png"}
    begin = time.perf_counter()
    with urlopen(Request(f"http://127.0.0.1:{server.port}/predict", image, headers)) as answer:
        answer.read()
    return time.perf_counter() - begin


def together(server: Api, images: list[bytes], clients: int, requests: int) -> list[float]:
    """Seconds of each request of so many clients, which begin at once, in ascending order."""
    ready = threading.Barrier(clients)

    def client(number: int) -> list[float]:
        ready.wait()
        return [asked(server, images[(number + turn * clients) % len(images)]) for turn in range(requests)]

    with ThreadPoolExecutor(clients) as pool:
        seconds = sorted(one for times in pool.map(client, range(clients)) for one in times)
    tell(f"{clients} clients: 95 % within {seconds[int(len(seconds) * 0.95)]:.2f} s")
    return seconds


if __name__ == "__main__":
    main()
