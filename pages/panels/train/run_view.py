"""Runs as they are now: states in words, the one fragment that polls, and the view of a single run."""

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from covid_core import access
from covid_core.errors import CovidCoreError
from covid_core.exchange import predictions
from covid_core.figures import training as figures
from covid_core.formatting import count, duration, file_size, moment, plural, share
from covid_core.jobs import queue
from covid_core.jobs.kinds import ExportRequest, ModelAuditRequest, RobustnessRequest
from covid_core.reports import run_text, tables
from covid_core.reports.course import course_text
from covid_core.runs import architecture, backbone_files, candidates, store, test_set_access
from covid_core.runs.store import Run, Status
from covid_core.specs import OPTIMIZER_LABELS
from covid_core.work import cores
from pages.panels.train import export_panel, spec_fields, trained_elsewhere
from pages.shared import annotation_form, cards, job_panel, model_audit_panel, notices, run_cache, shell
from pages.shared.exchange import bundles
from pages.shared.run_cache import CachedRun, listed
from pages.shared.test_part import robustness_panel, subgroup_panel, test_set_views

PAGE = "train.py"
POLL = 2  # seconds
CHECKS = (ModelAuditRequest, RobustnessRequest, ExportRequest)  # jobs of a run that its page follows
QUEUE_SHOWN = 4  # runs on top of the page; a study of seven would push everything else out of sight
LABELS = {
    store.QUEUED: ("Waiting", "gray"),
    store.RUNNING: ("Training", "blue"),
    store.COMPLETED: ("Finished", "green"),
    store.STOPPED: ("Stopped", "orange"),
    store.INTERRUPTED: ("Interrupted", "orange"),
    store.FAILED: ("Failed", "red"),
}
STAGE_LABELS = {
    "decode": "Decode images",
    "weights": "Fetch weights",
    "tensorflow": "Start TensorFlow",
    "build": "Build the network",
    "export": "Export the network",
    "features": "Extract features",
    "fit": "Train",
    "save": "Save the model",
    "predict": "Predict all images",
    "usual image": "Mean image for the heat maps",
    "check": "Check the saved model",
}
ORIGINS = {"imagenet": "ImageNet", "random": "random", "file": "a local file"}


def device_in_words() -> str:
    """What runs will train on, as far as is clear without TensorFlow."""
    if Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi"):
        return "This computer has an NVIDIA graphics card. Each run names its device."
    return f"Runs train on {plural(cores(), 'processor core')}: there is no NVIDIA graphics card."


# The fragment


def _signature(audits_of: str) -> list[tuple[str, str]]:
    """What is at work: runs, and the checks of the run that is shown, if one is."""
    training = [(one.run.id, one.status.state) for one in listed()[0] if one.is_active]
    checks = queue.jobs(shell.workspace(), *CHECKS, run=[audits_of]) if audits_of else ()
    return [*training, *((job.id, "check") for job in checks if job.is_active)]


def watched(draw: Callable[[], None], audits_of: str = "") -> None:
    """Draw, and again every few seconds as long as a run waits or trains, or the run ``audits_of`` is being audited.
    The page is run anew when one changes.

    All is drawn into one container, so that what stands below keeps its place, and with it what is being typed there.
    """
    drawn_for = _signature(audits_of)

    @st.fragment(run_every=POLL if drawn_for else None)
    def poll() -> None:
        if _signature(audits_of) != drawn_for:
            st.rerun()
        draw()
        notices.announce()

    with st.container():
        poll()


# All runs


def overview() -> None:
    """The answer of the page, and what trains and waits."""
    cached, _ = listed()
    queue = run_cache.queue_of(cached)
    shell.heading("What do I train next?", in_words(cached))
    if queue:
        with st.container(border=True, key="active-runs"):
            for one in queue[:QUEUE_SHOWN]:
                _active_row(one)
            if len(queue) > QUEUE_SHOWN:
                st.caption(f"{plural(len(queue) - QUEUE_SHOWN, 'more run waits', 'more runs wait')}; see Runs below.")


