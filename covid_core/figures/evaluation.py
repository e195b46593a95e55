"""Figures of what runs are worth: confusion, curves over thresholds and epochs, accuracy against cost.

Every function takes finished numbers. A run's number (``Run.number``) gives its colour, so it looks the same in every
figure, whichever other runs are drawn. Shares in [0, 1] are drawn as per cent.
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from covid_core.evaluation.calibration import Bin
from covid_core.evaluation.comparison import Paired, Pairs
from covid_core.evaluation.subgroups import Subgroup
from covid_core.figures.theme import (
    NEUTRAL,
    class_colours,
    cut,
    error_bar,
    literal,
    majority_line,
    run_marker,
    run_style,
    settled,
)
from covid_core.figures.training import epoch_axes
from covid_core.formatting import count, decimals, duration, interval, milliseconds, number, p_in_words, plural, share
from covid_core.formatting import points as points_in_words

CELL = "86, 180, 233"  # sky blue; its strength shows how full a cell is
FAINTEST, STRONGEST = 0.06, 0.92
WORSE = "230, 159, 0"  # orange: the other end of the same colour-blind-safe palette
PALE = 0.7  # opacity of a difference that is not significant
PAIR_HEIGHT = 44  # pixels per run of the matrix of pairs
DARK_TEXT_FROM = 0.65  # from this share on a cell is light enough for black letters on either background
DARK_PAIR_FROM = 0.8  # the same for the share of the largest difference, whose cells are paler
LONG_NAME = 9  # letters from which an axis label is broken at its spaces
SILENT = {"hoverinfo": "skip", "showlegend": False, "unselected": {"marker": {"opacity": 1}}}
CHOSEN = {"marker": {"opacity": 0.3}}  # of a mark that is clicked, and invisible otherwise
INVISIBLE = {"marker": {"opacity": 0}}
CELL_HEIGHT = 76  # pixels; two lines of text and room for a finger
BAR_ROW = 120  # pixels per label of a score histogram
BAR_GAP = 0.22  # of it above the bars, for its name
BAR_ROOM = 1.3  # height of its axis in highest bars: the numbers stand above them
ROW_HEIGHT = 46  # pixels per run of a dot plot
LEGEND_ROW = 20  # pixels
DOT_ROW, NARROW_DOT_ROW = 30, 22  # pixels per run of the dot plot of accuracies, and where they are many
MANY_DOTS = 12
FEW_PAIRS = 6  # runs from which on the numbers are printed small
PAIR_NAME, PAIR_LINES = 16, 3  # letters and lines of a name beside the matrix of pairs, which is as wide as a phone
BAND = 0.1  # opacity of the band behind the runs of a group
COST_TICKS = {  # round times on the logarithmic axis of the cost
    "seconds": (1, 2, 5, 10, 20, 60, 120, 300, 600, 1200, 3600, 10_800, 36_000),
    "milliseconds": (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
}
DIFFERS = "significant (Holm)"
SQUARE = {"range": [-1, 101], "ticksuffix": " %"}


def accuracies(points: pd.DataFrame, majority: float | None = None) -> go.Figure:
    """Test accuracy with its interval, a row per run; runs of a group stand together, before a band of one colour.

    ``points`` has columns name, number, group, test, test_low, test_high, the best run first; an empty group is none.
    The majority baseline, a share in [0, 1], is drawn as a line.
    """
    groups = list(dict.fromkeys(points["group"]))
    rows = points.sort_values("group", key=lambda column: column.map(groups.index), kind="stable")
    figure = go.Figure()
    for place, row in enumerate(rows.itertuples()):
        _add_accuracy(figure, row, "x", y=[place], showlegend=False)
    named = [group for group in groups if group]
    for group, colour in class_colours(named).items():
        places = np.flatnonzero(rows["group"] == group)
        ends = {"y0": places[0] - 0.5, "y1": places[-1] + 0.5}
        figure.add_hrect(**ends, fillcolor=colour, opacity=BAND, line_width=0, layer="below")
        swatch = {"symbol": "square", "size": 12, "color": colour, "opacity": 0.5}
        figure.add_scatter(x=[None], y=[None], mode="markers", marker=swatch, name=literal(group))
    if majority is not None:
        figure.add_vline(100 * majority, annotation_position="top right", **majority_line(majority))
    figure.update_xaxes(title="Test accuracy, 95 % interval", ticksuffix=" %")
    ticks = {"tickvals": list(range(len(rows))), "ticktext": [cut(name) for name in rows["name"]]}
    figure.update_yaxes(**ticks, range=[len(rows) - 0.5, -1.1], showgrid=False, zeroline=False)
    figure.update_layout(hovermode="closest", showlegend=bool(named))
    return settled(
        figure,
        height=90
        + (DOT_ROW if len(rows) <= MANY_DOTS else NARROW_DOT_ROW) * (1 + len(rows))
        + (LEGEND_ROW if named else 0),
    )


def _add_accuracy(figure: go.Figure, run: Any, axis: str, hover: str = "", **place: Any) -> None:
    """The mark of a run's test accuracy, in per cent along ``axis``, with its interval."""
    bounded, name = (run.test, run.test_low, run.test_high), literal(run.name)
    place |= {axis: [100 * run.test], f"error_{axis}": error_bar([bounded], 100, thickness=1.5, width=4)}
    figure.add_scatter(
        mode="markers",
        marker={"size": 11, **run_marker(run.number)},
        name=name,
        hovertemplate=f"{interval(*bounded)}{hover}<extra>{name}</extra>",
        **place,
    )


