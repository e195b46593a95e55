"""Which run is better, on what, by how much, how sure, and what does it cost?"""

import functools
from collections.abc import Callable
from typing import TypeVar

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from covid_core.evaluation import comparison, image_selection
from covid_core.evaluation.assessment import beats_majority
from covid_core.evaluation.comparison import Ranking
from covid_core.evaluation.measures import CLASS_MEASURES
from covid_core.figures import evaluation as figures
from covid_core.figures.theme import class_colours
from covid_core.formatting import count, plural
from covid_core.reports import comparison_text, tables
from covid_core.runs import candidates, store, test_set_access
from covid_core.runs.store import Run, Study
from pages.panels.compare import (
    calibration,
    clicks,
    course_report,
    external_tests,
    image_browser,
    repeats,
    score_histogram,
)
from pages.shared import comparison_tables, import_jobs, model_audit_panel, run_cache, shell, test_set_views
from pages.shared.run_cache import RunCandidate

QUESTION = "Which model is better, on what, by how much?"
AT_FIRST = 12  # runs that are chosen when nobody has chosen; more make the curves hard to read
REMARKS_WIDTH = 320  # pixels of the column at least
REMARKS_LETTER, REMARKS_EDGE = 7, 24  # pixels; a cell does not break its line, so the longest remarks get their width
MOST_OF_A_STUDY = 40  # runs that are chosen with a study; folds times seeds may be more than anybody can look at
MATRICES = 6  # confusion matrices side by side at once
LINES = 12  # runs in one figure; more lines cannot be told apart
COLUMNS = 6  # runs side by side in a table of measures
Shown = TypeVar("Shown")


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
    if repeated:  # one training: what its runs say together stands before any single one of them
        with shell.errors_shown():
            repeats.show(answer, repeated)
        answer = _single_runs()
    elif study:
        with shell.errors_shown():
            found = {run.id: run for run in usable}
            comparison_tables.study_conclusion(study, [found[name] for name in study.runs if name in found])
    runs = _pick_runs(usable, study)
    loaded, unreadable = comparison_tables.load(runs)
    shell.broken_notice([*broken, *unreadable])
    group = _pick_group(loaded, repeated)
    if not group:
        answer.info("Choose the runs to compare.", icon=":material/arrow_downward:")
        return
    test_set_views.note([one.run for one in group], test_set_access.FIGURES)
    ranking = comparison_tables.ranking(group)
    outcome = comparison_text.summary(ranking)
    answer.markdown(f"**{shell.plain(outcome.headline)}**")
    order = list(ranking.order)
    _summary(outcome, order)
    course_report.show([one.run for one in loaded], study)
    splits = {one.split_hash for one in group}
    test_set_views.show([run for run in usable if run.split_hash in splits])
    rows = _performance(order)
    if rows:
        _details(ranking, rows, repeated)
    else:
        st.info("No run has that in its name or remarks.", icon=":material/filter_alt_off:")
    _next_step(order)


def _single_runs() -> DeltaGenerator:
    st.subheader("Single runs")
    st.caption(
        "One run is one fold or one seed: good for looking at images and curves, not for saying which is better."
    )
    return st.container()


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
        import_jobs.offer_demonstration(f"**No finished run yet.**{failed} Train two models, and compare them here.")
        st.page_link("train.py", label="Train a model", icon=":material/arrow_forward:")


def _pick_runs(usable: list[Run], study: Study | None) -> list[Run]:
    """The runs to compare: from the address, from the study, or those that were tested like the newest."""
    offered = {run.id: run for run in usable if study is None or run.id in study.runs}
    names = dict(zip(offered, candidates.unique_names(list(offered.values())), strict=True))
    newest = next((run.split_hash for run in offered.values()), "")
    like_newest = [run.id for run in offered.values() if run.split_hash == newest]
    by_default = list(offered)[:MOST_OF_A_STUDY] if study else like_newest[:AT_FIRST]
    options = {"placeholder": "Choose runs", "help": "Type to search by name."}
    key = f"compare_runs_{study.id if study else ''}"
    chosen = comparison_tables.multiselect("Runs", "runs", names, by_default, key, **options)
    if chosen == by_default and len(chosen) < len(offered):
        which = "of this study" if study else "tested on the newest run's images"
        shown = f"{count(len(chosen))} {which}" if len(chosen) > 1 else "run"
        st.caption(f"The newest {shown}; {count(len(offered))} can be chosen.")
    if study and len(offered) < len(study.runs):
        lacking, members = len(study.runs) - len(offered), plural(len(study.runs), "run")
        st.caption(f"{lacking} of {members} of this study have no result.")
    return [offered[identifier] for identifier in chosen]


