"""Figures of what is in a data set: classes, grey levels, mean images, sizes and sources.

Every function takes finished numbers of ``data.summary``. Classes have their colour in all of them.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from covid_core.data.summary import UNKNOWN_SOURCE
from covid_core.figures.theme import NEUTRAL, class_colours, literal, name_above, settled, short_names
from covid_core.formatting import count, decimals, plural, share

PART_COLOURS = ("#8A8F98", "#E69F00", "#0072B2")  # train, validation, test: none of them a class's
BAR_HEIGHT = 44  # pixels per bar
GREY_SCALE = [[0, "#000000"], [1, "#FFFFFF"]]
# Black is "no difference", as images lie on black; the two ends differ for any kind of colour vision.
DIFFERENCE_SCALE = [[0, "#56B4E9"], [0.5, "#000000"], [1, "#E69F00"]]
LEAST_RANGE = 10  # grey levels; below it a difference of mean images is noise and must not fill the scale
PICTURES_HEIGHT = 270
TITLE_LETTERS = 13  # pixels: three names of classes fit side by side on a phone
MOST_SOURCES = 12  # bars of their own; the rest is one bar
LONGEST_SOURCE = 44  # characters of a web address above its bar; more are wider than a phone
SOURCE_HEIGHT = 48  # pixels of a bar with its name
DOT_AREA = 40  # pixels across for the most frequent size


def class_bars(table: pd.DataFrame) -> go.Figure:
    """Images per class, from ``summary.class_table``: a bar each, with its count and share."""
    texts = [f"{count(row.images)} ({share(row.share)})" for row in table.itertuples()]
    return _class_bars(dict(zip(table["label"], table["images"], strict=True)), texts, "Images", tickformat=",")


def weight_bars(weights: Mapping[str, float]) -> go.Figure:
    """The weight of one image of each class under balanced class weights; the line at 1 is a balanced class."""
    figure = _class_bars(weights, [decimals(weight, 3) for weight in weights.values()], "Weight of one image")
    return figure.add_vline(1, line={"color": NEUTRAL, "dash": "dot", "width": 1.5})


def part_bars(counts: pd.DataFrame) -> go.Figure:
    """Images per part: a bar per class or source (index, the first MOST_SOURCES), a colour per part (columns)."""
    shown = counts.head(MOST_SOURCES)
    figure = _stacked(map(str, shown.index), [(str(part).capitalize(), shown[part], 1.0) for part in shown], NEUTRAL)
    for bars, colour in zip(figure.data, PART_COLOURS, strict=True):
        bars.marker.color = colour
    return settled(figure, height=110 + BAR_HEIGHT * len(shown))


def resampling_bars(table: pd.DataFrame, way: str) -> go.Figure:
    """Images per class after ``way``, "undersample" or "oversample": used in colour, removed or repeated pale.

    ``table`` comes from ``summary.resampling_table``.
    """
    pairs = {
        "undersample": [("Used", "kept"), ("Removed", "thrown_away")],
        "oversample": [("Images", "images"), ("Repeated", "repeated")],
    }[way]
    parts = [(name, table[column], opacity) for (name, column), opacity in zip(pairs, (1.0, 0.3), strict=True)]
    figure = _stacked(table["label"], parts, list(class_colours(table["label"]).values()))
    return settled(figure, height=90 + BAR_HEIGHT * len(table), showlegend=False)


def _class_bars(values: Mapping[str, float], texts: Sequence[str], title: str, **axis: object) -> go.Figure:
    """A lying bar per class in its colour, with a text at its end; the axis has room for the longest bar's."""
    figure = _stacked(list(values), [("", list(values.values()), 1.0)], list(class_colours(values).values()))
    figure.update_traces(
        text=list(texts), textposition="outside", cliponaxis=False, hovertemplate="%{y}: %{text}<extra></extra>"
    )
    figure.update_xaxes(title=title, range=[0, 1.35 * max(values.values())], **axis)
    return settled(figure, height=90 + BAR_HEIGHT * len(values), showlegend=False)


