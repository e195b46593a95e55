"""Figures for paper: the app's, in light colours and at a fixed size, as JSON for a page that holds Plotly itself."""

import html
import math
import textwrap
from collections.abc import Mapping
from typing import Any

from plotly.graph_objects import Figure as Figure  # for who holds a figure and draws none
from plotly.io.json import to_json_plotly
from plotly.offline import get_plotlyjs

from covid_core.figures.theme import NEUTRAL

FONT = '"Inter", "Helvetica Neue", "Liberation Sans", Arial, sans-serif'
INK, MUTED, LINE, EDGE = "#1b2127", "#5a6570", "#e3e7eb", "#b8c0c8"
WIDTH = 660  # pixels of a figure that stands alone: A4 less its margins
HEIGHT = 340  # where a figure has none of its own
LEGEND_BELOW = {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "xanchor": "left"}
TITLE_LETTERS, TITLE_LINE = 88, 20  # of a line of a title: letters, pixels
CAPTION_LETTERS, CAPTION_LINE = 105, 15  # of a line of a caption
TITLE = {
    **{"font": {"size": 14.5}, "xref": "container", "x": 0, "xanchor": "left", "yref": "container", "y": 1},
    **{"yanchor": "top", "pad": {"l": 8, "t": 8}},
}
ABOVE, RIGHT, LEGEND_ROW = 28, 28, 20  # pixels above and beside a plot, and of a row of its legend
LETTER, MARK = 6.2, 46  # pixels of a letter in a legend, and of what stands before it
MOST_VECTORS = 10_000  # points that are drawn as points
AXIS = {"gridcolor": LINE, "linecolor": EDGE, "zerolinecolor": LINE, "title": {"standoff": 8, "font": {"size": 12.5}}}
TEMPLATE = {
    "layout": {
        "font": {"family": FONT, "size": 11.5, "color": INK},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "xaxis": AXIS,
        "yaxis": AXIS,
    }
}


def light(figure: Figure, width: int, highest: int | None = None) -> dict[str, Any]:
    """A figure as plain values, in light colours, ``width`` pixels wide and at most ``highest`` high."""
    values: dict[str, Any] = figure.to_dict()
    values["layout"] |= {"template": TEMPLATE, "width": width, "autosize": False}
    if highest is not None:
        values["layout"]["height"] = min(highest, values["layout"].get("height", highest))
    return values


def for_paper(figure: Figure, title: str, caption: str = "") -> dict[str, Any]:
    """A figure as it stands alone on paper: light, title and caption above, legend below, and as much higher."""
    values = light(figure, WIDTH)
    layout, margin = values["layout"], values["layout"].get("margin", {})
    lines = textwrap.wrap(html.escape(title, quote=False), TITLE_LETTERS)
    below = textwrap.wrap(html.escape(caption, quote=False), CAPTION_LETTERS)
    words = TITLE_LINE * len(lines) + CAPTION_LINE * len(below)
    layout["height"] = layout.get("height", HEIGHT) + words + LEGEND_ROW * _legend_rows(values)
    layout["margin"] = margin | {"t": max(ABOVE, margin.get("t", 0)) + words, "r": RIGHT}
    layout["legend"] = {"traceorder": "normal"} | LEGEND_BELOW
    subtitle = {"text": "<br>".join(below), "font": {"size": 11, "color": MUTED}}
    layout["title"] = {"text": "<br>".join(lines), "subtitle": subtitle, **TITLE}
    for note in layout.get("annotations", ()):
        if note.get("font", {}).get("color") == NEUTRAL:
            note["font"]["color"] = MUTED
    for trace in values["data"]:
        if trace["type"] == "scattergl" and len(trace["x"]) <= MOST_VECTORS:
            trace["type"] = "scatter"  # else the SVG holds it as a small picture
    return values


def _legend_rows(values: Mapping[str, Any]) -> int:
    """About how many rows a legend below takes."""
    named = [trace for trace in values["data"] if trace.get("showlegend", True) and trace.get("name")]
    if not values["layout"].get("showlegend", len(named) > 1):
        return 0
    widest = max((LETTER * len(trace["name"]) + MARK for trace in named), default=0)
    return math.ceil(len(named) / max(1, int(WIDTH // max(widest, 1))))


def script_json(values: Mapping[str, Any]) -> str:
    """Such a figure as JSON that may stand in a script of a page."""
    return str(to_json_plotly(values)).replace("<", "\\u003c")


def plotly_script() -> str:
    """The whole of Plotly, to stand in a script of a page."""
    return str(get_plotlyjs()).replace("</script", "<\\/script")
