"""Train: set up runs and studies, start, stop and resume them."""

import streamlit as st

from covid_core.data.dataset import Dataset
from covid_core.formatting import count, plural
from covid_core.runs.store import BrokenRun
from pages.panels.train import added_backbones, form, run_view, studies, trained_elsewhere
from pages.shared import annotation_form, import_jobs, model_audit_panel, run_cache, shell

SECTIONS = (
    *(":material/play_arrow: New run", ":material/playlist_play: Studies", ":material/list: Runs"),
    ":material/upload_file: Trained elsewhere",
)
RUNS_PER_PAGE = 12


def main() -> None:
    """One run where the address names one, else everything."""
    identifier = st.query_params.get("run")
    if identifier:
        run_view.run_view(identifier)
        return
    run_view.watched(run_view.overview)
    cached, broken = run_cache.listed()
    dataset = shell.pick_dataset()
    classes = _pick_classes(dataset) if dataset else ()
    if not dataset:
        import_jobs.no_dataset()
    if not dataset and not cached and not broken:
        return
    wanted = {"runs": SECTIONS[2], "elsewhere": SECTIONS[3]}.get(st.query_params.get("section", ""))
    wanted = SECTIONS[1] if st.query_params.get("study") else wanted
    new, group, runs, elsewhere = st.tabs(SECTIONS, key="train-sections", default=wanted, on_change="rerun")
    if new.open:
        with new:
            _new_run(dataset, classes)
    if group.open:
        with group:
            _studies(dataset, classes, cached)
    if runs.open:
        with runs:
            _runs(cached, broken)
    if elsewhere.open and dataset:
        with elsewhere, shell.errors_shown():
            trained_elsewhere.show(dataset, cached)


def _pick_classes(dataset: Dataset) -> tuple[str, ...]:
    chosen = st.pills(
        "Classes",
        dataset.classes,
        selection_mode="multi",
        default=dataset.classes,
        format_func=lambda label: f"{shell.plain(label)} ({count(dataset.counts[label])})",
        key=f"classes-{dataset.id}",
        persist_state="session",
    )
    return tuple(label for label in dataset.classes if label in chosen)


def _needs_classes(dataset: Dataset, classes: tuple[str, ...]) -> bool:
    if len(classes) >= 2:
        return False
    single = "Choose another data set above: this one has a single class, so there is nothing to classify."
    wanted = "Choose at least two classes above." if len(dataset.classes) > 1 else single
    st.info(wanted, icon=":material/arrow_upward:")
    return True


def _new_run(dataset: Dataset | None, classes: tuple[str, ...]) -> None:
    if dataset and not _needs_classes(dataset, classes):
        with shell.errors_shown():
            form.new_run(dataset, classes)
        added_backbones.show()


def _studies(dataset: Dataset | None, classes: tuple[str, ...], cached: list[run_cache.CachedRun]) -> None:
    if studies.list_all(cached, st.query_params.get("study", "")):
        st.subheader("New study")
    if dataset and not _needs_classes(dataset, classes):
        studies.new_study(dataset, classes)


def _runs(cached: list[run_cache.CachedRun], broken: list[BrokenRun]) -> None:
    shell.broken_notice(broken)
    if not cached:
        st.caption("There is no run yet. Start one under New run.")
        return
    archived = sum(one.run.annotation.archived for one in cached)
    if not (archived and st.toggle(f"Show {count(archived)} archived", key="runs-archived")):
        cached = [one for one in cached if not one.run.annotation.archived]
    annotation_form.undo()
    pages = -(-len(cached) // RUNS_PER_PAGE)
    page = st.pagination(pages, key="runs-page") if pages > 1 else 1
    for one in cached[(page - 1) * RUNS_PER_PAGE : page * RUNS_PER_PAGE]:
        run_view.run_row(one)
    st.caption(plural(len(cached), "run"), help=model_audit_panel.HELP)


main()