def subgroups(rows: Sequence[tuple[str, Subgroup]], overall: float) -> go.Figure:
    """Accuracy of each subgroup with its interval, a row each below the name of its fact; ``overall`` is drawn as a
    line. ``rows``: each subgroup with that name."""
    figure, ticks, place = go.Figure(), {}, 0
    kinds: dict[str, list[tuple[int, Subgroup]]] = {"not significant": [], DIFFERS: []}
    for name in dict.fromkeys(name for name, _ in rows):
        ticks[place] = f"<b>{literal(name)}</b>"
        for row in (row for of, row in rows if of == name):
            place += 1
            ticks[place] = cut(row.value)
            kinds[DIFFERS if row.differs else "not significant"].append((place, row))
        place += 1
    for (kind, of_kind), style in zip(kinds.items(), (run_marker(0), run_marker(12)), strict=True):
        bounded = [(one.accuracy.value, one.accuracy.low, one.accuracy.high) for _, one in of_kind]
        figure.add_scatter(
            x=[100 * value for value, _, _ in bounded],
            y=[height for height, _ in of_kind],
            error_x=error_bar(bounded, 100, thickness=1.5, width=4),
            mode="markers",
            marker={"size": 11, **style},
            name=kind,
            customdata=[
                f"{literal(one.value)}: {interval(*of_one)} of {plural(one.images, 'image')}"
                for (_, one), of_one in zip(of_kind, bounded, strict=True)
            ],
            hovertemplate="%{customdata}<extra></extra>",
        )
    line = {"color": NEUTRAL, "dash": "dot", "width": 1.5}
    text = {"text": f"all test images {share(overall)}", "font": {"color": NEUTRAL}}
    figure.add_vline(100 * overall, line=line, annotation=text, annotation_position="top left")
    figure.update_xaxes(title="Test accuracy, 95 % interval", ticksuffix=" %")
    axis = {"tickvals": list(ticks), "ticktext": list(ticks.values()), "range": [place - 0.5, -1.1]}
    figure.update_yaxes(**axis, showgrid=False, zeroline=False)
    figure.update_layout(hovermode="closest")
    several = all(kinds.values())
    return settled(figure, height=110 + NARROW_DOT_ROW * place + LEGEND_ROW * several, showlegend=several)


def confusion_matrix(counts: pd.DataFrame) -> go.Figure:
    """Counts (rows: label, columns: prediction) with the cells' shares of their row; none for a class without images.

    The marks' customdata is [row, column], positions of the classes.
    """
    images = counts.sum(axis=1)
    shares = counts.div(images.where(images > 0), axis=0)
    cells = {}
    for row, label in enumerate(counts.index):
        for column, predicted in enumerate(counts.columns):
            number, of_row = count(counts.iat[row, column]), shares.iat[row, column]
            hover = f"{number} images of {literal(label)}, predicted {literal(predicted)} ({share(of_row)})"
            style = {"font": {"color": "#000000"}} if of_row >= DARK_TEXT_FROM else {}
            cells[row, column] = _Cell(of_row, f"{number}<br>{share(of_row)}", hover, style)
    colours = [[0, f"rgba({CELL}, {FAINTEST})"], [1, f"rgba({CELL}, {STRONGEST})"]]
    # long names on several lines, so that they need no slant
    labels = [name.replace(" ", "<br>") if len(name) > LONG_NAME else name for name in map(literal, counts.columns)]
    figure = _matrix(labels, cells, 0, colours, CELL_HEIGHT)
    figure.update_xaxes(title="Predicted")
    return figure.update_yaxes(title="Label")


