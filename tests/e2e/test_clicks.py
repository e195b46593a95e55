"""Behind every figure of the comparison stand images: real clicks on cells, points, bars and pairs open them."""

import math
import re

import numpy as np
import pandas as pd
import pytest
from app_server import App
from playwright.sync_api import Page, TimeoutError, expect
from states import frames, idle, still
from trained_runs import sibling
from waiting import until

from covid_core.evaluation import calibration
from covid_core.formatting import share
from covid_core.runs import store
from covid_core.runs.store import Run
from covid_core.workspace import Workspace

CLASSES = ("COVID", "Normal", "Viral Pneumonia")
SKILLS = {"Tiny": 2.0, "Second": 0.8}
BINS = 15
CHOSEN = "[...document.querySelectorAll('.js-plotly-plot')].filter(g => g._fullData[1]?.selectedpoints?.length).length"
POINTED_AT = """
([chart, standsFor]) => {
    const pointed = document.querySelectorAll('.js-plotly-plot')[chart]._hoverdata || [];
    return pointed.some(mark => JSON.stringify(mark.customdata) === JSON.stringify(standsFor));
}
"""
MARKS = """
([chart, trace]) => {
    const graph = document.querySelectorAll('.js-plotly-plot')[chart];
    const data = graph._fullData[trace], layout = graph._fullLayout, corner = graph.getBoundingClientRect();
    const axis = name => layout[name[0] + 'axis' + name.slice(1)];
    const x = axis(data.xaxis), y = axis(data.yaxis), below = data.type === 'bar' ? 6 : 0;
    return Array.from(data.x).map((at, i) => ({
        stands_for: data.customdata[i],
        x: corner.left + x._offset + x.d2p(at),
        y: corner.top + y._offset + y.d2p(data.y[i]) + below,
    }));
}
"""


@pytest.fixture(scope="module")
def runs(app: App, copy_of_trained) -> dict[str, Run]:
    """A trained network under two names, for its heat maps, with scores of a known skill in place of its own: a network
    that learned for seconds gives one answer only."""
    workspace = Workspace(app.home / "workspace")
    first = copy_of_trained(workspace)
    both = [first, sibling(workspace, first, "Second")]
    for seed, (run, skill) in enumerate(zip(both, SKILLS.values(), strict=True)):
        run.write_predictions(with_skill(run.predictions(), skill, seed))
        ended = store.open_run(workspace, run.id)  # its temperature was that of its own scores
        run.write_result({name: value for name, value in ended.result.items() if name != "calibration"})
    return {run.name: store.open_run(workspace, run.id) for run in both}


def with_skill(table: pd.DataFrame, skill: float, seed: int) -> pd.DataFrame:
    """The table with logits drawn at random, ``skill`` added to that of the image's class."""
    logits = 1.5 * np.random.default_rng(seed).normal(size=(len(table), len(CLASSES)))
    logits[np.arange(len(table)), [CLASSES.index(label) for label in table["label"]]] += 1.5 * skill
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    columns = {f"logit_{label}": logits[:, k] for k, label in enumerate(CLASSES)}
    return table.assign(**columns, **{f"score_{label}": scores[:, k] for k, label in enumerate(CLASSES)})


def answered(run: Run) -> pd.DataFrame:
    """The run's test images in the order of their ids, with what they were called and how surely."""
    test = run.predictions().query("part == 'test'").sort_values("image_id").reset_index(drop=True)
    scores = test[[f"score_{label}" for label in CLASSES]].to_numpy()
    return test.assign(called=np.array(CLASSES)[scores.argmax(axis=1)], top=scores.max(axis=1))


def show(page: Page, app: App, tab: str) -> None:
    page.goto(f"{app.url}/compare?view={tab}")
    expect(page.locator(".js-plotly-plot").first).to_be_visible()


def click(page: Page, chart: int, trace: int, stands_for: list[int], beside: tuple[int, int] = (0, 0)) -> None:
    """Move the mouse to the mark of a chart that stands for something, or ``beside`` it by pixels, and click."""
    graph = page.locator(".js-plotly-plot").nth(chart)
    graph.scroll_into_view_if_needed()
    still(page, graph)
    mark = next(mark for mark in page.evaluate(MARKS, [chart, trace]) if mark["stands_for"] == stands_for)
    page.mouse.move(mark["x"] + beside[0], mark["y"] + beside[1], steps=3)
    page.wait_for_function(POINTED_AT, arg=[chart, list(map(int, stands_for))], polling=50)
    page.mouse.down()
    page.mouse.up()


def place(mark: dict[str, float]) -> tuple[float, float]:
    return mark["x"], mark["y"]


def expect_images(page: Page, heading: str, images: int) -> None:
    expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible()
    expect(page.get_by_text(re.compile(rf"^{images} images?$")).first).to_be_visible()


def fullest(counts: pd.Series) -> tuple:
    return counts.idxmax(), int(counts.max())


def is_closed(page: Page, cell: list[int], heading: str) -> bool:
    """Click a cell of the second matrix; a click that is lost to a page drawn anew is made again by who waits."""
    click(page, 2, 1, cell, beside=(-35, 25))
    idle(page)
    try:
        page.get_by_text(heading, exact=True).wait_for(state="detached", timeout=10_000)
    except TimeoutError:
        return False
    return True


