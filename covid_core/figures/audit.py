"""Figures of the audit of a data set.

Shortcut learning: a ladder of probes against the majority baseline and the full picture, of the finished numbers of
``audit.shortcuts.probe_ladder``, and findings that go with the class, of ``audit.tables``. And the limit for
near-duplicates, of ``audit.duplicates.threshold``; and the map of a data set, of ``audit.embedding.embedding_map``.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from covid_core.audit.duplicates.threshold import Limits
from covid_core.audit.shortcuts.probe_ladder import NO_LUNGS, Ladder, Rung
from covid_core.figures.theme import (
    LUNG,
    NEUTRAL,
    NO_LUNG,
    SHARE_TICKS,
    add_interval_bars,
    add_line,
    class_colours,
    literal,
    name_above,
    settled,
)
from covid_core.formatting import count, decimals, interval, number, p_in_words, plural, share

BINS, LOWEST_DETAIL = 50, 0.0  # of the histogram; lower correlations are counted in its first bar
DUPLICATES = "#E69F00"
BAR_HEIGHT = 46  # pixels per probe, its name above the bar
GROUP = 0.62  # of a finding's height that its bars take; the rest is for its name
MAP_HEIGHT = 560  # pixels
POINT_AREA = 40_000  # pixels that all points of a map cover together, about; a point has 4 to 8 across


class Group(NamedTuple):
    """Points of one colour on a map: its name in the legend and ``#RRGGBB``."""

    name: str
    colour: str


def ladder_bars(ladder: Ladder) -> go.Figure:
    """One bar per probe that was run, the first on top: accuracy with its 95 % interval, from 0 to 100 %.

    Dotted: the majority baseline; dashed: the full picture, where it was run. Probes that show no lung have a colour of
    their own.
    """
    run = [rung for rung in ladder.rungs if rung.was_run]
    figure = go.Figure()
    parts = (("shows no lung", NO_LUNG, True), ("shows the lungs, or their greys", LUNG, False))
    for name, colour, blind in parts:
        places = [place for place, rung in enumerate(run) if (rung.probe.holds == NO_LUNGS) == blind]
        if places:
            intervals = [_bounds(run[at]) for at in places]
            add_interval_bars(figure, places, intervals, name, colour, [_hover(run[at]) for at in places])
    for place, rung in enumerate(run):
        name_above(figure, place - 0.2, f"{literal(rung.probe.name)} <b>{share(rung.accuracy.value)}</b>")
    if run:
        add_line(figure, run[-1].majority, "dot", f"majority baseline {share(run[-1].majority)}", len(run))
    if ladder.full is not None:
        full = ladder.full.accuracy.value
        add_line(figure, full, "dash", f"full picture {share(full)}", len(run))
    figure.update_xaxes(title="Accuracy", range=[0, 1], **SHARE_TICKS)
    figure.update_yaxes(visible=False, range=[len(run) - 0.5, -0.75])
    return settled(figure, height=150 + BAR_HEIGHT * len(run))


def _bounds(rung: Rung) -> tuple[float, float, float]:
    return rung.accuracy.value, rung.accuracy.low, rung.accuracy.high


def _hover(rung: Rung) -> str:
    images = plural(rung.images, "image")
    return f"{literal(rung.probe.name)}: {interval(*_bounds(rung))} of {images}, {p_in_words(rung.p)}"


def ladder_in_words(ladder: Ladder) -> str:
    """Alternative text of ``ladder_bars``: every figure in it."""
    run = [rung for rung in ladder.rungs if rung.was_run]
    texts = [f"{rung.probe.name} {interval(*_bounds(rung))}" for rung in run]
    lines = [f"majority baseline, dotted, {share(run[-1].majority)}"] if run else []
    if ladder.full is not None:
        lines.append(f"the full picture, dashed, {share(ladder.full.accuracy.value)}")
    rest = f"; {' and '.join(lines)}" if lines else ""
    return f"Accuracy of each probe: {', '.join(texts)}{rest}."