class _Cell(NamedTuple):
    """A cell of a matrix: its value, its text with the text's style, and what it says when hovering."""

    value: float
    text: str
    hover: str
    style: Mapping[str, object]


def _matrix(
    names: Sequence[str], cells: Mapping[tuple[int, int], _Cell], lowest: float, colours: list[Any], height: int
) -> go.Figure:
    """A matrix of cells (row, column) coloured by values from ``lowest`` to 1, which can be clicked.

    A heat map reports no clicks, so squares lie over its cells. Only a chosen square is visible; the whole cell can be
    clicked, not its middle alone.
    """
    labels = list(names)
    values = np.full((len(labels), len(labels)), np.nan)
    for at, cell in cells.items():
        values[at] = cell.value
    x, y = [labels[column] for _, column in cells], [labels[row] for row, _ in cells]
    heat = go.Heatmap(z=values, x=labels, y=labels, zmin=lowest, zmax=1, colorscale=colours)
    figure = go.Figure(heat.update(showscale=False, xgap=2, ygap=2, hoverinfo="skip"))
    figure.add_scatter(
        x=x,
        y=y,
        customdata=[list(at) for at in cells],
        mode="markers",
        marker={"symbol": "square", "size": height - 12, "color": NEUTRAL, "opacity": 0},
        selected=CHOSEN,
        unselected=INVISIBLE,
        hovertext=[cell.hover for cell in cells.values()],
        hovertemplate="%{hovertext}<extra></extra>",
        showlegend=False,
    )
    ends = [-0.5, len(labels) - 0.5]  # markers would add a margin
    figure.update_xaxes(type="category", showgrid=False, tickangle=0, range=ends)
    figure.update_yaxes(type="category", showgrid=False, range=ends[::-1])
    texts = [
        {"x": column, "y": row, "text": cell.text, "showarrow": False, **cell.style}
        for (row, column), cell in cells.items()  # by position: Plotly takes a name such as "1" for one as well
    ]  # all at once: one by one, 132 of them took a second
    figure.update_layout(hovermode="closest", hoverdistance=-1, annotations=texts)
    return settled(figure, height=110 + height * len(labels))


def pair_matrix(names: Sequence[str], pairs: Pairs, rows: Sequence[int]) -> go.Figure:
    """Accuracy of the row's run minus that of the column's, in percentage points; pale where not significant.

    Rows bear the rank with the name, columns the rank alone: names side by side would overlap. The marks' customdata is
    [row, column], positions in ``names``, which has the best run first; ``rows`` are their positions in ``pairs``.
    """
    compared = {(row, column): pairs.of(i, j) for row, i in enumerate(rows) for column, j in enumerate(rows) if i != j}
    largest = max((abs(one.difference) for one in compared.values()), default=0) or 1
    cells = {
        (row, column): _Cell(
            one.difference / largest,
            f"{'+' if one.difference > 0 else ''}{decimals(100 * one.difference, 1)}",
            _pair_hover(one, names[row], names[column]),
            _pair_style(one, abs(one.difference) / largest),
        )
        for (row, column), one in compared.items()
    }
    colours = [[0, f"rgba({WORSE}, 0.8)"], [0.5, "rgba(128, 128, 128, 0.08)"], [1, f"rgba({CELL}, 0.8)"]]
    ranks = [f"#{place}" for place in range(1, len(names) + 1)]  # a bare number would be read as a position
    figure = _matrix(ranks, cells, -1, colours, PAIR_HEIGHT)
    rows_named = [f"{rank}  {_in_lines(name)}" for rank, name in zip(ranks, names, strict=True)]
    if len(names) > FEW_PAIRS:
        figure.update_annotations(font_size=10)
    return figure.update_yaxes(tickvals=ranks, ticktext=rows_named)


