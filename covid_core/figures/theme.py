"""What all figures share: one colour per class and per run, the same on every page.

Colours are those of Okabe and Ito (2008, "Color Universal Design"), which stay apart for all common kinds of colour
blindness, in an order in which each also stands out on black and on white.
"""

import html
from collections.abc import Iterable
from zlib import crc32

import plotly.graph_objects as go

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
NO_LUNG, LUNG = "#E69F00", "#CC79A7"  # what shows no lung, and what shows it: colours of none of the three classes
NEUTRAL = "#8A8F98"  # reference lines: readable on the dark and on the light background


def class_colours(classes: Iterable[str]) -> dict[str, str]:
    """Colour of each class. Known classes keep theirs; another's follows from its name, so it is the same everywhere.

    Only where two classes of one chart would share a colour, the later one takes the next that is free.
    """
    colours: dict[str, str] = {}
    for label in classes:
        start = crc32(label.encode("utf-8", "surrogatepass"))
        choices = [FIXED[label]] if label in FIXED else [SPARE[(start + i) % len(SPARE)] for i in range(len(SPARE))]
        colours[label] = next((colour for colour in choices if colour not in colours.values()), choices[0])
    return colours


def run_style(position: int) -> dict[str, str]:
    """Line colour and dash of the run at ``position``; 32 runs differ before a style comes again."""
    return {
        "color": RUN_COLOURS[position % len(RUN_COLOURS)],
        "dash": RUN_DASHES[position // len(RUN_COLOURS) % len(RUN_DASHES)],
    }


def settled(figure: go.Figure, height: int = 340, **layout: object) -> go.Figure:
    """The layout that every figure of the app has: room for labels, a legend above, no decoration."""
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 28, "t": 48 if layout.get("title") or figure.layout.title.text else 28, "b": 8},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0, "title": None},
        hoverlabel={"namelength": -1},
        **layout,
    )
    figure.update_xaxes(automargin=True)
    figure.update_yaxes(automargin=True)
    return figure


def literal(text: object) -> str:
    """A name that a user chose, so that Plotly shows it letter by letter.

    It reads tags such as ``<b>`` otherwise, and in what hovering says values such as ``%{x}``.
    """
    return html.escape(str(text), quote=False).replace("\n", " ").replace("%{", "%&#123;")