def test_a_click_on_a_confusion_cell_opens_its_images_and_another_closes_them(
    page: Page, app: App, runs: dict[str, Run]
):
    show(page, app, "Confusion")
    expect(page.locator(".js-plotly-plot")).to_have_count(3)  # the first shows all runs
    for chart, name in enumerate(SKILLS, start=1):  # the better one comes first
        images = answered(runs[name])
        wrong = images[images["label"] != images["called"]]
        (label, called), number = fullest(wrong.groupby(["label", "called"]).size())
        cell = [CLASSES.index(label), CLASSES.index(called)]
        click(page, chart, 1, cell, beside=(-35, 25))  # the whole cell answers, not its middle alone
        expect(page.get_by_text(f"{label} predicted {called}", exact=True)).to_be_in_viewport()
        expect(page.get_by_text(re.compile(rf"^{number} images?$")).first).to_be_visible()
        expect(page.get_by_alt_text(re.compile("^Image .*labelled"))).to_have_count(number)
    page.wait_for_function(f"{CHOSEN} === 1")  # the cell of the first matrix is let go
    until(lambda: is_closed(page, cell, f"{label} predicted {called}"), "the images of the cell closed")


def test_a_click_on_a_point_of_the_reliability_diagram_opens_the_images_of_its_scale(
    page: Page, app: App, runs: dict[str, Run]
):
    table = runs["Tiny"].predictions()
    columns = [f"score_{label}" for label in CLASSES]
    warm = calibration.tempered(table, calibration.fitted_temperature(table)).query("part == 'test'")
    show(page, app, "Calibration")
    for scale, top in enumerate((answered(runs["Tiny"])["top"], warm[columns].max(axis=1))):
        still(page, page.locator(".js-plotly-plot").nth(1))
        own, other = (page.evaluate(MARKS, [1, 1 + one]) for one in (scale, 1 - scale))
        alone = max(own, key=lambda mark: min(math.dist(place(mark), place(there)) for there in other))
        number = alone["stands_for"][1]
        images = int((np.ceil(top * BINS) - 1 == number).sum())
        click(page, 1, 1 + scale, [scale, number])
        name = "Tiny, calibrated" if scale else "Tiny"
        expect_images(page, f"{name}: {100 * number / BINS:.0f} to {100 * (number + 1) / BINS:.0f} %", images)


def test_a_click_on_a_bar_of_the_score_histogram_opens_its_images(page: Page, app: App, runs: dict[str, Run]):
    images = answered(runs["Tiny"])
    normal = images[images["label"] == "Normal"]
    bar, number = fullest((10 * normal["score_COVID"]).astype(int).clip(upper=9).value_counts())
    show(page, app, "Scores")
    click(page, 1, 3, [1, bar])
    expect_images(page, f"Normal: score of COVID {10 * bar} to {10 * bar + 10} %", number)


def test_a_click_on_a_pair_opens_what_either_has_right_alone(page: Page, app: App, runs: dict[str, Run]):
    first, second = (
        images["label"] == images["called"] for images in (answered(runs["Tiny"]), answered(runs["Second"]))
    )
    show(page, app, "Pairs")
    click(page, 1, 1, [0, 1])
    expect_images(page, "Tiny correct, Second wrong", int((first & ~second).sum()))
    expect_images(page, "Second correct, Tiny wrong", int((second & ~first).sum()))


def test_a_image_opens_with_the_scores_and_heat_maps_of_all_runs(page: Page, app: App, runs: dict[str, Run]):
    page.goto(f"{app.url}/compare?view=Images")
    hardest = page.get_by_role("button", name=re.compile(r"^(COVID|Normal|Viral Pneumonia)-\d+$")).first
    name = hardest.inner_text()
    hardest.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_alt_text(re.compile(f"^Chest X-ray .*{name}"))).to_be_visible()
    image = re.compile(rf"/{name}\.")
    for run in runs.values():
        expect(dialog.get_by_alt_text(re.compile(f"^Heat map of {run.name} over .*{name}"))).to_be_visible()
        row = answered(run)[lambda images: images["image_id"].str.contains(image)].iloc[0]
        expect(dialog.get_by_text(f"{run.name}: {row['called']} {share(row['top'])}")).to_be_visible()


def test_the_keyboard_reaches_a_bar_and_the_address_opens_it_again(page: Page, app: App, runs: dict[str, Run]):
    images = answered(runs["Second"])
    bar, number = fullest(
        (10 * images.query("label == 'Normal'")["score_COVID"]).astype(int).clip(upper=9).value_counts()
    )
    page.goto(f"{app.url}/compare?view=Images")
    choose(page, "Which images", "A bar of the score histogram")
    choose(page, "Run", "Second")
    choose(page, "Label", "Normal")
    choose(page, "From", f"{10 * bar} to {10 * bar + 10} %")
    told = re.compile(rf"^{number} images?$")
    expect(page.get_by_text(told)).to_be_visible()
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    expect(page.get_by_text(told)).to_be_visible()
    expect(page.get_by_role("combobox", name="Label", exact=True)).to_have_value("Normal")


def _is_open(page: Page, label: str) -> bool:
    """Opened by a key, pressed again where the key was lost to a page drawn anew."""
    idle(page)
    page.get_by_role("combobox", name=label, exact=True).focus()
    page.keyboard.press("ArrowDown")
    try:
        page.get_by_role("option").first.wait_for(timeout=4_000)
    except TimeoutError:
        return False
    return True


def choose(page: Page, label: str, value: str) -> None:
    """Choose in a select box by keys alone."""
    until(lambda: _is_open(page, label), f"the choices of {label!r}")
    page.keyboard.type(value)
    expect(page.get_by_role("option").first).to_have_text(value)
    frames(page)  # the first of the list becomes the one that Enter takes
    page.keyboard.press("Enter")
    expect(page.get_by_role("combobox", name=label, exact=True)).to_have_value(value)
    idle(page)
