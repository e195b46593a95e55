"""Many visitors at once, and one visitor for long: times, memory, open files."""

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

import numpy as np

from benchmarks.reliability.place import App, Measured, Place
from benchmarks.reliability.privacy import phantom, server_process
from benchmarks.reliability.session import Session
from covid_core.errors import JobRefused
from covid_core.jobs import queue
from covid_core.runs import store
from covid_core.specs import TrainingSpec
from covid_core.workspace import Workspace

VISITORS, STUDENTS, JOBS = 20, 30, 50
ROUNDS = {True: 2, False: 10}  # quick or not: how often each visitor goes through the pages
PAUSE = 5.0  # seconds that a visitor reads a page, on average
SECONDS = {True: 300, False: 3600}  # of the soak
WARM_UP = {True: 180, False: 600}  # Streamlit keeps a session for two minutes after its end
PAGES = ("", "dataset", "audit", "train", "compare", "lessons")
MOST_SECONDS = 3.0
LESSON = "lesson=tag&step=1"
SLOPE = 1.0  # MB per hour
SURE = 1.96


def visitors(place: Place) -> Measured:
    """20 sessions open pages and hand images in while a training runs, and 50 further jobs are asked for."""
    times: dict[str, list[float]] = {"page": [], "prediction": []}
    with place.server("load") as app:
        process = server_process(app)
        workspace = Workspace(app.home / "workspace")
        before, begin = process.memory_info().rss, time.monotonic()
        accepted = _trainings(workspace)
        failures = _together(VISITORS, lambda number: _visit(app, number, ROUNDS[place.quick], times))
        running = sum(run.status().state == store.RUNNING for run in store.list_runs(workspace)[0])
        seconds = time.monotonic() - begin
        rise = (process.memory_info().rss - before) / 1e6
    p95 = {name: round(percentile(values), 2) for name, values in times.items() if values}
    figure = {
        "sessions": VISITORS,
        "kind": "WebSocket sessions",
        "p95_seconds": p95,
        "answers": sum(map(len, times.values())),
    }
    figure |= {"lost": len(failures), "first_lost": failures[:1], "jobs_accepted": accepted, "jobs_running": running}
    figure |= {"rise_MB": round(rise), "seconds": round(seconds)}
    return Measured(figure, not failures and max(p95.values()) <= MOST_SECONDS and running <= 1)


def lesson(place: Place) -> Measured:
    """30 students open a lesson within a minute."""
    times: list[float] = []
    gap = 60 / STUDENTS / (4 if place.quick else 1)

    def student(number: int) -> None:
        time.sleep(number * gap)
        with Session(app.url) as one:
            times.append(one.open("lessons", LESSON)[0])

    with place.server("lesson") as app:
        failures = _together(STUDENTS, student)
    figure = {"students": STUDENTS, "within_seconds": round(gap * STUDENTS), "p95_seconds": round(percentile(times), 2)}
    return Measured(figure | {"lost": len(failures)}, not failures and percentile(times) <= MOST_SECONDS)


def crowds(place: Place) -> Measured:
    """Both: visitors beside a training, and students who open a lesson."""
    of_visitors, of_students = visitors(place), lesson(place)
    figure = {**of_visitors.figure, "lesson": of_students.figure}
    return Measured(figure, bool(of_visitors.held and of_students.held))


def soak(place: Place) -> Measured:
    """One visitor after the other opens pages and hands images in: slopes of memory and of open files.

    The server keeps each session for two minutes, so its memory follows the speed of the visitors. The open files
    count these sessions, and the slope is that of memory at the same number of them.
    """
    samples: list[tuple[float, float, float]] = []
    with place.server("soak") as app:
        process, begin = server_process(app), time.monotonic()
        for page in cycle(PAGES):
            with Session(app.url) as one:
                one.open(page)
                _, elements = one.open("predict", f"run={place.run.id}")
                one.hand_in(elements, "a.png", phantom())
            now = time.monotonic() - begin
            if now > WARM_UP[place.quick]:
                samples.append((now, process.memory_info().rss / 1e6, process.num_fds()))
            if now > SECONDS[place.quick]:
                break
    hours, memory, files = np.array(samples).T
    slope, error = slope_of(hours / 3600, memory, files)
    files_slope, files_error = slope_of(hours / 3600, files)
    figure = {"minutes": round(SECONDS[place.quick] / 60), "visits": len(samples), "MB": round(memory[-1])}
    figure |= {
        "MB_per_hour": round(slope, 1),
        "standard_error": round(error, 1),
        "files_per_hour": round(files_slope, 1),
    }
    if slope - SURE * error > SLOPE:
        return Measured(figure, False)
    if slope + SURE * error > SLOPE or abs(files_slope) > SURE * files_error:
        return Measured(figure, None, "The slope cannot be told from the target in this time.")
    return Measured(figure, True)


def slope_of(hours: np.ndarray, values: np.ndarray, *others: np.ndarray) -> tuple[float, float]:
    """Least-squares slope over the hours, with ``others`` held, and its standard error. It takes the values as
    independent of each other. Not a number where they are too few."""
    columns = np.column_stack([hours, np.ones_like(hours), *others])
    if (free := len(hours) - columns.shape[1]) < 1:
        return np.nan, np.nan
    solution, *_ = np.linalg.lstsq(columns, values)
    variance = np.sum((values - columns @ solution) ** 2) / free
    return float(solution[0]), float(np.sqrt(variance * np.linalg.pinv(columns.T @ columns)[0, 0]))


def percentile(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20)[-1] if len(values) > 1 else max(values, default=float("nan"))


def _trainings(workspace: Workspace) -> int:
    """Ask for a long training and 50 more; how many the queue takes."""
    run = store.list_runs(workspace)[0][0]
    accepted = 0
    for number in range(JOBS + 1):
        content = run.spec.model_dump() | {"name": f"Job {number}", "seed": number, "epochs": 1000, "patience": 0}
        try:
            queue.submit_training(workspace, TrainingSpec(**content))
            accepted += 1
        except JobRefused:
            continue
    return accepted


def _visit(app: App, number: int, rounds: int, times: dict[str, list[float]]) -> None:
    rng = np.random.default_rng(number)
    with Session(app.url) as one:
        for turn in range(rounds):
            time.sleep(rng.exponential(PAUSE))
            times["page"].append(one.open(PAGES[(number + turn) % len(PAGES)])[0])
            time.sleep(rng.exponential(PAUSE))
            _, elements = one.open("predict")
            times["prediction"].append(one.hand_in(elements, "a.png", phantom())[0])


def _together(many: int, act: Callable[[int], None]) -> list[str]:
    """Do it so often at the same time; the errors of those that failed."""
    with ThreadPoolExecutor(many) as pool:
        done = [pool.submit(act, number) for number in range(many)]
    return [repr(one.exception())[:200] for one in done if one.exception()]


def in_background(measure: Callable[[], Measured]) -> Callable[[], Measured]:
    """Start a measurement now; the function that is returned waits for it, and raises what it raised."""
    return ThreadPoolExecutor(1).submit(measure).result
