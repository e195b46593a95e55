"""A class of three browsers on one server: one opens it, two join and predict, and only the first resets the lesson."""

from contextlib import ExitStack

import made_lessons
from app_server import App
from playwright.sync_api import Browser, Page, expect
from states import PATIENCE, idle
from waiting import until

from covid_core.workspace import Workspace

PREDICTIONS = (12, 18)  # per cent
BARS = ["2"]  # of ten per cent each, without the empty ones


def predict_step(page: Page, app: App, code: str) -> None:
    page.goto(f"{app.url}/lessons?lesson=corner-tag&step=2&class={code}")
    idle(page)


def test_the_predictions_of_a_class_are_live_before_the_outcome_and_its_opener_alone_resets(browser: Browser, app: App):
    workspace = Workspace(app.home / "workspace")
    made_lessons.corner_tag(workspace, without=20)
    expect.set_options(timeout=PATIENCE)
    with ExitStack() as opened:
        opener, *joiners = [opened.enter_context(browser.new_context()).new_page() for _ in range(3)]
        opener.goto(f"{app.url}/lessons")
        idle(opener)
        opener.get_by_role("button", name="Open a class").click()
        expect(opener.get_by_text("This browser opened the class", exact=False)).to_be_visible()
        code = opener.url.rpartition("class=")[2]
        predict_step(opener, app, code)
        expect(opener.get_by_text("The class has made 0 predictions.")).to_be_visible()

        for page, percent in zip(joiners, PREDICTIONS, strict=True):
            predict_step(page, app, code)
            expect(page.get_by_text("The class has made", exact=False)).to_have_count(0)
            page.get_by_role("spinbutton", name="Your prediction, %").fill(str(percent))
            page.keyboard.press("Enter")
            page.get_by_role("button", name="Keep my prediction").click()
            expect(page.get_by_text(f"You predicted {percent} %.")).to_be_visible()

        for page in (opener, *joiners):  # nobody has opened the page anew
            expect(page.get_by_text("The class has made 2 predictions.")).to_be_visible()
            expect(page.locator(".stPlotlyChart .bartext")).to_have_text(BARS)
            expect(page.locator(".stPlotlyChart .annotation-text")).to_have_count(0)  # a line of the outcome has one
        for page in joiners:
            expect(page.get_by_text("Only the browser that opened it resets them.", exact=False)).to_be_visible()
            expect(page.get_by_role("button", name="Reset this lesson")).to_have_count(0)

        opener.get_by_role("button", name="Reset this lesson").click()
        opener.get_by_role("button", name="Reset now").click()
        until(lambda: not (workspace.root / "lessons").exists(), "a lesson that is gone")
        predict_step(joiners[0], app, code)
        expect(joiners[0].get_by_role("spinbutton", name="Your prediction, %")).to_be_visible()