def in_words(cached: list[CachedRun]) -> str:
    """How many runs train, wait and are finished."""
    running = [one for one in cached if one.status.state == store.RUNNING]
    waiting = sum(one.status.state == store.QUEUED for one in cached)
    ended = len(cached) - len(running) - waiting
    if not cached:
        return "Nothing has been trained yet."
    parts = [f"{shell.plain(one.run.name)} trains: **{_progress_in_words(one.status)}**" for one in running]
    if waiting:
        parts.append(f"{plural(waiting, 'run waits', 'runs wait')}")
    if not parts:
        return f"Nothing trains now. {plural(ended, 'run has', 'runs have')} ended."
    return "; ".join(parts) + "."


def _progress_in_words(status: Status) -> str:
    done = share(status.progress, 0)
    return f"{done}, {duration(status.seconds_left)} left" if status.seconds_left is not None else done


def _active_row(one: CachedRun) -> None:
    run = one.run
    with st.container(horizontal=True, vertical_alignment="center"):
        with st.container(width="stretch", gap="xsmall"):
            st.markdown(f"**{shell.plain(run.name)}**")
            _bar(one)
        with st.container(horizontal=True, width="content"):
            watch_button(run)
            _stop_button(run, "top")


def _bar(one: CachedRun) -> None:
    """How far it is, or its place in the queue."""
    if one.status.state == store.RUNNING:
        st.progress(one.status.progress, _bar_text(one.run, one.status))
        return
    st.caption(_place(one))


def _place(one: CachedRun) -> str:
    if one.status.place:  # its engine has a queue of its own
        return f"{shell.plain(one.status.message)}. {job_panel.where(one.run, one.status)}"
    return f"Waits; {plural(one.place, 'run')} before it" if one.place else "Starts next"


def _bar_text(run: Run, status: Status) -> str:
    if run.stop_requested():
        saved = (
            "before the first epoch has ended: nothing is kept" if run.history().empty else "the best weights are kept"
        )
        return f"Stopping, {saved}"
    parts = [share(status.progress, 0), shell.plain(status.message), f"{duration(status.elapsed)} so far"]
    if status.seconds_left is not None:
        parts.append(f"about {duration(status.seconds_left)} left")
    parts.append(job_panel.where(run, status).removesuffix("."))
    return " · ".join(part for part in parts if part)


def watch_button(run: Run, label: str = "Watch", place: str = "top") -> None:
    """To the run's own view. The same run may have one in each ``place`` of a page."""
    if st.button(label, key=f"watch-{place}-{run.id}", icon=":material/monitoring:"):
        show(run.id)


def show(identifier: str) -> None:
    """Open the view of one run."""
    st.switch_page(PAGE, query_params={"run": identifier})


def _stop_button(run: Run, place: str) -> None:
    saves = "Ends after the current step. The run can be resumed, and keeps the best weights of its finished epochs."
    job_panel.stop_button([run], f"stop-{place}-{run.id}", saves)


def _resume_button(run: Run, fault: str) -> None:
    if fault == "device":
        slower = "Goes on after the last finished epoch, without the graphics card. It takes longer."
        options = {"label": "Train on the processor"}
        job_panel.resume_button(f"processor-{run.id}", slower, run.owner, queue.resume, run, True, **options)
    if fault != "diverged":  # it would come to the same
        goes_on = "Goes on after the last finished epoch."
        job_panel.resume_button(f"resume-{run.id}", goes_on, run.owner, queue.resume, run)


def _delete_button(run: Run) -> None:
    question = f"Delete **{shell.plain(run.name)}** with {_content_in_words(run)}? This cannot be undone."
    options = {"right": access.TRAIN, "owner": run.owner}
    if shell.confirm("Delete", question, "Delete for good", key=f"delete-{run.id}", **options):
        with shell.errors_shown():
            queue.delete(run)
            st.switch_page(PAGE)


