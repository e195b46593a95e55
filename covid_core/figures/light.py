"""Figures for paper: the app's, in light colours and at a fixed size, as JSON for a page that holds Plotly itself."""

from collections.abc import Mapping
from typing import Any

from plotly.graph_objects import Figure as Figure  # for who holds a figure and draws none
from plotly.io.json import to_json_plotly
from plotly.offline import get_plotlyjs

FONT = '"Inter", "Helvetica Neue", "Liberation Sans", Arial, sans-serif'
INK, MUTED, LINE, EDGE = "#1b2127", "#5a6570", "#e3e7eb", "#b8c0c8"
AXIS = {"gridcolor": LINE, "linecolor": EDGE, "zerolinecolor": LINE, "title": {"standoff": 8}}
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


def script_json(values: Mapping[str, Any]) -> str:
    """Such a figure as JSON that may stand in a script of a page."""
    return str(to_json_plotly(values)).replace("<", "\\u003c")


def plotly_script() -> str:
    """The whole of Plotly, to stand in a script of a page."""
    return str(get_plotlyjs()).replace("</script", "<\\/script")