def _stacked(
    names: Iterable[str], parts: Iterable[tuple[str, Sequence[float], float]], colours: str | list[str]
) -> go.Figure:
    """A lying bar per name, of parts (name, images, opacity)."""
    figure, labels = go.Figure(), [literal(name) for name in short_names(names)]
    for part, images, opacity in parts:
        figure.add_bar(
            y=labels,
            x=images,
            name=part,
            orientation="h",
            marker={"color": colours, "opacity": opacity},
            hovertemplate="%{y}: %{x:,} images<extra>%{fullData.name}</extra>",
        )
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title="Images", tickformat=",")
    figure.update_yaxes(type="category", autorange="reversed")
    return figure


def intensity_lines(shares: np.ndarray, classes: Sequence[str]) -> go.Figure:
    """Share of pixels per grey level, one line per class. ``shares``: (k, 256), rows sum to 1."""
    figure = go.Figure()
    for (label, colour), row in zip(class_colours(classes).items(), shares, strict=True):
        figure.add_scatter(
            x=np.arange(256),
            y=100 * row,
            mode="lines",
            line={"color": colour, "width": 2},
            name=literal(label),
            hovertext=[share(one, 2) for one in row],
            hovertemplate="%{hovertext} of the pixels at grey %{x}<extra>%{fullData.name}</extra>",
        )
    top = 100 * np.delete(shares, [0, 255], axis=1).max()  # margins are pure black or white; they may leave the picture
    figure.update_xaxes(title="Grey level (0 black, 255 white)", range=[0, 255])
    figure.update_yaxes(title="Pixels", ticksuffix=" %", range=[0, 1.15 * top])
    return settled(figure, height=340)


def class_pictures(images: np.ndarray, classes: Sequence[str], quantity: str) -> go.Figure:
    """One grey picture (size, size) per class, all on one scale: from 0 to 255 for the ``quantity`` "mean", to the
    largest value for "deviation"."""
    top = 255.0 if quantity == "mean" else float(np.ceil(images.max()))
    titles = [literal(label) for label in classes]
    return _pictures(images, titles, GREY_SCALE, 0.0, top, "Mean grey" if quantity == "mean" else "Standard deviation")


def difference_pictures(differences: Mapping[tuple[str, str], np.ndarray]) -> go.Figure:
    """First mean image minus the second, for every pair, on one scale around 0: orange, the first is brighter."""
    images = np.stack(list(differences.values()))
    top = max(float(LEAST_RANGE), float(np.ceil(np.abs(images).max())))
    titles = [f"{literal(first)} −<br>{literal(second)}" for first, second in differences]
    return _pictures(images, titles, DIFFERENCE_SCALE, -top, top, "Difference in grey levels")


