"""Which run is better, on what, by how much, how sure, and what does it cost?"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from covid_core.evaluation import comparison, image_selection
from covid_core.evaluation.assessment import beats_majority
from covid_core.evaluation.comparison import Candidate, Ranking
from covid_core.evaluation.measures import CLASS_MEASURES
from covid_core.figures import evaluation as figures
from covid_core.formatting import count, plural
from covid_core.reports import comparison_text, tables
from covid_core.runs import candidates, store, test_set_access
from covid_core.runs.store import Run, Study
from pages.panels.compare import calibration, clicks, external_tests, image_browser, repeats, score_histogram
from pages.shared import comparison_tables, model_audit_panel, run_cache, shell, test_set_views

QUESTION = "Which model is better, on what, by how much?"
AT_FIRST = 12  # runs that are chosen when nobody has chosen; more make the curves hard to read
REMARKS_WIDTH = 320  # pixels of the column at least
REMARKS_LETTER, REMARKS_EDGE = 7, 24  # pixels; a cell does not break its line, so the longest remarks get their width
MOST_OF_A_STUDY = 40  # runs that are chosen with a study; folds times seeds may be more than anybody can look at
MATRICES = 6  # confusion matrices side by side at once
LINES = 12  # runs in one figure; more lines cannot be told apart
COLUMNS = 6  # runs side by side in a table of measures


def main() -> None:
    shell.heading(QUESTION)
    answer = st.container()
    usable, broken = shell.usable_runs()
    if not usable:
        _nothing_to_compare()
        shell.broken_notice(broken)
        return
    study = _pick_study({study.id: study for study in store.list_studies(shell.workspace())})
    repeated = study if study and study.is_repeats else None
    if repeated:
        _repeats_first(answer, repeated)
        answer = st.container()
    runs = _pick_runs(usable, study)
    names = candidates.unique_names(runs)
    loaded, unreadable = comparison_tables.load(runs, names)
    shell.broken_notice([*broken, *unreadable])
    group = _pick_group(loaded, runs, repeated)
    if not group:
        answer.info("Choose the runs to compare.", icon=":material/arrow_downward:")
        return
    by_id = {run.id: run for run in runs}
    test_set_views.note([by_id[candidate.id] for candidate in group], test_set_access.FIGURES)
    ranking = comparison_tables.ranking(group, [by_id[candidate.id] for candidate in group])
    outcome = comparison_text.summary(ranking)
    answer.markdown(f"**{shell.plain(outcome.headline)}**")
    splits = {candidate.split_hash for candidate in group}
    on_these_images = [run for run in usable if run.split_hash in splits]
    _show(ranking, [by_id[candidate.id] for candidate in ranking.order], outcome, on_these_images, repeated)


def _repeats_first(answer: DeltaGenerator, study: Study) -> None:
    """A study of repeats is one training: what its runs say together stands before any single one of them."""
    with shell.errors_shown():
        repeats.show(answer, study)
    st.subheader("Single runs")
    st.caption(
        "One run is one fold or one seed: good for looking at images and curves, not for saying which is better."
    )


def _nothing_to_compare() -> None:
    """What to do while there is no finished run."""
    runs, _ = run_cache.listed()
    active = [one for one in runs if one.is_active]
    with st.container(border=True):
        if active:
            st.markdown(f"**{plural(len(active), 'run')} still at work.** They can be compared when they are finished.")
            st.page_link("train.py", label="Watch them on the Train page", icon=":material/arrow_forward:")
            return
        failed = f" {plural(len(runs), 'run')} ended without a result." if runs else ""
        st.markdown(f"**No finished run yet.**{failed} Train a model first; two or more can then be compared here.")
        st.page_link("train.py", label="Train a model", icon=":material/arrow_forward:")


def _pick_runs(usable: list[Run], study: Study | None) -> list[Run]:
    """The runs to compare: from the address, from the study, or those that were tested like the newest."""
    offered = [run for run in usable if study is None or run.id in study.runs]
    chosen = _pick_ids(offered, study)
    if study and len(offered) < len(study.runs):
        st.caption(
            f"{len(study.runs) - len(offered)} of {plural(len(study.runs), 'run')} of this study have no result."
        )
    by_id = {run.id: run for run in offered}
    return [by_id[identifier] for identifier in chosen]


def _pick_study(studies: dict[str, Study]) -> Study | None:
    if not studies:
        return None
    key = "compare_study"
    wanted = st.query_params.get("study", "")
    if st.session_state.get("compare_study_asked") != wanted or st.session_state.get(key, "") not in ("", *studies):
        st.session_state[key] = wanted if wanted in studies else ""
    names = {"": "All runs", **{study.id: study.name for study in studies.values()}}
    chosen = st.selectbox("Study", list(names), format_func=names.__getitem__, key=key, width=280)
    comparison_tables.remember("study", chosen)
    return studies.get(chosen)


def _pick_ids(offered: list[Run], study: Study | None) -> list[str]:
    ids = [run.id for run in offered]
    names = dict(zip(ids, candidates.unique_names(offered), strict=True))
    like_newest = [run.id for run in offered if run.split_hash == offered[0].split_hash]
    by_default = ids[:MOST_OF_A_STUDY] if study else like_newest[:AT_FIRST]
    key = f"compare_runs_{study.id if study else ''}"
    wanted = st.query_params.get("runs", "")
    if key not in st.session_state or st.session_state.get("compare_runs_asked") != wanted:
        named = [identifier for identifier in wanted.split(",") if identifier in names]
        st.session_state[key] = named or by_default
    st.session_state[key] = [identifier for identifier in st.session_state[key] if identifier in names]
    chosen = st.multiselect(
        "Runs", ids, format_func=names.__getitem__, key=key, placeholder="Choose runs", help="Type to search by name."
    )
    comparison_tables.remember("runs", "" if set(chosen) == set(by_default) else ",".join(chosen))
    if chosen == by_default and len(chosen) < len(ids):
        which = "of this study" if study else "tested on the newest run's images"
        newest = f"{count(len(chosen))} {which}" if len(chosen) > 1 else "run"
        st.caption(f"The newest {newest}; {count(len(ids))} can be chosen.")
    return chosen


def _pick_group(loaded: list[Candidate], runs: Sequence[Run], repeated: Study | None) -> list[Candidate]:
    """Runs of one set of test images. Where the choice holds several, they are never ranked together.

    ``repeated`` is the study of repeats that the page is about: its folds have shown together above.
    """
    groups = comparison.grouped(loaded)
    if len(groups) < 2:
        return groups[0] if groups else []
    images = {run.id: candidates.images_in_words(run) for run in runs}
    if repeated:
        st.caption(f"Each of the {len(groups)} folds has test images of its own, so one is shown at a time.")
    else:
        st.warning(
            f"Not comparable: different test images. These runs were tested on {len(groups)} different sets of images, "
            "so each set is ranked by itself. Folds and seeds are compared in the tab Repeats.",
            icon=":material/warning:",
        )
    position = st.selectbox(
        "Test images",
        range(len(groups)),
        format_func=lambda i: f"{images[groups[i][0].id]} ({_size_of(groups[i])})",
        key="compare_group",
        help="What each set is: data set, share or fold, and the seed of the split.",
    )
    return groups[position]


def _size_of(group: list[Candidate]) -> str:
    return f"{plural(group[0].assessment.test.n, 'image')}, {plural(len(group), 'run')}"


def _show(
    ranking: Ranking,
    runs: list[Run],
    outcome: comparison_text.Summary,
    on_these_images: list[Run],
    repeated: Study | None,
) -> None:
    """Everything about one group of comparable runs, the best first; others may have been tested on these images
    too."""
    order = list(ranking.order)
    _summary(outcome, order, runs)
    test_set_views.show(on_these_images)
    rows = _performance(order, runs)
    if rows:
        _details(ranking, rows, runs, repeated)
    else:
        st.info("No run has that in its name or remarks.", icon=":material/filter_alt_off:")
    _next_step(order)


def _details(ranking: Ranking, rows: list[int], runs: list[Run], repeated: Study | None) -> None:
    """Tabs, what one asks first before the rest; only the open one is computed.

    ``rows`` are the runs, by position, that the filter leaves.
    """
    order, runs = [ranking.order[i] for i in rows], [runs[i] for i in rows]
    tabs: dict[str, Callable[[list[Candidate], list[Run]], None]] = {
        "Measures": _measures,
        "Evidence check": model_audit_panel.show,
        "Per class": _per_class,
        "Pairs": lambda order, runs: _pairs(ranking, rows, order, runs),
        "Confusion": _confusion,
        "Images": image_browser.show,
        "Calibration": calibration.show,
        "Outside test": external_tests.show,
        **({} if repeated else {"Repeats": lambda _order, _runs: repeats.show(st.container())}),  # else above
        "Scores": score_histogram.show,
        "ROC and precision-recall": _thresholds,
        "Curves": _learning,
        "Hyper-parameters": _hyperparameters,
        "Cost": _cost,
    }
    for tab, show in zip(st.tabs(list(tabs), key="view", bind="query-params"), tabs.values(), strict=True):
        if tab.open:
            with tab, shell.errors_shown():
                show(order, runs)


def _summary(outcome: comparison_text.Summary, order: Sequence[Candidate], runs: Sequence[Run]) -> None:
    if any(run.dataset.synthetic for run in runs):
        st.info(shell.SYNTHETIC, icon=":material/draw:")
    names = [candidate.name for candidate in order]
    read, images = model_audit_panel.sentence(names, runs), _images_since(names, runs)
    sentences = (*outcome.details, *images, read)
    st.markdown("\n".join(f"- {shell.plain(sentence)}" for sentence in sentences), help=model_audit_panel.HELP)
    if outcome.warnings:
        st.warning("  \n".join(shell.plain(sentence) for sentence in outcome.warnings), icon=":material/warning:")
    st.download_button(
        "Summary",
        comparison_tables.summary_text(outcome, runs, read),
        "summary.txt",
        "text/plain",
        icon=":material/download:",
        type="tertiary",
    )


def _images_since(names: Sequence[str], runs: Sequence[Run]) -> list[str]:
    """Which runs have seen other images or classes than the data set has now."""
    versions = zip(names, map(shell.version_of, runs), strict=True)
    changed = [(name, version) for name, version in versions if version.before is not None and not version.is_present]
    return [
        f"{name} was trained and tested {version.in_words} on its images; its figures are of the images as they were."
        for name, version in changed
    ]


def _performance(order: list[Candidate], runs: list[Run]) -> list[int]:
    """The course's first table. Returns which runs, by position in ``order``, the filter leaves."""
    st.subheader("Performance")
    table = comparison.performance_table(order)
    view = comparison_tables.performance_view(table, _remarks(order), model_audit_panel.columns(runs))
    wanted = st.text_input(
        "Show only runs with", placeholder="Part of a name, verdict or remark", key="compare_filter", width=320
    ).casefold()
    words = view[["Model", model_audit_panel.HEADING, "Remarks"]].agg(" ".join, axis=1)
    rows = [i for i in range(len(order)) if wanted in words.iat[i].casefold()]
    best = order[0].name if beats_majority(order[0].assessment) else ""
    shown = view.iloc[[*rows, len(order), len(order) + 1]]
    longest = max(REMARKS_WIDTH, REMARKS_EDGE + REMARKS_LETTER * int(view["Remarks"].str.len().max()))
    wide = {"Remarks": st.column_config.TextColumn(width=longest)} if view["Remarks"].any() else {}
    config = {**model_audit_panel.CONFIG, **wide}
    quiet = view["Model"].iloc[-2:].tolist()
    comparison_tables.show_table(shown, "performance", "Performance", best=best, quiet=quiet, config=config)
    return rows


