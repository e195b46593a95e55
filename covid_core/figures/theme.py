"""What all figures share: one colour per class and per run, the same on every page.

Colours are those of Okabe and Ito (2008, "Color Universal Design"), which stay apart for all common kinds of colour
blindness, in an order in which each also stands out on black and on white.
"""

import html
from collections.abc import Iterable, Sequence
from typing import Any
from zlib import crc32

import plotly.graph_objects as go

from covid_core.formatting import share

FIXED = {
    "COVID": "#D55E00",
    "Normal": "#56B4E9",
    "Viral Pneumonia": "#009E73",
    "Pneumonia": "#009E73",
    "Lung_Opacity": "#CC79A7",
}
SPARE = ("#E69F00", "#0072B2", "#CC79A7", "#F0E442", "#999999")
RUN_COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#0072B2", "#F0E442", "#999999")
RUN_DASHES = ("solid", "dash", "dot", "dashdot")
RUN_SYMBOLS = ("circle", "square", "diamond", "triangle-up")
LONGEST_NAME = 26  # letters of a name on an axis
NO_LUNG, LUNG = "#E69F00", "#CC79A7"  # what shows no lung, and what shows it: colours of none of the three classes
LEAST_INK = 0.7  # opacity of a presented note that is pale
PRESENTED_LETTERS = 20  # pixels on a projector; 18 and more can be read from the last row
LONGEST, LONGEST_LABEL = 60, 28  # characters of a name in a legend or title, and beside a bar
SHARE_TICKS = {"tickvals": [place / 5 for place in range(6)], "ticktext": [share(place / 5, 0) for place in range(6)]}
ABOVE_BAR, BELOW_BAR = 0.2, 0.42  # of a line across a lying bar, from its middle: from its name to the next one
NEUTRAL = "#8A8F98"  # reference lines: readable on the dark and on the light background


def class_colours(classes: Iterable[str]) -> dict[str, str]:
    """Colour of each class. That of a class without one here follows from its name, so it is the same everywhere.

    Only where two classes of one chart would share a colour, the later one takes the next that is free.
    """
    colours: dict[str, str] = {}
    for label in classes:
        start = crc32(label.encode("utf-8", "surrogatepass"))
        choices = [FIXED[label]] if label in FIXED else [SPARE[(start + i) % len(SPARE)] for i in range(len(SPARE))]
        colours[label] = next((colour for colour in choices if colour not in colours.values()), choices[0])
    return colours