def _pick_study(studies: dict[str, Study]) -> Study | None:
    if not studies:
        return None
    key, names = "compare_study", {"": "All runs", **{study.id: study.name for study in studies.values()}}
    wanted = st.query_params.get("study", "")
    if st.session_state.get("compare_study_address") != wanted or st.session_state.get(key) not in names:
        st.session_state[key] = wanted if wanted in names else ""
    chosen = st.selectbox("Study", list(names), format_func=names.__getitem__, key=key, width=280)
    comparison_tables.write_address("study", chosen)
    return studies.get(chosen)


def _pick_group(loaded: list[RunCandidate], repeated: Study | None) -> list[RunCandidate]:
    """Runs of one set of test images. Where the choice holds several, they are never ranked together.

    ``repeated`` is the study of repeats that the page is about: its folds have shown together above.
    """
    groups = comparison.grouped(loaded)
    if len(groups) < 2:
        return groups[0] if groups else []
    sizes = [
        f"{candidates.images_in_words(group[0].run)} ({plural(group[0].assessment.test.n, 'image')}, "
        f"{plural(len(group), 'run')})"
        for group in groups
    ]
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
        format_func=sizes.__getitem__,
        key="compare_group",
        help="What each set is: data set, share or fold, and the seed of the split.",
    )
    return groups[position]


def _details(ranking: Ranking[RunCandidate], rows: list[int], repeated: Study | None) -> None:
    """Tabs, what one asks first before the rest; only the open one is computed.

    ``rows`` are the runs, by position, that the filter leaves.
    """
    order = [ranking.order[i] for i in rows]
    tabs: dict[str, Callable[[list[RunCandidate]], None]] = {
        "Measures": _measures,
        "Evidence check": lambda order: model_audit_panel.show(order, [one.run for one in order]),
        "Per class": _per_class,
        "Pairs": lambda order: _pairs(ranking, rows, order),
        "Confusion": _confusion,
        "Images": image_browser.show,
        "Calibration": calibration.show,
        "Outside test": external_tests.show,
        **({} if repeated else {"Repeats": lambda _order: repeats.show(st.container())}),  # else above
        "Scores": score_histogram.show,
        "ROC and precision-recall": _thresholds,
        "Curves": _learning,
        "Hyper-parameters": _hyperparameters,
        "Cost": _cost,
    }
    for tab, show in zip(st.tabs(list(tabs), key="view", bind="query-params"), tabs.values(), strict=True):
        if tab.open:
            with tab, shell.errors_shown():
                show(order)


def _summary(outcome: comparison_text.Summary, order: list[RunCandidate]) -> None:
    runs = [one.run for one in order]
    if any(run.dataset.synthetic for run in runs):
        st.info(shell.SYNTHETIC, icon=":material/draw:")
    read = model_audit_panel.sentence([one.name for one in order], runs)
    sentences = (*outcome.details, *_images_since(order), read)
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


def _images_since(order: list[RunCandidate]) -> list[str]:
    """Which runs have seen other images or classes than the data set has now."""
    versions = [(one.name, shell.version_of(one.run)) for one in order]
    return [
        f"{name} was trained and tested {version.in_words} on its images; its figures are of the images as they were."
        for name, version in versions
        if version.before is not None and not version.is_present
    ]


def _performance(order: list[RunCandidate]) -> list[int]:
    """The course's first table. Returns which runs, by position in ``order``, the filter leaves."""
    st.subheader("Performance")
    table = comparison.performance_table(order)
    view = comparison_tables.performance_view(
        table, _remarks(order), model_audit_panel.columns([one.run for one in order])
    )
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


def _remarks(order: list[RunCandidate]) -> dict[str, list[str]]:
    """By the run's id."""
    remarks: dict[str, list[str]] = {}
    by = ((order[0], "best on test"), (comparison.chosen_by_validation(order), "validation's choice"))
    for one, remark in by if len(order) > 1 else ():
        if one is not None and beats_majority(one.assessment):
            remarks.setdefault(one.id, []).append(remark)
    return remarks


def _measures(order: list[RunCandidate]) -> None:
    """Every measure of the runs with its interval, on one part."""
    part = _part("compare_measures_part")
    shown = _few(order, COLUMNS, "compare_measures")
    table = comparison.measure_table({one.name: comparison_tables.figures_of(one.run, part) for one in shown})
    images = plural(int(table["n"].iloc[0]), f"{part} image")
    st.caption(f"On {images}. {comparison_tables.METHODS}", help=comparison_tables.MEASURES_HELP)
    verdicts = model_audit_panel.columns([one.run for one in shown])
    columns = {heading: comparison_tables.for_references(words, table) for heading, words in verdicts.items()}
    view, caption = comparison_tables.measures_view(table, verdicts), f"Measures on the {part} images"
    comparison_tables.show_table(view, f"measures-{part}", caption, raw=table.assign(**columns), pinned="Measure")
    comparison_tables.show_notes(shown, part)


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