def _remarks(order: list[Candidate]) -> dict[str, list[str]]:
    remarks: dict[str, list[str]] = {}
    if len(order) > 1 and beats_majority(order[0].assessment):
        remarks.setdefault(order[0].id, []).append("best on test")
    chosen = comparison.chosen_by_validation(order)
    if len(order) > 1 and chosen is not None and beats_majority(chosen.assessment):
        remarks.setdefault(chosen.id, []).append("validation's choice")
    return remarks


def _measures(order: list[Candidate], runs: list[Run]) -> None:
    """Every measure of the runs with its interval, on one part."""
    part = _part("compare_measures_part")
    shown = _few(order, COLUMNS, "compare_measures")
    table = comparison_tables.measures(order[shown], runs[shown], part)
    images = plural(int(table["n"].iloc[0]), f"{part} image")
    st.caption(f"On {images}. {comparison_tables.METHODS}", help=comparison_tables.measures_help())
    verdicts = model_audit_panel.columns(runs[shown])
    raw = table.assign(**{heading: [*words, *[""] * (len(table) - len(words))] for heading, words in verdicts.items()})
    view, caption = comparison_tables.measures_view(table, verdicts), f"Measures on the {part} images"
    comparison_tables.show_table(view, f"measures-{part}", caption, raw=raw, pinned="Measure")
    comparison_tables.show_notes(order[shown], runs[shown], part)