def _content_in_words(run: Run) -> str:
    size = file_size(store.size_of(run))
    if run.result:
        return f"its model, its scores for every image, its curves and its log ({size})"
    return f"its settings, its curves and its log ({size})"


def run_row(one: CachedRun) -> None:
    """A run in the list: what it is, how it ended, and what can be done with it."""
    run, status = one.run, one.status
    with (
        st.container(border=True, key=f"row-{run.id}"),
        st.container(horizontal=True, vertical_alignment="center"),
    ):
        with st.container(width="stretch", gap="xsmall"):
            st.markdown(f"**{shell.plain(run.name)}** &ensp; {_state_in_words(one)}")
            kind = f"{run.spec.network.label}, {run.spec.strategy}"
            st.caption(f"{kind} · {shell.plain(run.dataset.name)} · {moment(run.created)}")
        with st.container(horizontal=True, width="content"):
            if one.is_active:
                watch_button(run, "Watch", "list")
                _stop_button(run, "list")
                return
            watch_button(run, "Open", "list")
            if run.annotation.archived:
                annotation_form.restore_button(run)
            if status.state in store.ENDED_EARLY and not run.bundle:
                _resume_button(run, status.fault)
            _delete_button(run)


def _state_in_words(one: CachedRun) -> str:
    label, colour = LABELS[one.status.state]
    words = f":{colour}-badge[{label}]"
    if one.status.state == store.QUEUED:
        return f"{words} {_place(one)}"
    if one.accuracy is None:
        return words
    verdict = model_audit_panel.badge(model_audit_panel.of(one.run))
    largest = shell.plain(majority_in_words(one))
    return f"{words} test accuracy {share(one.accuracy)}, majority baseline {largest} {verdict}"


# One run


def run_view(identifier: str) -> None:
    """Everything about one run; drawn again while it trains."""
    watched(lambda: _draw_run(identifier), audits_of=identifier)


def _draw_run(identifier: str) -> None:
    if st.button("All runs", key="all-runs", icon=":material/arrow_back:", type="tertiary"):
        st.switch_page(PAGE)
    try:
        one = run_cache.named(identifier)
        run, history = one.run, one.run.history()
        outcome, wrong_labels = _outcome(one, len(history)), _wrong_labels(str(run.path), one.stamp, run)
    except CovidCoreError as error:
        shell.heading("Where is this run?", shell.plain(error))
        return
    name, status = shell.plain(run.name), one.status
    shell.heading(f"How good is {name}?" if status.is_final else f"How far is {name}?", outcome)
    if run.dataset.synthetic:
        shell.synthetic_info()
    bundles.origin(run)
    if wrong_labels:
        st.warning(shell.plain(wrong_labels), icon=":material/warning:")
    _facts(one, len(history))
    _actions(one)
    if run.has_network:
        _curves(history, run, status.is_final)
    else:
        _imported(one)
    if one.is_usable and run.has_network:
        st.subheader("Evidence check")
        model_audit_panel.panel(run)
        st.subheader("Robustness")
        robustness_panel.panel(run)
    if one.is_usable:
        _subgroups(run)
    _settings(run)
    if one.is_usable and run.has_network:
        _network(run)
        st.subheader("Export the model")
        export_panel.panel(run)
        if status.is_final:
            _result_details(one)
    if status.is_final and one.result:
        test_set_views.show([run])
    job_panel.log(run, expanded=status.state in (store.FAILED, store.INTERRUPTED))