def _pairs(ranking: Ranking[RunCandidate], rows: list[int], order: list[RunCandidate]) -> None:
    """Who beats whom, and whether that could be chance."""
    if len(ranking.order) < 2:
        st.info("Choose two runs or more to compare them image by image.", icon=":material/compare_arrows:")
        return
    rows = _few(rows, LINES, "compare_pairs")
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
    _pair_images(order)
    table = comparison.pair_table(ranking)
    shown = table[table["first"].isin(names) & table["second"].isin(names)]
    view, options = comparison_tables.pairs_view(shown), {"pinned": "Better", "config": comparison_tables.PAIR_CONFIG}
    comparison_tables.show_table(view, "pairs", "Every pair on the same test images", raw=table, **options)


def _pair_images(order: list[RunCandidate]) -> None:
    """The images of the pair that was clicked: those that one run has right and the other wrong, both ways round."""
    ids, cell = clicks.picked("pair") or ((), ())
    places = [image_browser.position_of(order, ids[place]) for place in cell]
    if not places or None in places:
        return
    predictions = image_browser.answers(order)
    for right, wrong in (places, places[::-1]):
        st.subheader(f"{shell.plain(order[right].name)} right, {shell.plain(order[wrong].name)} wrong")
        rows, key = image_selection.right_in_one(predictions, right, wrong), f"pair-{right}-{wrong}"
        image_browser.images_of(predictions, rows, order, key, image_browser.SHORT)


def _hyperparameters(order: list[RunCandidate]) -> None:
    """The course's second table."""
    table = tables.hyperparameters([one.name for one in order], [one.run.spec for one in order])
    table["Images"] = [f"{one.run.dataset.name}, {shell.version_of(one.run).in_words}" for one in order]
    if st.toggle("Show only what differs", key="compare_differs", help="Leave out columns in which all runs agree."):
        table = tables.only_what_differs(table, always=("Model", "Special strategy"))
    best = order[0].name if beats_majority(order[0].assessment) else ""
    config = {"Learning rate": st.column_config.NumberColumn(format="%g")}
    comparison_tables.show_table(table, "hyperparameters", "Hyper-parameters", best=best, config=config)


