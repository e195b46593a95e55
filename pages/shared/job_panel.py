"""Jobs of any kind on a page: started, followed, stopped, started again, dismissed, and reported when they are done.

A page calls ``panel`` at its top level with the jobs that concern it: while one waits or works, one fragment polls.
"""

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from covid_core import access
from covid_core.executors import choice
from covid_core.formatting import duration, plural, roughly
from covid_core.jobs import demonstration, kinds, queue
from covid_core.jobs.kinds import Request
from covid_core.jobs.queue import Job
from covid_core.runs import store
from covid_core.runs.store import JobFolder, Status
from pages.shared import shell

POLL = 1.0  # seconds
FOLLOWED = "jobs_followed"  # session: ids of jobs whose end is to be reported

Jobs = Sequence[Job[Any]]


def start(*requests: Request) -> bool:
    """Queue jobs for one process, with the error shown; not in a callback. Returns whether they were queued."""
    with shell.errors_shown():
        _queue(*requests)
        return True
    return False


def _queue(*requests: Request) -> None:
    """Queue jobs for one process; what is left of equal ones that failed goes. Raises what ``submit_all`` does."""
    earlier = [job for job in queue.jobs(shell.workspace(), Request) if job.request in requests]
    st.session_state.setdefault(FOLLOWED, set()).update(job.id for job in queue.submit_all(shell.workspace(), requests))
    for job in filter(_is_without_result, earlier):
        queue.dismiss(job)


def start_button(label: str, *requests: Request, key: str, **options: Any) -> None:
    """A button that starts jobs of one kind; ``options`` are those of ``st.button``."""
    shell.button(label, kinds.of(requests[0]).right, key=key, on_click=shell.tried, args=(_queue, *requests), **options)


def expected(request: Request) -> str:
    """How long a job takes, in words; nothing where that is not known."""
    seconds = kinds.of(request).seconds(shell.workspace(), request)
    return roughly(seconds) if seconds else ""


def panel(
    listed: Callable[[], Jobs],
    place: str = "",
    done: Callable[[Job[Any]], None] | None = None,
    again: Callable[[Job[Any]], object] | None = None,
    with_ended: bool = True,
) -> bool:
    """Jobs that wait, work, or ended without a result. Returns whether one waits or works.

    Args:
        listed: the jobs, oldest first; called again at each poll.
        place: tells the panels of one job apart, where a page has several.
        done: reports a finished job that this session has followed; a toast by default.
        again: starts a job again, in a callback, and does away with the ended one; without, it is queued
            as it was, and an ended job can also be dismissed.
        with_ended: whether those that ended without a result are shown.
    """
    jobs = listed()
    report(jobs, done)
    if with_ended:
        outcomes(jobs, place, again)
    active = _steps(jobs)
    if active:
        _follow(listed, active, place)
    return bool(active)


def _active(jobs: Jobs) -> frozenset[str]:
    return frozenset(job.id for job in jobs if job.is_active)


def _steps(jobs: Jobs) -> frozenset[tuple[str, str]]:
    """What waits or works, and at which of its numbered steps, if its message names one: ``Step 2 of 6: ...``."""
    numbered = [(job.id, job.status.message.split(": ")) for job in jobs if job.is_active]
    return frozenset(
        (identifier, words[0] if words[0].startswith(demonstration.STEP) else "") for identifier, words in numbered
    )


@st.fragment(run_every=POLL)
def _follow(listed: Callable[[], Jobs], active: frozenset[tuple[str, str]], place: str) -> None:
    """Progress; when a job starts, ends or comes to its next step, the whole page is run anew."""
    jobs = listed()
    if _steps(jobs) != active:
        st.rerun()
    cards(jobs, place)


def cards(jobs: Jobs, place: str = "") -> None:
    """What works, each with the button that stops it; what waits behind it in one line."""
    active = [job for job in jobs if job.is_active]
    waiting = [job for job in active if job.status.state == store.QUEUED]
    if len(active) == 1:
        waiting = []
    for job in active:
        if job not in waiting:
            _card(job, place)
    if waiting:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"{plural(len(waiting), 'job waits', 'jobs wait')}.")
            own = [job for job in waiting if access.actor().may(job.kind.right, job.owner)] or waiting
            options = {"key": f"unqueue-{place}", "on_click": _stop, "args": ([job.folder for job in own],)}
            shell.button("Take out of the queue", own[0].kind.right, own[0].owner, type="tertiary", **options)


