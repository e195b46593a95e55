"""Studies: several runs queued in one click, seen together, taken up again together."""

import pandas as pd
import streamlit as st

from covid_core import access, presets
from covid_core.backbones import backbone_named
from covid_core.data import label_shift
from covid_core.data.dataset import Dataset
from covid_core.data.split import sources_to_hold_out
from covid_core.formatting import count, in_full, plural, share
from covid_core.jobs import queue
from covid_core.reports import repeats_text, tables
from covid_core.runs import store
from covid_core.runs.store import Study
from covid_core.specs import SplitSpec, StudySpec
from pages.panels.train import form, run_view
from pages.shared import comparison_tables, job_panel, model_audit_panel, run_cache, shell

MAJORITY = "Majority baseline"  # a heading


def new_study(dataset: Dataset, classes: tuple[str, ...]) -> None:
    """Choose a preset, see what it holds, queue it."""
    sources = sources_to_hold_out(dataset.images, classes)
    offered = {name: preset for name, preset in presets.STUDY_PRESETS.items() if sources or not preset.by_source}
    if st.session_state.get("study_preset") not in offered:
        st.session_state.pop("study_preset", None)
    chosen = st.radio(
        "Preset",
        list(offered),
        format_func=lambda name: offered[name].label,
        captions=[preset.description for preset in offered.values()],
        key="study_preset",
        persist_state="session",
    )
    top = st.container(border=True, key="new-study")
    with st.expander("Settings for all runs", icon=":material/tune:"):
        st.text_area(
            "One setting per line",
            placeholder="epochs=2\nsplit.seed=7\nhead.dropout=0.3",
            help="As key=value. All other settings are those of the preset.",
            key="study_settings",
            persist_state="session",
        )
    with top, shell.errors_shown():
        _plan(_queue_row(_study_spec(chosen, dataset, classes, sources), dataset))
    if deviations := presets.STUDY_PRESETS[chosen].deviations:
        with st.expander("Where this differs from the course, and why", icon=":material/school:"):
            st.markdown("\n".join(f"- {sentence}" for sentence in deviations))


def _study_spec(preset: str, dataset: Dataset, classes: tuple[str, ...], sources: list[str]) -> StudySpec:
    lines = [line for line in st.session_state.get("study_settings", "").splitlines() if line.strip()]
    return presets.study(
        preset,
        dataset.id,
        classes,
        dataset.counts,
        st.session_state.get("study_name", "").strip(),
        presets.parse_assignments(lines),
        sources,
    )


def _queue_row(spec: StudySpec, dataset: Dataset) -> StudySpec:
    """Name, button and, where weights are missing, the choice. Returns the study as it would be queued."""
    lacking = presets.lacking_weights(spec, online=False)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.text_input("Name", placeholder=spec.name, max_chars=80, width=320, key="study_name", persist_state="session")
        options = {"type": "primary", "icon": ":material/playlist_play:", "key": "queue-study"}
        clicked = shell.button(f"Queue {plural(len(spec.runs), 'run')}", access.TRAIN, **options)
    st.caption(f"Expected time: {form.expected_time(spec.runs, dataset.version)}.")
    if lacking and _offer_random_start(lacking):
        spec = presets.with_random_start(spec, lacking)
    if clicked:
        with shell.errors_shown():
            queue.submit_study(shell.workspace(), spec)
            st.rerun()
    return spec


def _offer_random_start(lacking: tuple[str, ...]) -> bool:
    labels = ", ".join(backbone_named(name).label for name in lacking)
    st.warning(
        f"ImageNet weights of {labels} are not on this computer. These runs download them first. Without a network, "
        "start them from random weights.",
        icon=":material/download:",
    )
    return st.checkbox("Start these runs from random weights (noted in runs and tables)", key="study_random")


def _plan(spec: StudySpec) -> None:
    split = spec.runs[0].split
    if split.held_out:
        held_out = ", ".join(shell.plain(source) for run in spec.runs for source in run.split.held_out)
        st.caption(f"Each run is trained without one source and tested on it: {held_out}. Seed {split.seed}.")
    else:
        _shared_split(split)
    if any(run.labels == "shifted" for run in spec.runs):
        st.warning(label_shift.ON_PURPOSE, icon=":material/warning:")
    table = tables.hyperparameters([run.name for run in spec.runs], spec.runs)
    table["Learning rate"] = table["Learning rate"].map(in_full)
    st.dataframe(
        tables.only_what_differs(table, always=("Model", "Epochs", "Learning rate", "Special strategy")),
        hide_index=True,
        width="stretch",
        alt="The runs of this study and their settings",
    )


def _shared_split(split: SplitSpec) -> None:
    drawn = f", of at most {count(split.images_per_class)} images of each class" if split.images_per_class else ""
    shares = " / ".join(share(part, 0) for part in (split.train, split.validation, split.tested))
    st.caption(f"One split for all runs{drawn}: {shares} (training / validation / test), seed {split.seed}.")