def run_style(number: int) -> dict[str, str]:
    """Line colour and dash of the run of that number; 32 runs differ before a style comes again."""
    return {
        "color": RUN_COLOURS[number % len(RUN_COLOURS)],
        "dash": RUN_DASHES[number // len(RUN_COLOURS) % len(RUN_DASHES)],
    }


def run_marker(number: int) -> dict[str, Any]:
    """Colour and symbol of the run of that number, which differ like its line."""
    return {"color": run_style(number)["color"], "symbol": RUN_SYMBOLS[number // len(RUN_COLOURS) % len(RUN_SYMBOLS)]}


def cut(name: object, letters: int = LONGEST_NAME) -> str:
    """A name for an axis: one that is too long ends in an ellipsis; the whole one belongs into the hover text."""
    text = str(name)
    return literal(text if len(text) <= letters else f"{text[: letters - 1].rstrip(' ,')}…")


def settled(figure: go.Figure, height: int = 340, **layout: object) -> go.Figure:
    """The layout that every figure of the app has: room for labels, a legend above, no decoration."""
    figure.update_layout(
        height=height,
        margin={"l": 14, "r": 28, "t": 48 if layout.get("title") or figure.layout.title.text else 28, "b": 8},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0, "title": None, "traceorder": "normal"},
        hoverlabel={"namelength": -1},
        **layout,
    )
    figure.update_xaxes(automargin=True)
    figure.update_yaxes(automargin=True)
    return figure


def enlarged(figure: go.Figure, height: int, ink: str) -> go.Figure:
    """A copy for a projector: ``height`` pixels high, no letter smaller than PRESENTED_LETTERS, in ``ink`` where it had
    no colour of its own."""
    large = go.Figure(figure)
    letters = {"size": PRESENTED_LETTERS, "color": ink}
    clear = "rgba(0, 0, 0, 0)"
    large.update_layout(height=height, font=letters, legend_font=letters, title_font=letters)
    large.update_layout(hoverlabel_font_size=PRESENTED_LETTERS)
    large.update_layout(paper_bgcolor=clear, plot_bgcolor=clear)
    for axis in (large.update_xaxes, large.update_yaxes):
        axis(tickfont=letters, title_font=letters)
    for note in large.layout.annotations:
        note.font = {"size": PRESENTED_LETTERS, "color": note.font.color or ink}
        note.opacity = max(LEAST_INK, note.opacity or 1)
    large.update_coloraxes(colorbar_tickfont=letters)
    for trace in large.data:
        if "textfont" in trace and trace.text is not None:
            trace.textfont.size = PRESENTED_LETTERS
            trace.textfont.color = trace.textfont.color or ink
        if getattr(trace, "line", None) is not None and trace.type == "scatter":
            trace.line.width = 2 * (trace.line.width or 2)
        if trace.type.startswith("scatter") and isinstance(trace.marker.size, int | float):
            trace.marker.size = 1.6 * trace.marker.size
    return large


def majority_line(majority: float) -> dict[str, Any]:
    """How the line of the majority baseline, a share in [0, 1], is drawn and named."""
    return {
        "line": {"color": NEUTRAL, "dash": "dot", "width": 1.5},
        "annotation": {"text": f"majority baseline {share(majority)}", "font": {"color": NEUTRAL}},
    }


def add_line(figure: go.Figure, at: float, dash: str, name: str, bars: int = 0) -> None:
    """An upright line, named in the legend: over the whole height, or across each of ``bars`` bars, so that it runs
    through none of the names above them."""
    line = {"color": NEUTRAL, "dash": dash, "width": 1.5}
    for place in range(bars):
        figure.add_shape(type="line", x0=at, x1=at, y0=place - ABOVE_BAR, y1=place + BELOW_BAR, line=line)
    if not bars:
        figure.add_vline(at, line=line)
    figure.add_scatter(x=[None], y=[None], mode="lines", line=line, name=name)


def name_above(figure: go.Figure, height: float, text: str) -> None:
    """A row's name above its mark, since names are as wide as a phone."""
    figure.add_annotation(x=0, y=height, text=text, xanchor="left", yanchor="bottom", showarrow=False)


def error_bar(intervals: Iterable[Sequence[float]], scale: float = 1, **style: object) -> dict[str, Any]:
    """The error bars of (value, low, high)."""
    rows = list(intervals)
    above = [scale * (high - value) for value, _, high in rows]
    below = [scale * (value - low) for value, low, _ in rows]
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below, **style}


def add_interval_bars(
    figure: go.Figure,
    places: Sequence[float],
    intervals: Sequence[Sequence[float]],
    name: str,
    colour: str,
    hover: Sequence[str],
    **options: object,
) -> None:
    """Lying bars of (value, low, high), with error bars and a text for each when hovering."""
    figure.add_bar(
        y=places,
        x=[value for value, _, _ in intervals],
        width=0.36,
        error_x=error_bar(intervals, color=NEUTRAL),
        name=name,
        orientation="h",
        marker={"color": colour},
        hovertext=hover,
        hovertemplate="%{hovertext}<extra></extra>",
        **options,
    )


def short_names(names: Iterable[str], most: int = LONGEST_LABEL) -> list[str]:
    """Names that fit beside a bar: of long ones, beginning and end. Names that differ still differ, by a number."""
    half = most // 2
    cut = [name if len(name) <= most else f"{name[:half]}…{name[half + 1 - most :]}" for name in names]
    return [name if cut.count(name) == 1 else f"{name} ({place})" for place, name in enumerate(cut, start=1)]


def literal(text: object) -> str:
    """A name that a user chose, so that Plotly shows it letter by letter, and a very long one without its middle.

    It reads tags such as ``<b>`` otherwise, and in hover texts values such as ``%{x}``.
    """
    return html.escape(short_names([str(text)], LONGEST)[0], quote=False).replace("\n", " ").replace("%{", "%&#123;")
