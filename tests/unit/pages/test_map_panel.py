"""The map as a page shows it: not yet made, in the making, failed, whole, and of an earlier version."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_data import made_database, made_dataset
from page_tests import PATIENCE, words
from streamlit.testing.v1 import AppTest

from covid_core.audit import dataset_audit
from covid_core.audit.embedding import embedding_map, projection
from covid_core.data import dataset as data
from covid_core.data.decisions import DISMISS, LEAVE_OUT, Decision
from covid_core.jobs import queue
from covid_core.jobs.kinds import MapRequest
from covid_core.reports import audit_text
from covid_core.runs import store
from covid_core.runs.store import JobFolder, Status
from pages import shared
from pages.panels.audit import map_chart, map_panel

PAGES = Path(shared.__file__).parent.parent
APP = """
import streamlit as st
from pages.panels.audit import map_panel
from pages.shared import gallery, shell

def page():
    dataset = shell.pick_dataset()
    if dataset is not None:
        map_panel.tab(dataset)
        gallery.show_open_image(dataset)

st.navigation([st.Page(page, title="Map"), st.Page("home.py")]).run()
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A launched job waits: this process stands for its own. Where an image lies on a map in the end is no matter."""
    monkeypatch.setattr(queue, "launch", lambda *jobs: [job.write_launch(os.getpid(), 1) for job in jobs])
    monkeypatch.setattr(projection, "STEPS", (50, 50))


@pytest.fixture
def images(workspace, tmp_path):
    sources = {"COVID": ["https://a.org", "https://b.org"], "Normal": ["https://a.org"]}
    return made_database(tmp_path, workspace, counts={"COVID": 20, "Normal": 20}, sources=sources)[1]


@pytest.fixture
def shown(workspace, tmp_path):
    """The component as the only thing on a page."""

    def show(address: Mapping[str, str] | None = None, **session: object) -> AppTest:
        (tmp_path / "app").mkdir(exist_ok=True)
        if not (tmp_path / "app/home.py").exists():
            (tmp_path / "app/home.py").symlink_to(PAGES / "home.py")
        (tmp_path / "app/app.py").write_text(APP)
        page = AppTest.from_file(str(tmp_path / "app/app.py"), default_timeout=PATIENCE)
        for name, value in session.items():
            page.session_state[name] = value
        for name, value in (address or {}).items():
            page.query_params[name] = value
        page.run()
        assert not page.exception
        return page

    return show


def keys(page: AppTest) -> list[str]:
    return [button.key for button in page.button]


def names(page: AppTest, start: str) -> list[str]:
    """Images whose pictures a grid shows."""
    return [key.removeprefix(start) for key in keys(page) if key.startswith(start) and key.endswith(".png")]


def ended(job: JobFolder, state: str, **more: object) -> None:
    now = time.time()
    job.write_status(replace(Status(state), started=now - 70, updated=now, ended=now, **more))


# Not yet


def test_without_a_map_it_says_what_one_does_and_how_long_it_takes(shown, images):
    page = shown()
    assert "No map yet. The map draws every image as a point" in words(page).replace("**", "")
    assert "for 40 images" in words(page)
    assert page.button(key="map-start").label == "Make the map"


def test_too_few_images_are_told_without_a_button(shown, workspace, tmp_path):
    made_dataset(tmp_path, workspace, counts={"COVID": 4, "Normal": 3})
    page = shown()
    assert "it needs 10, and here are 7" in words(page)
    assert "map-start" not in keys(page)


def test_a_click_starts_a_job_that_is_watched_and_can_be_stopped(shown, workspace, images):
    page = shown()
    page.button(key="map-start").click().run()
    (job,) = queue.jobs(workspace, MapRequest)
    assert job.request.dataset == images.id
    assert "Map of Made database" in words(page)
    assert "map-start" not in keys(page)
    lock = job.folder.lock
    assert lock.try_acquire()
    try:
        job.folder.write_status(Status(store.RUNNING, progress=0.4, started=time.time(), seconds_left=30.0))
        page.run()
        assert "about 30 s left" in words(page)
        page.button(key=f"stop-{job.id}").click().run()
        assert job.folder.stop_requested()
    finally:
        lock.release()


def test_a_map_that_failed_tells_why_and_can_be_tried_again(shown, workspace, images):
    page = shown()
    page.button(key="map-start").click().run()
    (job,) = queue.jobs(workspace, MapRequest)
    ended(job.folder, store.FAILED, reason="The disk is full.")
    page.run()
    assert "Map of Made database failed. The disk is full." in words(page).replace("**", "")
    page.button(key=f"again-{job.id}").click().run()
    (again,) = queue.jobs(workspace, MapRequest)
    assert again.id != job.id


def test_a_stopped_map_is_told_until_it_is_dismissed(shown, workspace, images):
    page = shown()
    page.button(key="map-start").click().run()
    (job,) = queue.jobs(workspace, MapRequest)
    ended(job.folder, store.STOPPED)
    page.run()
    assert "was stopped. Nothing is kept." in words(page)
    page.button(key=f"dismiss-{job.id}").click().run()
    assert "was stopped" not in words(page)
    assert page.button(key="map-start")


# Whole


def test_above_the_map_stands_the_answer_and_what_it_was_made_from(shown, workspace, images):
    made = embedding_map.make(workspace, images)
    told = words(shown()).replace("**", "")
    for sentence in audit_text.neighbours(made):
        assert sentence in told
    assert "from the images themselves, 64 x 64 pixels" in told


def test_labels_and_outliers_are_listed_with_their_images(shown, workspace, images):
    made = embedding_map.make(workspace, images)
    page = shown()
    count = len(made.suspicious)
    assert f"{count} label{'s are' if count != 1 else ' is'} suspicious, among 40 images." in words(page)
    assert names(page, "map-suspicious-label-") == made.suspicious["image_id"].tolist()[: map_panel.PER_LIST]
    assert "robust deviations above the median of its" in words(page)


def test_a_dismissed_label_is_not_listed_any_more(shown, workspace, images):
    first = embedding_map.make(workspace, images).suspicious["image_id"].iat[0]
    data.decide(workspace, images.id, [Decision(DISMISS, first, finding=map_panel.SUSPICIOUS)], "A. Reader")
    assert first not in names(shown(), "map-suspicious-label-")


def test_a_choice_opens_the_gallery_with_its_images(shown, workspace, images):
    embedding_map.make(workspace, images)
    page = shown(map_chosen=(images.id, images.version, [3, 25], ""))
    assert "2 images chosen" in [title.value for title in page.subheader]
    assert names(page, "map-chosen-page-") == images.images["image_id"].iloc[[3, 25]].tolist()
    assert "Classes: COVID 1, Normal 1." in words(page)
    page.button(key="map-chosen-none").click().run()
    assert not names(page, "map-chosen-page-")


def test_a_choice_of_another_version_is_forgotten(shown, workspace, images):
    embedding_map.make(workspace, images)
    page = shown(map_chosen=(images.id, "another", [3, 25], ""))
    assert not names(page, "map-chosen-page-")


def test_all_images_of_a_colour_can_be_chosen_without_drawing(shown, workspace, images):
    embedding_map.make(workspace, images)
    page = shown()
    page.selectbox(key="map-group").select("Normal").run()
    page.button(key="map-choose-group").click().run()
    assert "20 images chosen" in [title.value for title in page.subheader]


def test_arrangement_and_colour_are_in_the_address(shown, workspace, images):
    embedding_map.make(workspace, images)
    page = shown({"map": map_chart.PCA, "colour": map_chart.SOURCE})
    assert "The two directions in which the images differ most" in words(page)
    assert page.selectbox(key="map-group").options == ["https://a.org", "https://b.org"]


@pytest.mark.parametrize("colour", [map_chart.SOURCE, map_chart.FINDING, "nonsense"])
def test_a_colour_that_this_data_set_cannot_have_gives_way_to_the_class(shown, workspace, tmp_path, colour):
    _, unknown = made_dataset(tmp_path, workspace, counts={"COVID": 12, "Normal": 12})
    embedding_map.make(workspace, unknown)
    page = shown({"colour": colour})
    assert page.selectbox(key="map-group").options == ["COVID", "Normal"]
    page = shown(colour=colour)
    assert page.selectbox(key="map-group").options == ["COVID", "Normal"]


def test_findings_of_the_audit_colour_the_map(shown, workspace, images):
    embedding_map.make(workspace, images)
    found = dataset_audit.make(workspace, images).quality.findings
    assert len(found)
    groups = shown({"colour": map_chart.FINDING}).selectbox(key="map-group").options
    assert set(groups) <= {"No finding", "Other findings", *found["finding"]}
    assert set(groups) & set(found["finding"])


def test_a_image_of_the_lists_opens(shown, workspace, images):
    embedding_map.make(workspace, images)
    page = shown()
    key = next(key for key in keys(page) if key.startswith("map-suspicious-label-") and key.endswith(".png"))
    page.button(key=key).click().run()
    assert page.query_params["image"] == key.removeprefix("map-suspicious-label-")


def test_after_a_decision_the_earlier_map_is_shown_and_can_be_made_again(shown, workspace, images):
    embedding_map.make(workspace, images)
    data.decide(workspace, images.id, [Decision(LEAVE_OUT, images.images["image_id"].iat[0])], "A. Reader")
    page = shown()
    assert "This map is of an earlier version" in words(page)
    assert page.button(key="map-start").label == "Make it again"


# The chart


def chart(page: AppTest) -> dict:
    (shown,) = page.get("plotly_chart")
    return json.loads(shown.proto.spec)


def test_every_group_is_a_trace_and_the_alternative_text_counts_it(shown, workspace, images):
    embedding_map.make(workspace, images)
    page = shown()
    assert [trace["name"] for trace in chart(page)["data"]] == ["COVID 20", "Normal 20"]
    (drawn,) = page.get("plotly_chart")
    assert drawn.proto.alt == "Map of 40 images, arranged by Neighbours (t-SNE), coloured by class: COVID 20, Normal 20"


def test_a_choice_that_was_not_drawn_on_this_chart_has_rings(shown, workspace, images):
    embedding_map.make(workspace, images)
    chosen = (images.id, images.version, [3, 25])
    ringed = chart(shown(map_chosen=(*chosen, "")))["data"]
    assert len(ringed) == 3
    drawn = f"{map_chart.TSNE}/{map_chart.CLASS}"
    assert len(chart(shown(map_chosen=(*chosen, drawn)))["data"]) == 2


def test_the_image_that_the_address_names_is_beside_the_map_and_opens(shown, workspace, images):
    embedding_map.make(workspace, images)
    identifier = images.images["image_id"].iat[25]
    page = shown({"point": identifier})
    assert "Class: Normal" in words(page)
    assert "Click a point" not in words(page)
    page.button(key="map-point-open").click().run()
    assert page.query_params["image"] == identifier


def test_an_image_that_the_map_lacks_gives_way_to_the_hint(shown, workspace, images):
    embedding_map.make(workspace, images)
    assert "Click a point" in words(shown({"point": "nowhere.png"}))


def test_a_selection_is_rows_of_images_and_nothing_else():
    traces = [np.array([4, 7]), np.array([0])]
    points = [{"curve_number": 0, "point_index": 1}, {"curve_number": 1, "point_index": 0}]
    wrong = [(None, 0), (0, None), (2, 0), (-1, 0), (0, 2), (0, -1), (True, 0), ("0", "1"), (0, 0.5)]
    points += [{"curve_number": trace, "point_index": index} for trace, index in wrong]
    assert map_chart.selected_rows([*points, {}], traces) == [0, 7]


def test_rare_values_share_a_grey_and_lie_below():
    values = np.array(["", *"aaabbccddeeffgghhi"])
    codes, groups = map_chart._most_frequent(values, "None", "Others")
    assert [group.name for group in groups[:2]] == ["None", "Others"]
    assert len(groups) == 2 + map_chart.MOST_GROUPS
    assert codes[0] == 0
    assert codes[-1] == 1
    assert groups[codes[1]].name == "a"