# Studies that exist


def list_all(cached: list[run_cache.CachedRun], wanted: str = "") -> bool:
    """All studies with their progress; the one of the page's address first. Returns whether there is one."""
    listed = store.list_studies(shell.workspace())
    by_id = {one.run.id: one for one in cached}
    for study in sorted(listed, key=lambda study: study.id != wanted):
        _study(study, [by_id[run] for run in study.runs if run in by_id])
    return bool(listed)


def _study(study: Study, members: list[run_cache.CachedRun]) -> None:
    finished = sum(one.status.state == store.COMPLETED for one in members)
    with st.container(border=True, key=f"study-{study.id}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            of = dict.fromkeys(one.run.dataset.name for one in members)
            words = " · ".join([f"**{shell.plain(study.name)}**", *map(shell.plain, of), _in_words(study, members)])
            st.markdown(words, width="stretch")
            _actions(study, members)
        if members:
            st.progress(finished / len(members))
            with shell.errors_shown():
                if study.is_repeats:
                    _repeats(study, members)
                else:
                    comparison_tables.study_conclusion(study, [one.run for one in members if one.is_usable])
            st.dataframe(
                _table(members),
                hide_index=True,
                width="stretch",
                column_config=model_audit_panel.CONFIG,
                alt=f"Runs of the study {study.name}",
            )


def _repeats(study: Study, members: list[run_cache.CachedRun]) -> None:
    """Mean, standard deviation and the pooled figure, from two finished runs on."""
    compared = run_cache.compared([(study, [one.run for one in members])])
    if compared.spreads and compared.spreads[0]["accuracy"].count > 1:
        line = repeats_text.study_line(compared.studies[0], compared.spreads[0]["accuracy"], compared.pooled[0])
        st.markdown(f"{line[0].upper()}{line[1:]}. Runs share images, so the SD is no standard error.")


def _in_words(study: Study, members: list[run_cache.CachedRun]) -> str:
    states = pd.Series([one.status.state for one in members], dtype=object).value_counts()
    parts = [
        f"{count(states[state])} {run_view.LABELS[state][0].lower()}" for state in run_view.LABELS if state in states
    ]
    if len(members) < len(study.runs):
        parts.append(f"{count(len(study.runs) - len(members))} deleted or damaged")
    return ", ".join(parts)


def _table(members: list[run_cache.CachedRun]) -> pd.DataFrame:
    rows = []
    for one in members:
        accuracy = one.accuracy
        check = model_audit_panel.of(one.run) if accuracy is not None else None
        rows.append(
            {
                "Run": one.run.name,
                "State": run_view.LABELS[one.status.state][0],
                "Progress": share(one.status.progress, 0),
                "Test accuracy": share(accuracy) if accuracy is not None else "–",
                MAJORITY: run_view.majority_in_words(one) if accuracy is not None else "–",
                model_audit_panel.HEADING: check.verdict if check else "–",
                model_audit_panel.MASKS: check.masks if check else "",
                "Strategy": one.run.spec.strategy,
            }
        )
    table = pd.DataFrame(rows)
    return table if table[model_audit_panel.MASKS].any() else table.drop(columns=model_audit_panel.MASKS)


def _actions(study: Study, members: list[run_cache.CachedRun]) -> None:
    states = {one.status.state for one in members}
    if any(one.result for one in members) and st.button(
        "Compare", key=f"compare-{study.id}", icon=":material/compare_arrows:"
    ):
        st.switch_page("compare.py", query_params={"study": study.id})
    if states & store.ENDED_EARLY:
        every = "Resumes every run that ended early."
        job_panel.resume_button(f"resume-{study.id}", every, study.owner, queue.resume_study, shell.workspace(), study)
    if active := [one.run for one in members if one.is_active]:
        saves = "Each run keeps the best weights of its finished epochs, and can be resumed."
        job_panel.stop_button(active, f"stop-{study.id}", saves, "Stop all")
    else:
        _delete(study, members)


def _delete(study: Study, members: list[run_cache.CachedRun]) -> None:
    with shell.button("Delete", access.TRAIN, study.owner, draw=st.popover, icon=":material/delete:"):
        st.markdown(
            f"Delete **{shell.plain(study.name)}** with its {plural(len(members), 'run')}: models, scores and curves? "
            "This cannot be undone."
        )
        with_runs = st.button("Delete study and runs", key=f"delete-{study.id}", icon=":material/delete:")
        alone = st.button("Only the study; keep its runs", key=f"dissolve-{study.id}")
        if with_runs or alone:
            with shell.errors_shown():
                for one in members if with_runs else ():
                    queue.delete(one.run)
                store.delete_study(shell.workspace(), study.id)
                st.rerun()