def _part(key: str) -> str:
    """The part to look at."""
    return st.segmented_control(
        "Images",
        ["test", "validation"],
        format_func=str.capitalize,
        default="test",
        required=True,
        key=key,
        help="Report test. Validation has been used to choose the epoch, so it is a little too kind.",
    )


def _pairs(ranking: Ranking, rows: list[int], order: list[Candidate], runs: list[Run]) -> None:
    """Who beats whom, and whether that could be chance."""
    if len(ranking.order) < 2:
        st.info("Choose two runs or more to compare them image by image.", icon=":material/compare_arrows:")
        return
    rows = rows[_few([ranking.order[i] for i in rows], LINES, "compare_pairs")]
    names = [ranking.order[i].name for i in rows]
    st.caption(
        "Row less column, in points of test accuracy. Faint: could be chance (exact McNemar test, Holm's correction "
        f"for all {plural(ranking.pairs.compared, 'pair')} at 5 %). A cell opens the images that one has right and the "
        "other wrong."
    )
    drawn = [ranking.order[i].id for i in rows]
    clicks.chart(
        figures.pair_matrix(names, ranking.pairs, rows), "pairs", "pair", drawn, f"Differences of {len(rows)} runs"
    )
    _pair_images(order, runs)
    table = comparison.pair_table(ranking)
    shown = table[table["first"].isin(names) & table["second"].isin(names)]
    comparison_tables.show_table(
        comparison_tables.pairs_view(shown),
        "pairs",
        "Every pair on the same test images",
        raw=table,
        pinned="Better",
        config=comparison_tables.PAIR_CONFIG,
    )


