"""The Compare page's view of how well runs perform: every measure, every class, every pair, every threshold."""

from collections.abc import Callable, Sequence

import plotly.graph_objects as go
import streamlit as st

from covid_core.evaluation import comparison, image_selection
from covid_core.evaluation.comparison import Ranking
from covid_core.evaluation.measures import CLASS_MEASURES
from covid_core.figures import evaluation as figures
from covid_core.figures.theme import class_colours
from covid_core.formatting import plural
from covid_core.reports import comparison_text
from pages.panels.compare import clicks, image_browser
from pages.panels.compare.run_choice import few
from pages.shared import comparison_tables, model_audit_panel, shell
from pages.shared.run_cache import RunCandidate

LINES = 12  # runs in one figure; more lines cannot be told apart
PAIRS = 8  # runs in the matrix of pairs; more numbers do not fit a phone
COLUMNS = 6  # runs side by side in a table of measures


def measures(order: Sequence[RunCandidate]) -> None:
    """Every measure of the runs with its interval, on one part."""
    part = _part("compare_measures_part")
    shown = few(order, COLUMNS, "compare_measures")
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
        help="Report test. Validation chose the epoch, so its figures are slightly too high.",
    )


def per_class(order: Sequence[RunCandidate]) -> None:
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
    shown = few(order, LINES, "compare_class_page")
    table = comparison.class_table({one.name: comparison_tables.figures_of(one.run, part) for one in shown})
    points = comparison_tables.class_points(table, measure, len(shown))
    figure = figures.class_measures(points, order[0].assessment.classes, label)
    shell.chart(figure, f"class-{measure}", alt=f"{label} of every class with its interval, for {len(shown)} runs")
    view, caption = comparison_tables.class_view(table, measure), f"Measures per class on the {part} images"
    comparison_tables.show_table(view, f"per-class-{part}", caption, raw=table)
    comparison_tables.show_notes(shown, part)


def pairs(ranking: Ranking[RunCandidate], rows: list[int], order: Sequence[RunCandidate]) -> None:
    """Who beats whom, and whether that could be chance."""
    if len(ranking.order) < 2:
        st.info("Choose two runs or more to compare them image by image.", icon=":material/compare_arrows:")
        return
    rows = few(rows, PAIRS, "compare_pairs")
    names = [ranking.order[i].name for i in rows]
    st.caption(
        "Row minus column (percentage points), pale = not significant (exact McNemar test, Holm's correction for "
        f"{plural(ranking.pairs.compared, 'pair')} at 5 %). A cell opens the images on which the two differ."
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


def _pair_images(order: Sequence[RunCandidate]) -> None:
    """The images of the pair that was clicked: those that one run has right and the other wrong, both ways round."""
    ids, cell = clicks.picked("pair") or ((), ())
    places = [image_browser.position_of(order, ids[place]) for place in cell]
    if not places or None in places:
        return
    predictions = image_browser.answers(order)
    for right, wrong in (places, places[::-1]):
        st.subheader(f"{shell.plain(order[right].name)} correct, {shell.plain(order[wrong].name)} wrong")
        rows, key = image_selection.right_in_one(predictions, right, wrong), f"pair-{right}-{wrong}"
        image_browser.images_of(predictions, rows, order, key, image_browser.SHORT)


def thresholds(order: Sequence[RunCandidate]) -> None:
    """ROC and precision-recall: one class run by run, or one run class by class."""
    guessing = None
    with st.container(horizontal=True, vertical_alignment="bottom"):
        views = ["Runs", "Classes"]
        if st.segmented_control("Compare", views, default="Runs", required=True, key="compare_curves_by") == "Runs":
            label = st.selectbox("Class", order[0].assessment.classes, key="compare_curve_class", width=280)
            guessing = comparison_tables.threshold_curves(order[0].run)[label].prevalence
            shown = few(order, LINES, "compare_curve_page")
            curves = {one.name: comparison_tables.threshold_curves(one.run)[label] for one in shown}
            lines, of = figures.run_lines(one.number for one in shown), f"of {label}, run by run"
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
    reasons = "; ".join(
        f"{name}: {comparison_text.gap(one.undefined)}" for name, one in curves.items() if one.undefined
    )
    if reasons:
        st.caption(f"Not drawn, undefined: {shell.plain(reasons)}.")