def _outcome(one: CachedRun, epochs_done: int) -> str:
    """The state of a run in a sentence. Raises RunDamaged."""
    status = one.status
    if status.state == store.QUEUED:
        return f"{_place(one)}."
    if status.state == store.RUNNING:
        return f"It trains: **{_progress_in_words(status)}**."
    if status.state == store.COMPLETED:
        return f"{_finished_sentence(one)} {_accuracy_sentence(one)}"
    if status.state == store.STOPPED:
        return f"{_stopped_sentence(one, epochs_done)} {_accuracy_sentence(one)}"
    if status.state == store.INTERRUPTED:
        if not epochs_done:
            return f"Interrupted before the first epoch ended: {_lower(status.reason)} Resume starts it again."
        done = plural(epochs_done, "epoch")
        return f"Interrupted after {done}: {_lower(status.reason)} Resume goes on from there."
    return f"It failed: {shell.plain(status.reason)} {_accuracy_sentence(one) if one.is_usable else ''}"


def _finished_sentence(one: CachedRun) -> str:
    """How long it took; of a result that was taken over, whose it is: nothing was trained then."""
    if not one.run.has_network:
        return run_text.model_file(one.run)
    earlier = one.result.get("taken_over_from")
    if not earlier:
        return f"Training time: {run_text.training_time(one.run)}."
    name = next((other.run.name for other in listed()[0] if other.run.id == earlier), earlier)
    return (
        f"Nothing was trained: the result is that of **{shell.plain(name)}**, which has the same settings and images."
    )


def _lower(text: str) -> str:
    return shell.plain(text[:1].lower() + text[1:])


def _stopped_sentence(one: CachedRun, epochs_done: int) -> str:
    if not one.result:
        return "Stopped before the first epoch ended."
    planned = plural(one.run.spec.total_epochs, "epoch")
    return f"Stopped after {count(epochs_done)} of {planned}; the best weights are kept."


def _accuracy_sentence(one: CachedRun) -> str:
    if one.accuracy is None:
        return ""
    images, largest, of_images = test_part(str(one.run.path), one.stamp, one.run)
    badge = f" {model_audit_panel.badge(model_audit_panel.of(one.run))}" if one.run.has_network else ""
    return (
        f"Test accuracy: **{share(one.accuracy)}** of {plural(images, 'image')}. Majority baseline "
        f"({shell.plain(largest)}): {share(of_images)}. "
        f"Compare shows whether the difference is significant.{badge}"
    )


def majority_in_words(one: CachedRun) -> str:
    """The majority baseline on the run's own test images: folds have different ones."""
    try:
        _, largest, of_images = test_part(str(one.run.path), one.stamp, one.run)
    except CovidCoreError:  # the run's own page says what is damaged
        return "–"
    return f"{share(of_images)} ({largest})"


@st.cache_data(max_entries=512, show_spinner=False)
def test_part(path: str, stamp: str, _run: Run) -> tuple[int, str, float]:
    """Images of the test part, its largest class and that class's share. Raises RunDamaged."""
    labels = _run.predictions().query("part == 'test'")["label"]
    largest = labels.value_counts(normalize=True)
    return len(labels), str(largest.index[0]), float(largest.iloc[0])


@st.cache_data(max_entries=64, show_spinner=False)
def _wrong_labels(path: str, stamp: str, _run: Run) -> str:
    """What is wrong with the labels that the run learns, in words; empty where nothing is. Raises RunDamaged."""
    return run_text.labels(candidates.label_check(_run))