def _pair_style(pair: Paired, strength: float) -> dict[str, object]:
    """Black letters where the cell is strongly coloured, as in a confusion matrix."""
    dark = {"font": {"color": "#000000"}} if strength >= DARK_PAIR_FROM else {}
    return {**dark, **({"opacity": PALE} if pair.could_be_chance else {})}


def _in_lines(name: str) -> str:
    lines = textwrap.wrap(name, PAIR_NAME, max_lines=PAIR_LINES, placeholder="…") or [""]
    return "<br>".join(map(literal, lines))


def _pair_hover(pair: Paired, first: str, second: str) -> str:
    verdict = "not significant" if pair.could_be_chance else "significant"
    return (
        f"{literal(first)} minus {literal(second)}: {points_in_words(pair.difference, pair.low, pair.high)}<br>"
        f"{count(pair.only_first)} images correct only by the first, {count(pair.only_second)} only by the second<br>"
        f"McNemar {p_in_words(pair.p)}, after Holm {p_in_words(pair.p_holm)}: {verdict}"
    )


def reliability(diagrams: Sequence[tuple[str, Sequence[Bin]]], lines: Sequence[Mapping[str, str]]) -> go.Figure:
    """Reliability diagrams, one per (name, bins): accuracy over the mean score, with its interval.

    The marks' customdata is [position of the diagram, number of the bin].
    """
    figure = _diagonal("Calibrated")
    for place, ((name, bins), line) in enumerate(zip(diagrams, lines, strict=True)):
        figure.add_scatter(
            x=[100 * one.mean_score for one in bins],
            y=[100 * one.right.value for one in bins],
            error_y=error_bar([(b.right.value, b.right.low, b.right.high) for b in bins], 100, thickness=1.5, width=3),
            mode="lines+markers",
            line={**line, "width": 1.5},
            marker={"size": [5 + 13 * (one.right.n / max(b.right.n for b in bins)) ** 0.5 for one in bins]},
            selected={"marker": {"opacity": 1}},
            unselected={"marker": {"opacity": 0.5}},
            customdata=[[place, one.number] for one in bins],
            text=[
                f"score {share(one.mean_score)}, correct {share(one.right.value)}, {plural(one.right.n, 'image')}"
                for one in bins
            ],
            name=literal(name),
            hovertemplate="%{text}<extra>%{fullData.name}</extra>",
        )
    figure.update_xaxes(title="Score of the predicted class", **SQUARE)
    figure.update_yaxes(title="Accuracy", **SQUARE)
    figure.update_layout(hovermode="closest")
    return _with_legend(figure, height=400, per_row=2)


def _diagonal(name: str) -> go.Figure:
    """A figure with the line from corner to corner alone."""
    line = {"color": NEUTRAL, "dash": "dot", "width": 1}
    ends = [0, 100]
    return go.Figure(go.Scatter(x=ends, y=ends, mode="lines", line=line, name=name, hoverinfo="skip", showlegend=False))


