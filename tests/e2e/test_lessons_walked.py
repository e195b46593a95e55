"""The lessons in a browser, from the story to the summary; each figure on the screen is computed again here.

One is walked every day, the other three, which differ in their runs and figures, with the soak tests.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from app_server import App
from playwright.sync_api import Page, expect
from states import downloaded
from waiting import until

from covid_core.data.imports import importing
from covid_core.lessons import preparation
from covid_core.runs import store
from covid_core.runs.store import Run
from covid_core.workspace import Workspace

FEW_IMAGES = 60
Z = 1.959963984540054


@pytest.fixture(scope="module")
def workspace(app: App) -> Workspace:
    return Workspace(app.home / "workspace")


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def wilson(hits: int, images: int) -> str:
    """A share and its score interval as the page writes them, by the formula."""
    p, half = hits / images, Z * np.sqrt(hits / images * (1 - hits / images) / images + Z**2 / (4 * images**2))
    low, high = ((p + Z**2 / (2 * images) + sign * half) / (1 + Z**2 / images) for sign in (-1, 1))
    return f"{percent(p)} [{100 * max(0, low):.1f}, {100 * min(1, high):.1f}]"


def right(table: pd.DataFrame) -> np.ndarray:
    """Whether each test image of a prediction table got its label as the answer."""
    test = table[table["part"] == "test"]
    scores = [name for name in test.columns if name.startswith("score_")]
    called = np.array([name.removeprefix("score_") for name in scores])[test[scores].to_numpy().argmax(axis=1)]
    return called == test["label"].to_numpy()


def labelled(table: pd.DataFrame, label: str) -> np.ndarray:
    return (table.loc[table["part"] == "test", "label"] == label).to_numpy()


def run_of(workspace: Workspace, key: str, role: str) -> Run:
    return preparation.state_of(workspace, key).run(role)


def predict_and_prepare(page: Page, app: App, workspace: Workspace, key: str, prediction: int) -> None:
    """Story, prediction, runs; ends on the outcome."""
    page.goto(f"{app.url}/lessons?lesson={key}&step=1")
    page.get_by_role("button", name="Next: Your prediction").click()
    page.get_by_role("spinbutton", name="Your prediction, %").fill(str(prediction))
    page.get_by_role("button", name="Keep my prediction").click()
    page.get_by_role("button", name="Prepare the lesson").click()
    expect(page.get_by_text(re.compile("^Prepared in "))).to_be_visible()
    page.get_by_role("button", name="Next: What came out").click()
    expect(page.get_by_text(f"You predicted {prediction} %.", exact=False)).to_be_visible()


def said(page: Page) -> str:
    expect(page.get_by_text("All intervals are 95 %", exact=False)).to_be_visible()
    return re.sub(r"\s+", " ", page.locator("[data-testid=stMain]").inner_text())


def summed_up(page: Page, tmp_path: Path) -> str:
    """The text of the summary to print, downloaded by its button."""
    page.get_by_role("button", name="7 Summary").click()
    page.get_by_role("button", name="Make the summary to print").click()
    summary = downloaded(page, "Summary to print", tmp_path / "summary.html")
    assert "You predicted" in summary  # once it was asked for outside the session, where nothing is known of it
    return summary.replace("\N{NO-BREAK SPACE}", " ")


def test_an_outcome_is_not_shown_before_a_prediction(page: Page, app: App):
    page.goto(f"{app.url}/lessons?lesson=corner-tag&step=4")
    expect(page.get_by_text("The outcome comes after your prediction.")).to_be_visible()


@pytest.mark.soak
def test_the_shifted_labels_score_the_courses_figure_and_nothing_was_learned(
    page: Page, app: App, workspace: Workspace, tmp_path: Path
):
    predict_and_prepare(page, app, workspace, "shifted-labels", 40)
    run = run_of(workspace, "shifted-labels", "shifted")
    table = run.predictions()
    hits, images = int(right(table).sum()), len(right(table))
    largest = table.loc[table["part"] == "test", "label"].value_counts().iloc[0]
    folders = run.split().set_index("image_id")["folder_label"]
    shown = table.assign(label=folders.loc[table["image_id"]].to_numpy())
    honest = right(run_of(workspace, "shifted-labels", "right").predictions())
    text = said(page)
    assert f"the majority baseline (COVID) reaches {percent(largest / images)}" in text
    assert percent(largest / images) == "89.6 %"
    assert f"It is {wilson(hits, images)} of {images} test images" in text
    assert f"the same predictions are right on {wilson(int(right(shown).sum()), images)}" in text
    assert f"the right labels reaches {wilson(int(honest.sum()), len(honest))}" in text
    assert wilson(hits, images) in summed_up(page, tmp_path)


@pytest.mark.soak
def test_the_letter_in_the_corner_decides(page: Page, app: App, workspace: Workspace, tmp_path: Path):
    predict_and_prepare(page, app, workspace, "corner-tag", 90)
    run = run_of(workspace, "corner-tag", "tagged")
    inside = right(run.predictions())
    other = {one.record.dataset.name: right(one.table()) for one in run.evaluations()}
    text = said(page)
    figures = [wilson(int(hits.sum()), len(hits)) for hits in (inside, *(other[n] for n in sorted(other)))]
    assert f"With its letter on the image the network is right on {figures[0]} of {len(inside)} test images" in text
    assert f"With the other hospital's letter, on {figures[1]}" in text
    assert f"Without it, on {figures[2]}" in text
    heat = preparation.state_of(workspace, "corner-tag").job.result["heat"]["own"]
    assert f"Of the heat, {percent(heat['share'])}" in text
    assert inside.mean() > 0.9 and other["without the letter"].mean() < 0.75
    assert heat["share"] > 3 * heat["chance"]
    assert figures[2] in summed_up(page, tmp_path)


@pytest.mark.soak
def test_the_rare_class_is_overlooked_and_the_ways_out_find_more(
    page: Page, app: App, workspace: Workspace, tmp_path: Path
):
    predict_and_prepare(page, app, workspace, "rare-class", 80)
    tables = {
        role: run_of(workspace, "rare-class", role).predictions()
        for role in ("none", "class_weights", "oversample", "undersample")
    }
    found = {role: right(table)[labelled(table, "COVID")] for role, table in tables.items()}
    text = said(page)
    plain, sick = right(tables["none"]), found["none"]
    assert f"“As they are” is right on {wilson(int(plain.sum()), len(plain))} of {len(plain)} images" in text
    assert f"overlooks {len(sick) - int(sick.sum())} of {len(sick)} COVID images" in text
    for role, name in (
        ("class_weights", "Class weights"),
        ("oversample", "Oversampling"),
        ("undersample", "Undersampling"),
    ):
        gained, lost = int((found[role] & ~sick).sum()), int((sick & ~found[role]).sum())
        assert re.search(
            f"“{name}” detects {gained} COVID images? that the plain run overlooks and overlooks {lost}", text
        )
    assert max(hits.mean() for hits in found.values()) > sick.mean()
    assert wilson(int(plain.sum()), len(plain)) in summed_up(page, tmp_path)


def test_duplicates_across_parts_make_a_model_appear_right_where_nothing_can_be_learned(
    page: Page, app: App, workspace: Workspace, tmp_path: Path
):
    predict_and_prepare(page, app, workspace, "twin", 50)
    apart, together = (
        right(run_of(workspace, "twin", role).predictions()).mean() for role in ("stratified", "grouped")
    )
    groups = run_of(workspace, "twin", "grouped").split().set_index("image_id")["group"]
    split = run_of(workspace, "twin", "stratified").split().set_index("image_id").assign(group=groups)
    tested, trained = (split[split["part"] == part] for part in ("test", "train"))
    text = said(page)
    assert f"With a random split, the model is right on {percent(apart)}" in text
    assert f"With a group split the same model is right on {percent(together)}" in text
    leaked = int(tested["group"].isin(trained["group"]).sum())
    assert f"{leaked} of {len(tested)} test images had a duplicate among the training images" in text
    assert apart > together
    assert percent(apart) in summed_up(page, tmp_path)


def test_a_lesson_checks_the_users_own_images_and_a_reset_leaves_no_run_behind(
    page: Page, app: App, workspace: Workspace
):
    images = importing.import_phantom(workspace, images=FEW_IMAGES, seed=1)
    share = percent(images.counts["Normal"] / FEW_IMAGES)
    normal = f"The majority baseline (Normal) is right on {share} of {FEW_IMAGES} images"
    page.goto(f"{app.url}/lessons?lesson=rare-class&step=6")
    expect(page.get_by_text(normal, exact=False)).to_be_visible()
    page.goto(f"{app.url}/lessons")
    expect(page.get_by_text(re.compile("[14] of 4 lessons (is|are) prepared"))).to_be_visible()
    page.get_by_role("button", name="Reset all lessons").click()
    page.get_by_role("button", name="Reset now").click()
    expect(page.get_by_text("0 of 4 lessons are prepared", exact=False)).to_be_visible()
    until(lambda: not (workspace.root / "lessons").exists(), "lessons that are gone")
    assert store.list_runs(workspace) == ([], [])
    page.goto(f"{app.url}/train")
    expect(page.get_by_text("Nothing has been trained yet.", exact=False)).to_be_visible()