def _pair_images(order: list[Candidate], runs: list[Run]) -> None:
    """The images of the pair that was clicked: those that one run has right and the other wrong, both ways round."""
    ids, cell = clicks.picked("pair") or ((), ())
    places = [image_browser.position_of(order, ids[place]) for place in cell]
    if not places or None in places:
        return
    predictions = image_browser.answers(order, runs)
    for right, wrong in (places, places[::-1]):
        st.subheader(f"{shell.plain(order[right].name)} right, {shell.plain(order[wrong].name)} wrong")
        image_browser.images_of(
            predictions,
            image_selection.right_in_one(predictions, right, wrong),
            runs,
            f"pair-{right}-{wrong}",
            image_browser.SHORT,
        )


def _hyperparameters(order: list[Candidate], runs: list[Run]) -> None:
    """The course's second table."""
    table = tables.hyperparameters([candidate.name for candidate in order], [run.spec for run in runs])
    table["Images"] = [f"{run.dataset.name}, {shell.version_of(run).in_words}" for run in runs]
    if st.toggle("Show only what differs", key="compare_differs", help="Leave out columns in which all runs agree."):
        table = tables.only_what_differs(table, keep=("Model", "Special strategy"))
    best = order[0].name if beats_majority(order[0].assessment) else ""
    config = {"Learning rate": st.column_config.NumberColumn(format="%g")}
    comparison_tables.show_table(table, "hyperparameters", "Hyper-parameters", best=best, config=config)