def _few(order: list[Shown], at_once: int, key: str) -> list[Shown]:
    """Which runs a figure shows: all, or, where they are too many to be told apart, some of them, the best first."""
    pages = -(-len(order) // at_once)
    if pages == 1:
        return order
    with st.container(horizontal=True, vertical_alignment="center"):
        page = st.pagination(pages, key=key)
        first, last = (page - 1) * at_once, min(page * at_once, len(order))
        st.caption(f"Runs {count(first + 1)} to {count(last)} of {count(len(order))}, the best first")
    return order[first:last]


def _learning(order: list[RunCandidate]) -> None:
    shown = _few(order, LINES, "compare_learning")
    st.caption(
        "Strong lines: validation (the half that chooses the epoch, where it is halved). Faint lines: training. "
        "A diamond marks the beginning of a new stage."
    )
    for quantity in ("accuracy", "loss"):

        def draw(quantity: str = quantity) -> go.Figure:
            return figures.learning_curves([(one.name, one.run.history()) for one in shown], quantity)

        figure = shell.drawn(f"learning {quantity}", shown, draw)
        alt = f"{quantity.capitalize()} over the epochs of {len(shown)} runs"
        shell.chart(figure, f"curves-{quantity}", alt=alt)
    st.download_button(
        "Curves as CSV",
        lambda: tables.to_csv(pd.concat([one.run.history().assign(run=one.name) for one in order])),
        "curves.csv",
        "text/csv",
        icon=":material/download:",
    )


def _confusion(order: list[RunCandidate]) -> None:
    st.caption(
        "Rows: what the image is. Columns: what the run called it. Shares are of the row. A cell opens its images."
    )
    shown = _few(order, MATRICES, "compare_matrices")
    with st.grid(3, min_column_width=330):
        for one in shown:
            with st.container():
                reached = comparison_text.in_words(one.assessment.test)
                badge = model_audit_panel.badge(model_audit_panel.of(one.run))
                st.markdown(f"**{shell.plain(one.name)}**  \n{reached} {badge}")
                draw = functools.partial(figures.confusion_matrix, one.assessment.tested.confusion)
                figure = shell.drawn("confusion", one.run, draw)
                clicks.chart(figure, f"confusion-{one.id}", "cell", one.id, f"Confusion matrix of {one.name}")
    _cell_images(order)


def _cell_images(order: list[RunCandidate]) -> None:
    """The images of the cell that was clicked, with what every run says of them."""
    identifier, cell = clicks.picked("cell") or ("", ())
    position = image_browser.position_of(order, identifier)
    if position is None:
        return
    label, called = (order[position].assessment.classes[place] for place in cell)
    st.subheader(f"{shell.plain(label)} called {shell.plain(called)} by {shell.plain(order[position].name)}")
    predictions = image_browser.answers(order)
    image_browser.images_of(predictions, image_selection.in_cell(predictions, position, label, called), order, "cell")


def _per_class(order: list[RunCandidate]) -> None:
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
    table = comparison.class_table({one.name: comparison_tables.figures_of(one.run, part) for one in shown})
    points = comparison_tables.class_points(table, measure, len(shown))
    figure = figures.class_measures(points, order[0].assessment.classes, label)
    shell.chart(figure, f"class-{measure}", alt=f"{label} of every class with its interval, for {len(shown)} runs")
    view, caption = comparison_tables.class_view(table, measure), f"Measures per class on the {part} images"
    comparison_tables.show_table(view, f"per-class-{part}", caption, raw=table)
    comparison_tables.show_notes(shown, part)


def _thresholds(order: list[RunCandidate]) -> None:
    """ROC and precision-recall: one class run by run, or one run class by class."""
    guessing = None
    with st.container(horizontal=True, vertical_alignment="bottom"):
        views = ["Runs", "Classes"]
        if st.segmented_control("Compare", views, default="Runs", required=True, key="compare_curves_by") == "Runs":
            label = st.selectbox("Class", order[0].assessment.classes, key="compare_curve_class", width=280)
            guessing = comparison_tables.threshold_curves(order[0].run)[label].prevalence
            shown = _few(order, LINES, "compare_curve_page")
            curves = {one.name: comparison_tables.threshold_curves(one.run)[label] for one in shown}
            lines, of = figures.run_lines(len(curves)), f"of {label}, run by run"
        else:
            shown = [order[comparison_tables.pick_run(order, "compare_curve_run")]]
            curves = comparison_tables.threshold_curves(shown[0].run)
            lines = [{"color": colour} for colour in class_colours(curves).values()]
            of = f"of {shown[0].name}, class by class"
    roc = [(name, one.roc) for name, one in curves.items()]
    recall = [(name, one.precision_recall) for name, one in curves.items()]
    drawn: dict[str, Callable[[], go.Figure]] = {
        "ROC": lambda: figures.roc_curves(roc, lines),
        "Precision-recall": lambda: figures.precision_recall_curves(recall, lines, guessing),
    }
    for column, (title, draw) in zip(st.columns(2), drawn.items(), strict=True):
        with column:
            st.markdown(f"**{title}**")
            figure = shell.drawn(f"{title} {of}", shown, draw)
            shell.chart(figure, title.lower(), alt=f"{title} curves {of}")
    reasons = "; ".join(f"{name}: {one.undefined}" for name, one in curves.items() if one.undefined)
    if reasons:
        st.caption(f"Not drawn, because undefined: {shell.plain(reasons)}.")


def _cost(order: list[RunCandidate]) -> None:
    table = candidates.costs([one.run for one in order], [one.name for one in order])
    columns = {"seconds": "training_seconds", "milliseconds": "milliseconds_per_image"}
    cost = st.segmented_control(
        "Accuracy against",
        list(columns),
        format_func={"seconds": "Training time", "milliseconds": "Time per image"}.__getitem__,
        default="seconds",
        required=True,
        key="compare_cost",
    )
    points = comparison.performance_table(order).head(len(order)).assign(cost=table[columns[cost]])
    figure = figures.accuracy_against_cost(points, cost, order[0].assessment.majority["test"].value)
    shell.chart(figure, f"accuracy-against-{cost}", alt=f"Test accuracy against {cost} for {len(order)} runs")
    unknown = points.loc[points["cost"].isna(), "name"]
    if len(unknown):
        st.caption(f"Not drawn, because it was not noted: {shell.plain(', '.join(unknown))}.")
    view = comparison_tables.cost_view(table)
    comparison_tables.show_table(view, "cost", "What the runs cost", config=comparison_tables.COST_CONFIG)


def _next_step(order: list[RunCandidate]) -> None:
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