def finding_bars(table: pd.DataFrame) -> go.Figure:
    """Share of each class's images that have a finding, from ``tables.findings_by_class``: a group per finding.

    Bars far apart within a group are a finding that goes with the class. The name above each group has its Cramér's V.
    """
    findings = list(table["finding"].unique())
    colours = class_colours(sorted(table["label"].unique()))
    figure = go.Figure()
    for nth, (label, colour) in enumerate(colours.items()):
        rows = table[table["label"] == label].set_index("finding").loc[findings]
        thick = GROUP / len(colours)
        figure.add_bar(
            y=[place + (nth + 0.5) * thick - GROUP / 2 + 0.1 for place in range(len(findings))],
            x=100 * rows["share"],
            width=0.9 * thick,
            name=literal(label),
            orientation="h",
            marker={"color": colour},
            hovertext=[
                f"{literal(finding)}: {count(row)} of {count(images)} images of the class"
                for finding, row, images in zip(rows.index, rows["found"], rows["images"], strict=True)
            ],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    for place, finding in enumerate(findings):
        strength = table.loc[table["finding"] == finding, "association"].iat[0]
        text = "" if math.isnan(strength) else f"  Cramér's V {decimals(strength, 2)}"
        name_above(figure, place - GROUP / 2 + 0.08, f"<b>{literal(finding)}</b>{text}")
    figure.update_xaxes(title="Images of the class with the finding", ticksuffix=" %", rangemode="tozero")
    figure.update_yaxes(visible=False, range=[len(findings) - 0.4, -0.65])
    height = 130 + len(findings) * (26 + 14 * len(colours))
    return settled(figure, height=height).update_layout(legend={"traceorder": "normal"})


def findings_in_words(table: pd.DataFrame) -> str:
    """Alternative text of ``finding_bars``: every figure in it."""
    texts = []
    for finding, rows in table.groupby("finding", sort=False):
        shares = ", ".join(f"{row.label} {share(row.share)}" for row in rows.itertuples())
        texts.append(f"{finding}: {shares}")
    return f"Share of each class's images with a finding. {'; '.join(texts)}."


def duplicate_histogram(limits: Limits, duplicates: np.ndarray) -> go.Figure:
    """Similarity of images that are certainly different, and of near-duplicates, with the limit between.

    ``limits`` are those of ``threshold.calibrated``; without calibration there are no different images to draw.
    ``duplicates`` are the details (correlations, once aligned) of the pairs of near-duplicates; any number.
    """
    figure = go.Figure()
    edges = np.linspace(LOWEST_DETAIL, 1, BINS + 1)
    parts = (
        ("different images, each with its most similar one", NEUTRAL, limits.different),
        ("near-duplicates", DUPLICATES, duplicates),
    )
    for name, colour, detail in parts:
        counts, _ = np.histogram(np.clip(detail, LOWEST_DETAIL, 1), edges)
        texts = [
            f"{decimals(low, 2)} to {decimals(low + 1 / BINS, 2)}: {plural(int(n), 'pair')}"
            for low, n in zip(edges, counts, strict=False)
        ]
        figure.add_bar(
            x=(edges[:-1] + edges[1:]) / 2,
            y=counts,
            width=1 / BINS,
            name=name,
            marker={"color": colour},
            hovertext=texts,
            hovertemplate="%{hovertext}<extra></extra>",
        )
    add_line(figure, limits.limit, "dash", f"limit {number(limits.limit)}")
    figure.update_layout(barmode="overlay", bargap=0)
    figure.update_xaxes(title="Correlation of the detail of both images", range=[LOWEST_DETAIL, 1])
    figure.update_yaxes(title="Pairs")
    return settled(figure)


def duplicate_histogram_in_words(limits: Limits, duplicates: np.ndarray) -> str:
    """Alternative text of ``duplicate_histogram``: every figure that decides."""
    pairs = f"{plural(len(duplicates), 'pair')} of near-duplicates above the limit of {number(limits.limit)}"
    if not len(limits.different):
        return f"{pairs}."
    middle, most = np.median(limits.different), limits.different.max()
    reached = (
        f"{len(limits.different):,} images reach {number(middle)} with a different one (median), {number(most)} at most"
    )
    return f"{pairs}. {reached}."


def image_map(
    places: np.ndarray,
    codes: np.ndarray,
    groups: Sequence[Group],
    names: Sequence[str],
    ringed: np.ndarray | None = None,
) -> go.Figure:
    """Every image as a point, drawn by WebGL.

    With 21,165 points, in a browser without a GPU: a click is answered in 0.5 s, a step of a move in 0.16 s.

    Args:
        places: of shape (images, 2), y upwards; both axes have one scale, so distances are true.
        codes, names: of shape (images,): the group of each image, and what is shown when hovering.
        groups: one trace each, in this order; later ones are drawn on top.
        ringed: bool (images,): which images have a ring, in a trace after the groups; None: no such trace.
    """
    figure, places, names = go.Figure(), np.asarray(places, np.float32), np.asarray(names, object)
    size = float(np.clip(np.sqrt(POINT_AREA / max(1, len(places))), 4, 8))
    for code, group in enumerate(groups):
        of_group = codes == code
        figure.add_scattergl(
            x=places[of_group, 0],
            y=places[of_group, 1],
            text=[literal(name) for name in names[of_group]],
            mode="markers",
            marker={"color": group.colour, "size": size, "opacity": 0.8},
            name=f"{literal(group.name)} {count(int(of_group.sum()))}",
            hovertemplate="%{text}<extra>%{fullData.name}</extra>",
        )
    if ringed is not None:
        figure.add_scattergl(
            x=places[ringed, 0],
            y=places[ringed, 1],
            mode="markers",
            marker={"color": NEUTRAL, "size": size + 6, "symbol": "circle-open", "line": {"width": 2}},
            hoverinfo="skip",
            showlegend=False,
        )
    hidden = {"showticklabels": False, "showgrid": False, "zeroline": False, "ticks": "", "title": None}
    figure.update_xaxes(**hidden)
    figure.update_yaxes(**hidden, scaleanchor="x")
    return settled(figure, height=MAP_HEIGHT, dragmode="pan")