def _few(order: list[Candidate], at_once: int, key: str) -> slice:
    """Which runs a figure shows: all, or, where they are too many to be told apart, some of them, the best first."""
    pages = -(-len(order) // at_once)
    if pages == 1:
        return slice(0, len(order))
    with st.container(horizontal=True, vertical_alignment="center"):
        page = st.pagination(pages, key=key)
        last = min(page * at_once, len(order))
        st.caption(f"Runs {count((page - 1) * at_once + 1)} to {count(last)} of {count(len(order))}, the best first")
    return slice((page - 1) * at_once, last)


def _learning(order: list[Candidate], runs: list[Run]) -> None:
    everything = list(zip(order, runs, strict=True))
    shown = _few(order, LINES, "compare_learning")
    order, runs = order[shown], runs[shown]
    version = comparison_tables.version_of(order, runs)
    st.caption(
        "Strong lines: validation (the half that chooses the epoch, where it is halved). Faint lines: training. "
        "A diamond marks the beginning of a new stage."
    )
    for quantity in ("accuracy", "loss"):
        draw = functools.partial(_draw_learning, order, runs, quantity)
        figure = shell.drawn(f"learning {quantity}", version, draw)
        alt = f"{quantity.capitalize()} over the epochs of {len(runs)} runs"
        shell.chart(figure, f"curves-{quantity}", alt=alt)
    st.download_button(
        "Curves as CSV", lambda: _curves_file(everything), "curves.csv", "text/csv", icon=":material/download:"
    )


def _draw_learning(order: list[Candidate], runs: list[Run], quantity: str) -> go.Figure:
    histories = [(candidate.name, run.history()) for candidate, run in zip(order, runs, strict=True)]
    return figures.learning_curves(histories, quantity)


def _curves_file(pairs: list[tuple[Candidate, Run]]) -> str:
    """The curves of all runs, made when somebody asks for them."""
    histories = [run.history().assign(run=candidate.name) for candidate, run in pairs]
    return tables.to_csv(pd.concat(histories))


def _confusion(order: list[Candidate], runs: list[Run]) -> None:
    st.caption(
        "Rows: what the image is. Columns: what the run called it. Shares are of the row. A cell opens its images."
    )
    shown = _few(order, MATRICES, "compare_matrices")
    with st.grid(3, min_column_width=330):
        for candidate, run in zip(order[shown], runs[shown], strict=True):
            with st.container():
                reached = comparison_text.in_words(candidate.assessment.test)
                badge = model_audit_panel.badge(model_audit_panel.of(run))
                st.markdown(f"**{shell.plain(candidate.name)}**  \n{reached} {badge}")
                counts, version = (
                    candidate.assessment.tested.confusion,
                    comparison_tables.version_of([candidate], [run]),
                )
                figure = shell.drawn("confusion", version, functools.partial(figures.confusion_matrix, counts))
                name = f"confusion-{candidate.id}"
                clicks.chart(figure, name, "cell", candidate.id, f"Confusion matrix of {candidate.name}")
    _cell_images(order, runs)


def _cell_images(order: list[Candidate], runs: list[Run]) -> None:
    """The images of the cell that was clicked, with what every run says of them."""
    identifier, cell = clicks.picked("cell") or ("", ())
    position = image_browser.position_of(order, identifier)
    if position is None:
        return
    label, called = (order[position].assessment.classes[place] for place in cell)
    st.subheader(f"{shell.plain(label)} called {shell.plain(called)} by {shell.plain(order[position].name)}")
    predictions = image_browser.answers(order, runs)
    image_browser.images_of(predictions, image_selection.in_cell(predictions, position, label, called), runs, "cell")


def _per_class(order: list[Candidate], runs: list[Run]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        measure = st.segmented_control(
            "Measure",
            list(CLASS_MEASURES),
            format_func=lambda key: CLASS_MEASURES[key].title,
            default="sensitivity",
            required=True,
            key="compare_measure",
            help="\n\n".join(f"{row.title}: {row.explanation}" for row in CLASS_MEASURES.values()),
        )
        part = _part("compare_class_part")
    label = CLASS_MEASURES[measure].title
    shown = _few(order, LINES, "compare_class_page")
    table = comparison_tables.per_class(order[shown], runs[shown], part)
    points = comparison_tables.class_points(table, measure, len(order[shown]))
    figure = figures.class_measures(points, order[0].assessment.classes, label)
    shell.chart(
        figure, f"class-{measure}", alt=f"{label} of every class with its interval, for {len(order[shown])} runs"
    )
    comparison_tables.show_table(
        comparison_tables.class_view(table, measure),
        f"per-class-{part}",
        f"Measures per class on the {part} images",
        raw=table,
    )
    comparison_tables.show_notes(order[shown], runs[shown], part)


def _thresholds(order: list[Candidate], runs: list[Run]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        views = {"Runs": _run_curves, "Classes": _class_curves}
        view = st.segmented_control("Compare", list(views), default="Runs", required=True, key="compare_curves_by")
        curves = views[view](order, runs)
    curves_of = [comparison_tables.threshold_curves(run, label) for _, run, label in curves.drawn]
    names = [name for name, _, _ in curves.drawn]
    roc = [(name, one.roc) for name, one in zip(names, curves_of, strict=True)]
    recall = [(name, one.recall) for name, one in zip(names, curves_of, strict=True)]
    left, right = st.columns(2)
    with left:
        st.markdown("**ROC**")
        figure = shell.drawn(f"roc {curves.of}", curves.version, lambda: figures.roc_curves(roc, curves.lines))
        shell.chart(figure, "roc", alt=f"ROC curves {curves.of}")
    with right:
        st.markdown("**Precision-recall**")
        figure = shell.drawn(
            f"precision-recall {curves.of}",
            curves.version,
            lambda: figures.precision_recall_curves(recall, curves.lines, curves.guessing),
        )
        shell.chart(figure, "precision-recall", alt=f"Precision-recall curves {curves.of}")
    reasons = [f"{name}: {one.undefined}" for name, one in zip(names, curves_of, strict=True) if one.undefined]
    if reasons:
        words = "; ".join(reasons)
        st.caption(f"Not drawn, because undefined: {shell.plain(words)}.")


class _Curves(NamedTuple):
    """What is drawn: (name, run, class) and a line for each, in words, and the PPV of guessing for one class.

    ``version`` changes when one of the runs does.
    """

    drawn: list[tuple[str, Run, str]]
    version: str
    lines: list[dict[str, str]]
    of: str
    guessing: float | None


def _run_curves(order: list[Candidate], runs: list[Run]) -> _Curves:
    """One class, run by run."""
    label = st.selectbox("Class", order[0].assessment.classes, key="compare_curve_class", width=280)
    shown = _few(order, LINES, "compare_curve_page")
    drawn = [(candidate.name, run, label) for candidate, run in zip(order[shown], runs[shown], strict=True)]
    guessing = comparison_tables.threshold_curves(runs[0], label).guessing
    version = comparison_tables.version_of(order[shown], runs[shown])
    return _Curves(drawn, version, figures.run_lines(len(drawn)), f"of {label}, run by run", guessing)


def _class_curves(order: list[Candidate], runs: list[Run]) -> _Curves:
    """One run, class by class."""
    names = [candidate.name for candidate in order]
    row = st.selectbox("Run", range(len(order)), format_func=names.__getitem__, key="compare_curve_run", width=320)
    classes = runs[row].classes
    drawn = [(label, runs[row], label) for label in classes]
    version = comparison_tables.version_of([order[row]], [runs[row]])
    return _Curves(drawn, version, figures.class_lines(classes), f"of {names[row]}, class by class", None)


def _cost(order: list[Candidate], runs: list[Run]) -> None:
    table = candidates.costs(runs, [candidate.name for candidate in order])
    cost = st.segmented_control(
        "Accuracy against",
        ["seconds", "milliseconds"],
        format_func={"seconds": "Training time", "milliseconds": "Time per image"}.__getitem__,
        default="seconds",
        required=True,
        key="compare_cost",
    )
    points = comparison_tables.cost_points(order, cost)
    figure = figures.accuracy_against_cost(points, cost, order[0].assessment.majority["test"].value)
    shell.chart(figure, f"accuracy-against-{cost}", alt=f"Test accuracy against {cost} for {len(order)} runs")
    unknown = points.loc[points["cost"].isna(), "name"]
    if len(unknown):
        st.caption(f"Not drawn, because it was not noted: {shell.plain(', '.join(unknown))}.")
    comparison_tables.show_table(
        comparison_tables.cost_view(table), "cost", "What the runs cost", config=comparison_tables.COST_CONFIG
    )


def _next_step(order: list[Candidate]) -> None:
    chosen = comparison.chosen_by_validation(order)
    st.divider()
    with st.container(horizontal=True, vertical_alignment="center"):
        if chosen is None or not beats_majority(chosen.assessment):
            st.markdown("Next: look at the images and labels again, then train another way.")
            st.page_link("dataset.py", label="Look at the data set", icon=":material/arrow_forward:")
            st.page_link("train.py", label="Train a model", icon=":material/arrow_forward:")
            return
        st.markdown(f"Next: see how {shell.plain(chosen.name)}, validation's choice, answers single images.")
        st.page_link(
            "predict.py",
            label="Try it on an image",
            icon=":material/arrow_forward:",
            query_params={"run": chosen.id},
        )


main()