def _card(job: Job[Any], place: str) -> None:
    status = job.status
    with st.container(border=True, key=f"job-{place}{job.id}"):
        row = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
        row.markdown(f"**{shell.plain(job.title)}**", width="content")
        with row:
            stop_button([job.folder], f"stop-{place}{job.id}", job.kind.on_stop)
        st.progress(min(max(status.progress, 0.0), 1.0), text=shell.plain(status.message or "Starting"))
        left = "" if status.seconds_left is None else f", about {duration(status.seconds_left)} left"
        if status.elapsed is not None:
            st.caption(f"{duration(status.elapsed)} so far{left}. {where(job.folder, status)}".rstrip())
        else:
            takes = expected(job.request)
            begun = f"Not started yet. It takes about {takes}." if takes else "Not started yet."
            st.caption(f"{begun} {where(job.folder, status)}".rstrip())


def where(folder: JobFolder, status: Status) -> str:
    """Where a job is done, as a sentence; nothing where nobody has chosen an engine."""
    if status.place:
        return f"On {shell.plain(status.place)}."
    return "On this computer." if choice.is_chosen(folder.workspace) else ""


def stop_button(folders: Sequence[JobFolder], key: str, on_stop: str, label: str = "Stop") -> None:
    """Stops runs or other jobs; ``on_stop`` says what a stop keeps."""
    stopping = all(folder.stop_requested() for folder in folders)
    shell.button(
        "Stopping" if stopping else label,
        queue.kind_of(folders[0]).right,
        folders[0].owner,
        key=key,
        icon=":material/stop_circle:",
        help=on_stop,
        disabled=stopping,
        on_click=_stop,
        args=(folders,),
    )


def _stop(folders: Sequence[JobFolder]) -> None:
    for folder in reversed(folders):  # the last first, so that none of them begins meanwhile
        shell.tried(queue.stop, folder)


def resume_button(
    key: str, help_text: str, owner: str, resume: Callable[..., object], *arguments: object, label: str = "Resume"
) -> None:
    """Goes on with a run of ``owner``, or with several, that ended early."""
    options = {"icon": ":material/resume:", "help": help_text, "on_click": shell.tried, "args": (resume, *arguments)}
    shell.button(label, access.TRAIN, owner, key=key, **options)


def report(jobs: Jobs, done: Callable[[Job[Any]], None] | None = None) -> None:
    """Report, once, each finished job that this session has started or seen at work."""
    followed: set[str] = st.session_state.setdefault(FOLLOWED, set())
    followed |= _active(jobs)
    for job in jobs:
        if job.id in followed and job.status.state == store.COMPLETED:
            followed.remove(job.id)
            (done or _toast)(job)


def _toast(job: Job[Any]) -> None:
    title = shell.plain(job.title)
    st.toast(f"{title}: done, after {duration(job.status.elapsed)}.", icon=":material/check_circle:")


def _is_without_result(job: Job[Any]) -> bool:
    return job.status.state in store.ENDED_EARLY


def outcomes(jobs: Jobs, place: str = "", again: Callable[[Job[Any]], object] | None = None) -> None:
    """Each job that ended without a result, until it is started again or dismissed.

    Of jobs with the same request only the last counts.
    """
    for number, job in enumerate(jobs):
        superseded = any(later.request == job.request for later in jobs[number + 1 :])
        if superseded or not _is_without_result(job):
            continue
        title = f"**{shell.plain(job.title)}**"
        if job.status.state == store.STOPPED:
            st.info(f"{title} was stopped. {job.kind.on_stop}", icon=":material/stop_circle:")
        else:
            reason = shell.plain(job.status.reason or "It ended without a reason.")
            st.error(f"{title} failed. {reason}", icon=":material/error:")
        log(job.folder)
        ways = (
            {"Try again": (":material/refresh:", shell.tried, again or _again, job)}
            if job.request.is_repeatable
            else {}
        )
        if again is None:
            ways["Dismiss"] = (":material/close:", shell.tried, queue.dismiss, job)
        with st.container(horizontal=True):
            for label, (icon, action, *arguments) in ways.items():
                options = {"icon": icon, "on_click": action, "args": arguments}
                key = f"{label.split()[-1].lower()}-{place}{job.id}"
                shell.button(label, job.kind.right, job.owner, key=key, **options)


def log(folder: JobFolder, expanded: bool = False) -> None:
    """The end of what a run or another job has printed, where it has printed anything."""
    if text := folder.log_tail():
        with st.expander("Log", expanded=expanded, icon=":material/terminal:"):
            st.code(text, language=None, wrap_lines=True, height=260)


def _again(job: Job[Any]) -> None:
    queue.dismiss(job)
    _queue(job.request)