def _facts(one: CachedRun, epochs_done: int) -> None:
    run, status = one.run, one.status
    if status.state == store.RUNNING:  # the answer above has the place of one that waits
        _bar(one)
    if one.is_usable:
        accuracy = one.result.get("accuracy", {})
        accuracy = {part: accuracy.get(part, math.nan) for part in ("train", "validation", "test")}
        parts = [part for part, value in accuracy.items() if run.has_network or not math.isnan(value)]
        facts = {f"{part.capitalize()} accuracy": share(accuracy[part]) for part in parts}
        if run.has_network:
            facts["Epochs"] = run_text.epochs(run).partition(",")[0].replace("at most ", "")
    else:
        facts = {
            "Epochs done": f"{count(epochs_done)} of {count(run.spec.total_epochs)}",
            "Time so far": duration(status.elapsed),
        }
    if not status.is_final:
        facts["Time left, about"] = duration(status.seconds_left)
    with st.grid(4, min_column_width=130):
        for label, value in facts.items():
            st.metric(label, value)
    if region := run_text.region(run):
        st.caption(shell.plain(region))
    last = status.ended or status.updated
    if status.is_final and last:
        where = f". {job_panel.where(run, status)}".rstrip(". ")
        _, _, weights = run_text.epochs(run).partition(", ") if one.is_usable and run.has_network else ("", "", "")
        ended = ("Ended" if run.has_network else "Imported") if status.ended else "Last heard of"
        st.caption(f"{weights.capitalize()}{'. ' if weights else ''}{ended} {moment(last)}{where}")
        if run.has_network and (missing := run_text.model_file(run)):
            st.caption(shell.plain(missing))


def _actions(one: CachedRun) -> None:
    run, status = one.run, one.status
    with st.container(horizontal=True, vertical_alignment="center"):
        if not status.is_final:
            _stop_button(run, "top")
        if one.is_usable:
            _page_button("Compare", "compare.py", "runs", run, ":material/compare_arrows:", "primary")
        if one.is_usable and run.has_network:
            _page_button("Predict", "predict.py", "run", run, ":material/search:", "secondary")
        if status.state in store.ENDED_EARLY and not run.bundle:
            _resume_button(run, status.fault)
        if run.has_network:
            _variant_button(run)
        if one.is_usable:
            cards.show(run)
        if one.is_usable and run.has_network:
            bundles.download([run])
        annotation_form.popover([run])
        if run.annotation.archived:
            annotation_form.restore_button(run)
        if status.is_final:
            _delete_button(run)


def _variant_button(run: Run) -> None:
    file, spec = run.spec.backbone_file, run.spec.model_copy(update={"name": ""})  # named after what it will be
    here = backbone_files.same_file(shell.workspace(), file) if file else None
    lacks = f"The backbone {shell.plain(file.label)} is not here: add its file first." if file and not here else ""
    if here:  # a bundle's backbone has another name here
        spec = spec.model_copy(update={"backbone": here.name, "backbone_file": here})
    about = {"help": lacks or "The form with this run's settings.", "disabled": bool(lacks)}
    if st.button("Train a variant", key=f"variant-{run.id}", icon=":material/tune:", **about):
        spec_fields.fill(spec)
        st.switch_page(PAGE, query_params={"dataset": run.spec.dataset})


def _page_button(label: str, page: str, parameter: str, run: Run, icon: str, kind: str) -> None:
    if st.button(label, key=f"{label}-{run.id}", icon=icon, type=kind):
        st.switch_page(page, query_params={parameter: run.id})


def _curves(history: pd.DataFrame, run: Run, final: bool) -> None:
    if history.empty:
        st.caption(
            "There are no curves: no epoch was finished." if final else "Curves appear with the first finished epoch."
        )
        return
    for place, figure in zip(st.columns(2), ("accuracy", "loss"), strict=True):
        with place:
            alt = f"{figure.capitalize()} of {run.name} over its {plural(len(history), 'epoch')}"
            drawn = figures.run_curves(history, figure, run.spec.keep)
            shell.chart(drawn, f"{figure}-{run.id}", alt=alt, caption="Circle: epoch of the weights used")


def _imported(one: CachedRun) -> None:
    """What was matched when the predictions were handed in."""
    facts = one.result.get("imported")
    if facts:
        st.markdown("\n".join(f"- {shell.plain(sentence)}" for sentence in predictions.in_words(facts)))
        trained_elsewhere.lists(facts, one.run.id)


def _subgroups(run: Run) -> None:
    with st.expander("Subgroups", icon=":material/groups:", on_change="rerun", key=f"subgroups-{run.id}") as opened:
        if opened.open:
            test_set_views.note([run], test_set_access.FIGURES)
            subgroup_panel.show(run)