def _pictures(
    images: np.ndarray, titles: Sequence[str], scale: list, low: float, high: float, quantity: str
) -> go.Figure:
    """Pictures in rows of at most three, squares whatever the width, one colour bar below."""
    columns = min(3, len(images))
    rows = -(-len(images) // columns)
    figure = make_subplots(
        rows, columns, subplot_titles=list(titles), horizontal_spacing=0.02, vertical_spacing=0.16 / rows
    )
    for place, image in enumerate(images):
        figure.add_trace(
            go.Heatmap(
                z=np.round(image, 1).astype(np.float32),
                coloraxis="coloraxis",
                name=titles[place].replace("<br>", " "),
                hovertemplate="%{z:.1f} at column %{x}, row %{y}<extra>%{fullData.name}</extra>",
            ),
            row=place // columns + 1,
            col=place % columns + 1,
        )
    figure.update_xaxes(visible=False, constrain="domain")
    for place in range(len(images)):  # an axis of its own each: a picture is square only against its own x axis
        number = "" if place == 0 else str(place + 1)
        figure.update_layout({f"yaxis{number}": {"scaleanchor": f"x{number}"}})
    figure.update_yaxes(visible=False, autorange="reversed", constrain="domain", constraintoward="top")
    figure.update_annotations(font_size=TITLE_LETTERS)
    settled(figure, height=90 + PICTURES_HEIGHT * rows)
    bar = {"orientation": "h", "y": -0.02, "yanchor": "top", "thickness": 10}
    bar |= {"title": {"text": quantity, "side": "top"}, "tickvals": [low, (low + high) / 2, high], "tickangle": 0}
    figure.update_layout(
        coloraxis={"colorscale": scale, "cmin": low, "cmax": high, "colorbar": bar}, margin={"t": 56, "b": 24}
    )
    return figure


def exposure_boxes(table: pd.DataFrame, quantity: str) -> go.Figure:
    """Brightness or contrast of the images of each class, from ``summary.exposure_table``.

    Boxes hold the middle half of the images, whiskers nine of ten (5th to 95th percentile).
    """
    figure = go.Figure()
    for row in table.itertuples():
        figure.add_box(
            y=[literal(row.label)],
            q1=[row.p25],
            median=[row.median],
            q3=[row.p75],
            lowerfence=[row.p5],
            upperfence=[row.p95],
            orientation="h",
            marker={"color": class_colours(table["label"])[row.label]},
            name=literal(row.label),
        )
    figure.update_xaxes(title=quantity)
    figure.update_yaxes(type="category", autorange="reversed")
    return settled(figure, height=90 + 60 * len(table), showlegend=False)


def size_dots(table: pd.DataFrame) -> go.Figure:
    """Width and height of the files, from ``summary.format_table``: one dot per size and class, its area the images."""
    largest = table["images"].max()
    figure = go.Figure()
    for label, colour in class_colours(sorted(table["label"].unique())).items():
        rows = table[table["label"] == label]
        figure.add_scatter(
            x=rows["width"],
            y=rows["height"],
            mode="markers",
            marker={
                "size": np.maximum(6, DOT_AREA * np.sqrt(rows["images"] / largest)),
                "color": colour,
                "opacity": 0.6,
            },
            text=[plural(int(images), "image") for images in rows["images"]],
            name=literal(label),
            hovertemplate="%{x} x %{y} pixels: %{text}<extra>%{fullData.name}</extra>",
        )
    figure.update_xaxes(title="Width (pixels)", rangemode="tozero")
    figure.update_yaxes(title="Height (pixels)", rangemode="tozero")
    settled(figure, height=380)
    return figure.update_layout(legend={"itemsizing": "constant"})


def source_bars(table: pd.DataFrame) -> go.Figure:
    """Images per source and class, from ``summary.source_table``: a source in one colour has one class alone."""
    shown = _largest_sources(table)
    places = list(range(len(shown)))  # two sources may have the same short name, so names are no axis
    figure = go.Figure()
    for label, colour in class_colours(table.columns).items():
        figure.add_bar(
            y=places,
            x=shown[label],
            width=0.45,
            name=literal(label),
            orientation="h",
            marker={"color": colour},
            hovertext=[literal(source) for source in shown.index],
            hovertemplate="%{x:,} images, %{hovertext}<extra>%{fullData.name}</extra>",
        )
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title="Images", tickformat=",")
    for place, source in zip(places, shown.index, strict=True):
        name_above(figure, place - 0.25, _short(str(source)))
    figure.update_yaxes(visible=False, range=[len(places) - 0.5, -0.75])
    settled(figure, height=120 + SOURCE_HEIGHT * len(shown))
    return figure.update_layout(legend={"traceorder": "normal"})


def _largest_sources(table: pd.DataFrame) -> pd.DataFrame:
    """The largest sources, the sum of the others, and the unknown ones."""
    named = table.drop(index=UNKNOWN_SOURCE, errors="ignore")
    shown, others = named.head(MOST_SOURCES), named.iloc[MOST_SOURCES:]
    parts = [shown]
    if len(others):
        parts.append(others.sum().to_frame(f"{plural(len(others), 'other source')}").T)
    if UNKNOWN_SOURCE in table.index:
        parts.append(table.loc[[UNKNOWN_SOURCE]])
    return pd.concat(parts)


def _short(source: str) -> str:
    """A source beside its bar: web addresses without their beginning, long ones without their middle."""
    text = re.sub(r"^(https?://)?(www\.)?", "", source)
    if len(text) > LONGEST_SOURCE:
        text = f"{text[: LONGEST_SOURCE // 2]}…{text[-LONGEST_SOURCE // 2 :]}"
    return literal(text)