def score_histogram(counts: pd.DataFrame, scored: str) -> go.Figure:
    """How many images of each label (columns) lie in each bar of the score (rows) of the class ``scored``.

    One row of bars per label with an axis of its own, so that rare images stay visible beside frequent ones. An
    invisible bar of full height lies before each: one image among hundreds can be clicked too. Its customdata is
    [position of the label, number of the bar].
    """
    rows, width = len(counts.columns), 100 / len(counts)
    figure = make_subplots(rows=rows, shared_xaxes=True, vertical_spacing=BAR_GAP / rows)
    for place, (label, colour) in enumerate(class_colours(counts.columns).items()):
        images, row = counts[label], {"row": place + 1, "col": 1}
        top = max(1, images.max()) * BAR_ROOM
        middles = [width * (bar + 0.5) for bar in range(len(images))]
        figure.add_bar(x=middles, y=images, marker={"color": colour, "line": {"width": 0}}, **SILENT, **row)
        filled = [bar for bar, number in enumerate(images) if number]
        figure.add_bar(
            x=[middles[bar] for bar in filled],
            y=[top] * len(filled),
            customdata=[[place, bar] for bar in filled],
            marker={"color": NEUTRAL, "opacity": 0, "line": {"width": 0}},
            selected=CHOSEN,
            unselected=INVISIBLE,
            hovertext=[
                f"{plural(int(images.iloc[bar]), 'image')} of {literal(label)}: score of {literal(scored)} "
                f"{decimals(width * bar, 0)} to {decimals(width * (bar + 1), 0)} %"
                for bar in filled
            ],
            hovertemplate="%{hovertext}<extra></extra>",
            showlegend=False,
            **row,
        )
        for bar in filled:
            at = {"x": middles[bar], "y": images.iloc[bar]}
            figure.add_annotation(text=count(images.iloc[bar]), **at, yshift=9, showarrow=False, **row)
        words = f"<b>{literal(label)}</b>, {plural(int(images.sum()), 'image')}"
        figure.add_annotation(text=words, x=0, y=top, yshift=8, xanchor="left", showarrow=False, **row)
        figure.update_yaxes(range=[0, top], showticklabels=False, showgrid=False, **row)
    figure.update_xaxes(range=[0, 100], ticksuffix=" %", showgrid=False, zeroline=False)
    figure.update_xaxes(title=f"Score of {literal(scored)}", row=rows, col=1)
    figure.update_layout(barmode="overlay", bargap=0.06, hovermode="closest")
    return settled(figure, height=60 + BAR_ROW * rows)