def _settings(run: Run) -> None:
    with st.expander("Settings", icon=":material/tune:"):
        table = tables.hyperparameters_as_text([run.name], [run.spec]).drop(columns="Model").T
        table = table.reset_index().set_axis(["Setting", "Value"], axis=1)
        table = table[table["Value"] != tables.UNKNOWN]
        if run.spec.note:
            st.markdown(f"Note: {shell.plain(run.spec.note)}")
        st.caption(f"Data set {shell.plain(run.dataset.name)}, made {moment(run.created)}")
        st.caption(shell.plain(_images_used(run)))
        shell.table(table, f"settings-{run.id}", height="content")
        trained_elsewhere.split_button(run, "settings")


def _network(run: Run) -> None:
    """How the network is built: its layers, and what was minimised."""
    with st.expander("Network: layers and loss", icon=":material/account_tree:", on_change="rerun") as opened:
        if not opened.open:
            return
        st.caption(f"Loss: {course_text.loss(run.spec)}. Optimizer: {OPTIMIZER_LABELS[run.spec.optimizer]}.")
        with shell.errors_shown():
            table = architecture.layers(run)
            shell.table(table.rename(columns=str.capitalize), f"layers-{run.id}", alt="Layers of the network")


def _images_used(run: Run) -> str:
    used = shell.version_of(run)
    if used.before is None:
        return f"The images of this run are no longer available: {run_text.version(used)}."
    if not used.decided:
        return "The run used the data set as imported. No decision has been made since."
    there = "the current version" if used.is_present else "not the current version"
    return f"The run used the images as they were {run_text.version(used)} on the Audit page: {there}."


def _result_details(one: CachedRun) -> None:
    result = one.result
    with st.expander("Weights, check and time per stage", icon=":material/fact_check:"):
        st.markdown("  \n".join(_provenance(one)))
        seconds = result.get("seconds", {})
        stages = [STAGE_LABELS.get(stage, shell.plain(stage)) for stage in seconds]
        table = pd.DataFrame({"Stage": stages, "Time": [duration(value) for value in seconds.values()]})
        shell.table(table, f"seconds-{one.run.id}", height="content")


def _provenance(one: CachedRun) -> list[str]:
    result = one.result
    origin = result.get("weights", {}).get("origin", "")
    lines = [f"Starting weights: {ORIGINS.get(origin, 'unknown')}."]
    if "device" in result:
        has_frozen_part = one.run.spec.mode != "full" and result.get("engine")
        engine = f", frozen part by {shell.plain(result['engine'])}" if has_frozen_part else ""
        lines.append(f"Trained on: {shell.plain(run_text.device(result['device']))}{engine}.")
    if result.get("taken_over_from"):
        lines.append(
            f"This result was taken over from {shell.plain(result['taken_over_from'])}, which has the same settings "
            "and images. Choose another seed to train anew."
        )
    if result.get("reused"):
        lines.append(f"Reused from earlier runs: {_reused_in_words(result['reused'])}.")
    parity = result.get("parity")
    if parity:
        by = f" Compared with: {shell.plain(parity['by'])}." if "by" in parity else ""
        lines.append(
            f"The saved model and the app agree: scores of {plural(parity['images'], 'test image')} differ by at most "
            f"{parity['largest_difference']:.1g}.{by}"
        )
    tuning = result.get("fine_tuning")
    if tuning:
        lines.append(f"Layers fine-tuned: {tuning['layers_trained']} (requested: {tuning['layers_asked']}).")
    return lines


def _reused_in_words(reused: Mapping[str, float | None] | Sequence[str]) -> str:
    """What was kept, with what it had taken where that was noted; earlier versions only list the names."""
    took = reused if isinstance(reused, Mapping) else dict.fromkeys(reused)
    return ", ".join(f"{name} ({duration(took[name])})" if took[name] is not None else name for name in took)