def _with_legend(figure: go.Figure, height: int, per_row: int) -> go.Figure:
    """``settled``, with room above for a legend of ``per_row`` names in a row, so that many do not eat the plot."""
    shown = sum(trace.showlegend is not False for trace in figure.data)
    rows = -(-shown // per_row)
    return settled(figure, height=height + LEGEND_ROW * max(0, rows - 1))


def run_lines(numbers: Iterable[int]) -> list[dict[str, str]]:
    """The line of each run, by its number."""
    return [run_style(number) for number in numbers]


def roc_curves(curves: Sequence[tuple[str, pd.DataFrame]], lines: Sequence[Mapping[str, str]]) -> go.Figure:
    """ROC curves, one per (name, ``metrics.roc_points``), and the diagonal of chance. Empty ones are left out."""
    figure = _diagonal("Chance")
    _add_curves(figure, curves, lines, ("false_positive_rate", "sensitivity"))
    figure.update_xaxes(title="False-positive rate (1 - specificity)", **SQUARE)
    figure.update_yaxes(title="Sensitivity", **SQUARE)
    return _with_legend(figure, height=380, per_row=2)


def precision_recall_curves(
    curves: Sequence[tuple[str, pd.DataFrame]], lines: Sequence[Mapping[str, str]], prevalence: float | None = None
) -> go.Figure:
    """Precision-recall curves, one per (name, ``metrics.precision_recall_points``).

    ``prevalence`` is the share of the class in the part, the PPV of guessing; drawn for one class alone.
    """
    figure = go.Figure()
    _add_curves(figure, curves, lines, ("sensitivity", "ppv"), "vh")
    if prevalence is not None:
        figure.add_hline(100 * prevalence, line={"color": NEUTRAL, "dash": "dot", "width": 1})
    figure.update_xaxes(title="Sensitivity", **SQUARE)
    figure.update_yaxes(title="PPV", **SQUARE)
    return _with_legend(figure, height=380, per_row=2)


def _add_curves(
    figure: go.Figure,
    curves: Sequence[tuple[str, pd.DataFrame]],
    lines: Sequence[Mapping[str, str]],
    axes: tuple[str, str],
    shape: str = "linear",
) -> None:
    """Curves whose area is the one that ``metrics`` reports: straight for ROC, steps ("vh") for precision-recall."""
    for (name, points), line in zip(curves, lines, strict=True):
        if not points.empty:
            figure.add_scatter(
                x=100 * points[axes[0]],
                y=100 * points[axes[1]],
                hovertext=[
                    f"{share(x)}, {share(y)} at score {number(at)}"
                    for x, y, at in zip(points[axes[0]], points[axes[1]], points["threshold"], strict=True)
                ],
                mode="lines",
                line={**line, "width": 2, "shape": shape},
                name=literal(name),
                hovertemplate="%{hovertext}<extra>%{fullData.name}</extra>",
            )


def learning_curves(
    histories: Sequence[tuple[str, pd.DataFrame]], quantity: str, lines: Sequence[Mapping[str, str]]
) -> go.Figure:
    """``quantity`` ("accuracy" or "loss") over the epochs of several runs: validation strong, training pale.

    A diamond stands where a new stage begins. Runs without epochs are left out. ``lines`` are those of ``run_lines``.
    """
    scale, written = (100, share) if quantity == "accuracy" else (1, number)
    figure = go.Figure()
    for (name, history), line in zip(histories, lines, strict=True):
        if history.empty:
            continue
        stage = history["stage"].astype(str)
        begins = (stage != stage.shift()) & (stage.shift().notna())
        marker = {"size": np.where(begins, 11, 4).tolist(), "symbol": np.where(begins, "diamond", "circle").tolist()}
        training = {"mode": "lines", "line": {**line, "width": 1}, "opacity": 0.55, "showlegend": False}
        validation = {"mode": "lines+markers", "line": {**line, "width": 2}, "marker": marker}
        for part, column, style in (("training", quantity, training), ("validation", f"val_{quantity}", validation)):
            figure.add_scatter(
                x=list(range(1, len(history) + 1)),
                y=scale * history[column],
                name=literal(name),
                legendgroup=literal(name),
                text=history[column].map(written),
                hovertemplate=f"epoch %{{x}}: %{{text}}<extra>{literal(name)}, {part}</extra>",
                **style,
            )
    epoch_axes(figure, quantity, max((len(history) for _, history in histories), default=0))
    return _with_legend(figure, height=330, per_row=2)


def accuracy_against_cost(points: pd.DataFrame, cost: str, majority: float | None = None) -> go.Figure:
    """Test accuracy with its interval over what it costs, one mark per run, on a logarithmic axis.

    ``points`` has columns name, number, cost, test, test_low, test_high; rows without a cost are left out. The cost is
    "seconds" (of training) or "milliseconds" (per image). The majority baseline, a share in [0, 1], is drawn as a line.
    """
    titles = {"seconds": "Training time", "milliseconds": "Time per image"}
    worded = {"seconds": duration, "milliseconds": milliseconds}[cost]
    figure = go.Figure()
    for row in points.itertuples():
        if row.cost > 0 and row.test >= 0:
            _add_accuracy(figure, row, "y", f"<br>{worded(row.cost)}", x=[row.cost])
    if majority is not None:
        figure.add_hline(100 * majority, annotation_position="bottom right", **majority_line(majority))
    ticks = COST_TICKS[cost]
    figure.update_xaxes(title=titles[cost], type="log", tickvals=ticks, ticktext=[worded(tick) for tick in ticks])
    figure.update_yaxes(title="Test accuracy", ticksuffix=" %")
    return _with_legend(figure, height=380, per_row=4)


def class_measures(points: pd.DataFrame, classes: Sequence[str], measure: str) -> go.Figure:
    """One measure per class and run with its interval: a row per run, a dot per class.

    ``points`` has columns run, label, value, low, high (nan where there is no interval); undefined values are left out.
    ``classes`` are in the order that gives their colours, ``measure`` is the name for the axis.
    """
    runs = list(dict.fromkeys(points["run"]))
    figure = go.Figure()
    for place, (label, colour) in enumerate(class_colours(classes).items()):
        rows = points[(points["label"] == label) & points["value"].notna()]
        lift = (place - (len(classes) - 1) / 2) * 0.6 / max(1, len(classes))  # classes of a run stand below each other
        figure.add_scatter(
            x=100 * rows["value"],
            y=[runs.index(run) + lift for run in rows["run"]],
            error_x=error_bar(rows[["value", "low", "high"]].to_numpy(), 100, thickness=1.5, width=3),
            mode="markers",
            marker={"size": 9, "color": colour},
            name=literal(label),
            text=[f"{literal(row.run)}: {interval(row.value, row.low, row.high)}" for row in rows.itertuples()],
            hovertemplate="%{text}<extra>%{fullData.name}</extra>",
        )
    figure.update_xaxes(title=measure, ticksuffix=" %")
    ticks = {"tickvals": list(range(len(runs))), "ticktext": [cut(run) for run in runs]}
    figure.update_yaxes(**ticks, range=[len(runs) - 0.5, -0.5], zeroline=False)
    return settled(figure, height=130 + ROW_HEIGHT * len(runs))
