"""The Lessons page as a student and an instructor see it, in every state; nothing here trains."""

import os
import time

import made_lessons
import pytest
from page_tests import opened, words

from covid_core import files
from covid_core.data.imports import importing
from covid_core.errors import JobRefused
from covid_core.jobs import queue, worker
from covid_core.jobs.kinds import HandoutRequest
from covid_core.lessons import classroom, pictures, preparation
from covid_core.lessons.catalogue import LESSONS
from covid_core.runs import store
from covid_core.runs.store import JobFolder
from pages.panels.lessons import class_panel

MASKS = ("0a1b2c3d", "ffee0011")
ME = classroom.visitor_of("me")


def opened_by(browser: str, step: str, lesson: str = "corner-tag", **address: str):
    """A lesson in a new session of a browser, which holds this secret."""
    return opened("lessons", {"lesson_visitor": browser}, lesson=lesson, step=step, **address)


def test_without_anything_prepared_all_four_lessons_are_offered(workspace):
    page = opened("lessons")
    said = words(page)
    for title in ("The shifted labels", "The corner tag", "The rare class", "The duplicate"):
        assert title in said
    assert "0 of 4 lessons are prepared" in said
    assert not (workspace.root / "lessons").exists()


def test_a_link_to_the_outcome_leads_to_the_prediction_first(workspace):
    page = opened("lessons", lesson="corner-tag", step="4")
    assert page.query_params["step"] == "2"
    assert "The outcome comes after your prediction." in words(page)


def test_a_prediction_can_be_kept_only_when_it_is_there(workspace):
    page = opened("lessons", lesson="corner-tag", step="2")
    page.button(key="keep-prediction").click().run()
    assert page.query_params["step"] == "2"
    assert "Enter a number from 0 to 100 first." in words(page)
    page.number_input(key="prediction-corner-tag").set_value(70)  # typed, without Enter: the click brings it along
    page.button(key="keep-prediction").click().run()
    assert page.query_params["step"] == "3"
    page.button(key="step-2").click().run()
    assert "You predicted 70 %." in words(page)


def test_without_predicting_the_one_who_presents_goes_on(workspace):
    page = opened("lessons", lesson="rare-class", step="2")
    page.button(key="show-anyway").click().run()
    assert page.query_params["step"] == "3"
    page.button(key="step-4").click().run()
    assert "The lesson is not prepared yet." in words(page)


def test_a_prepared_lesson_answers_the_prediction_with_figures(workspace):
    made_lessons.corner_tag(workspace, without=20)
    classroom.predict(workspace, ME, "corner-tag", 90.0)
    page = opened_by("me", "5")
    assert "Without it, on 50.0 % [35.2, 64.8]: no better than chance" in words(page)
    page.button(key="step-7").click().run()
    said = words(page)
    assert "You predicted 90 %. It is 50.0 % [35.2, 64.8] of 40 test images: 40.0 points less" in said


@pytest.mark.parametrize(
    "state, reason, said",
    [
        (store.FAILED, "The disk is full.", "failed. The disk is full."),
        (store.STOPPED, "", "was stopped. Nothing is kept."),
        (store.RUNNING, "", f"failed. {store.KILLED}"),
    ],
    ids=["failed", "stopped", "interrupted"],
)
def test_a_lesson_that_did_not_get_ready_says_why_and_can_be_tried_again(workspace, monkeypatch, state, reason, said):
    job = made_lessons.job(workspace, "twin", state, reason=reason)
    page = opened("lessons", lesson="twin", step="3")
    assert said in words(page)
    monkeypatch.setattr(queue, "launch", lambda job: None)
    page.button(key=f"again-{job.id}").click().run()
    assert preparation.state_of(workspace, "twin").is_active


def test_a_lesson_that_another_version_prepared_is_not_shown(workspace):
    made_lessons.job(workspace, "twin", store.COMPLETED, recipe=0)
    classroom.predict(workspace, ME, "twin", None)
    page = opened_by("me", "4", lesson="twin")
    assert "Another version of Second Look prepared it." in words(page)


def test_the_overview_counts_what_is_prepared_and_offers_the_summary_of_what_may_be_seen(workspace):
    made_lessons.corner_tag(workspace, without=20)
    made_lessons.job(workspace, "twin", store.FAILED, reason="The disk is full.")
    said = words(opened("lessons"))
    assert "1 of 4 lessons is prepared" in said
    assert "Its preparation has ended early. Open it for the reason." in said


def test_a_second_session_sees_that_the_lesson_is_being_prepared(workspace, monkeypatch):
    monkeypatch.setattr(queue, "launch", lambda job: None)
    job = preparation.prepare(workspace, "twin").job
    keys = [button.key for button in opened("lessons", lesson="twin", step="3").button]
    assert f"stop-{job.id}" in keys and "prepare" not in keys


def test_a_reset_removes_the_lesson_and_the_prediction(workspace):
    made_lessons.corner_tag(workspace, without=20)
    classroom.predict(workspace, ME, "corner-tag", 90.0)
    page = opened_by("me", "7")
    page.button(key="reset-corner-tag").click().run()
    assert page.query_params["step"] == "1"
    assert not (workspace.root / "lessons").exists()
    page.button(key="step-4").click().run()
    assert "The outcome comes after your prediction." in words(page)


def test_the_check_of_ones_own_images_says_how_to_get_some(workspace):
    assert "No data set yet." in words(opened("lessons", lesson="twin", step="6"))


@pytest.mark.parametrize("key", [lesson.key for lesson in LESSONS if lesson.key != "corner-tag"])
def test_each_lesson_looks_at_the_images_that_are_loaded(workspace, image_folder, key):
    importing.import_folder(workspace, image_folder({"COVID": 15, "Normal": 27}), "Images")
    said = words(opened("lessons", lesson=key, step="6"))
    assert {"shifted-labels": "another image's", "rare-class": "64.3 % of 42 images", "twin": "42 image"}[key] in said


def test_the_ladder_of_ones_own_images_is_climbed_when_it_is_asked_for(workspace, image_folder):
    importing.import_folder(workspace, image_folder({"COVID": 15, "Normal": 15}, side=128), "Images")
    page = opened("lessons", lesson="corner-tag", step="6")
    page.button(key="check-images").click().run()
    assert not page.exception
    assert "full picture" in words(page)


def test_an_unknown_lesson_is_told_in_a_sentence(workspace):
    assert "There is no lesson 'lunch'" in words(opened("lessons", lesson="lunch"))


# Predictions and classes


def test_a_prediction_survives_a_reload_and_is_of_one_browser(workspace):
    page = opened_by("me", "2")
    page.number_input(key="prediction-corner-tag").set_value(70).run()
    page.button(key="keep-prediction").click().run()
    assert "You predicted 70 %." in words(opened_by("me", "2"))
    assert "You predicted" not in words(opened_by("somebody", "2"))


def test_the_cookie_of_a_browser_is_one_visitor_however_it_is_masked():
    masked = [
        f"2|{mask}|{bytes(a ^ b for a, b in zip(b'token', bytes.fromhex(mask) * 2, strict=False)).hex()}|17"
        for mask in MASKS
    ]
    assert {class_panel._token(cookie) for cookie in masked} == {b"token".hex()}
    assert class_panel._token("") == class_panel._token("2|x|y|z") == ""


def test_six_browsers_predict_in_a_class_and_only_its_opener_resets_the_lesson(workspace):
    made_lessons.corner_tag(workspace, without=20)
    teacher = opened("lessons", {"lesson_visitor": "teacher"})
    teacher.button(key="open-class").click().run()
    code = teacher.query_params["class"]
    code = code if isinstance(code, str) else code[0]
    students = [opened_by(f"student {number}", "2", **{"class": code}) for number in range(5)]
    for number, student in enumerate(students):
        student.number_input(key="prediction-corner-tag").set_value(10 * number).run()
        student.button(key="keep-prediction").click().run()
    said = words(opened_by("teacher", "2", **{"class": code}))
    assert "The class has made 5 predictions." in said
    assert "The class has made 5 predictions." in words(opened_by("student 0", "4", **{"class": code}))
    assert "The class has made" not in words(opened_by("student 5", "2", **{"class": code}))  # predicts first
    page = opened_by("student 0", "1", **{"class": code})
    assert "reset-corner-tag" not in [button.key for button in page.button]
    for browser in ("student 0", "somebody"):
        with pytest.raises(JobRefused, match="Only the browser that opened it"):
            classroom.reset(workspace, classroom.visitor_of(browser), "corner-tag", code)
    opened_by("somebody", "1").button(key="reset-corner-tag").click().run()
    assert preparation.state_of(workspace, "corner-tag").is_ready
    opened_by("teacher", "1", **{"class": code}).button(key="reset-corner-tag").click().run()
    assert not (workspace.root / "lessons").exists()
    assert classroom.predictions(workspace, code, "corner-tag") == []


def test_without_a_class_a_reset_takes_nothing_from_other_browsers(workspace, monkeypatch):
    made_lessons.corner_tag(workspace, without=20)
    you = classroom.visitor_of("you")
    for visitor, percent in ((ME, 90.0), (you, 20.0)):
        classroom.predict(workspace, visitor, "corner-tag", percent)
    page = opened_by("me", "1")
    assert "Another browser uses this lesson. Its images and runs stay." in words(page)
    assert "again" not in [button.key for button in opened_by("me", "3").button]

    page.button(key="reset-corner-tag").click().run()

    assert classroom.prediction(workspace, ME, "corner-tag") == (False, None)
    assert classroom.prediction(workspace, you, "corner-tag") == (True, 20.0)
    assert preparation.state_of(workspace, "corner-tag").is_ready
    monkeypatch.setattr(classroom, "USED_SECONDS", 0.0)  # long ago
    opened_by("me", "1").button(key="reset-corner-tag").click().run()
    assert not (workspace.root / "lessons").exists()


def test_a_lesson_that_another_browser_prepares_is_not_removed(workspace, monkeypatch):
    monkeypatch.setattr(queue, "launch", lambda job: None)
    opened_by("you", "3", "twin").button(key="prepare").click().run()
    opened_by("me", "3", "twin").button(key="reset-twin").click().run()
    assert preparation.state_of(workspace, "twin").is_active
    assert not classroom.why_shared(workspace, classroom.visitor_of("you"), "twin")


def test_no_secret_of_a_browser_is_written_and_a_wrong_code_is_refused_in_a_sentence(workspace):
    page = opened("lessons", {"lesson_visitor": "the secret"})
    page.button(key="open-class").click().run()
    kept = [path for path in (workspace.root / "predictions").rglob("*") if path.is_file()]
    assert kept and not any(b"the secret" in path.read_bytes() for path in kept)
    assert "No class is open with the code 'LUNCH'" in words(opened_by("me", "1", **{"class": "LUNCH"}))


def test_the_class_code_is_large_where_the_class_was_opened_and_an_empty_one_is_refused_in_a_sentence(workspace):
    page = opened("lessons", {"lesson_visitor": "me"})
    page.button(key="join-class").click().run()
    assert "Enter the class code first." in words(page)
    page.button(key="open-class").click().run()
    assert f"Class {page.session_state['lesson_class']}" in [title.value for title in page.title]


def test_the_last_lesson_names_no_next_one(workspace):
    for lesson, follows in (("corner-tag", True), ("twin", False)):
        classroom.predict(workspace, ME, lesson, None)
        links = [str(one.proto.label) for one in opened_by("me", "7", lesson).get("page_link")]
        assert any(label.startswith("Next lesson: ") for label in links) is follows


def test_the_summary_is_a_job_that_outlives_its_page_and_is_downloaded_until_something_changes(workspace, monkeypatch):
    made_lessons.corner_tag(workspace, without=20)
    monkeypatch.setattr(pictures, "of_outcome", lambda *arguments: [])
    monkeypatch.setattr(queue, "launch", lambda job: job.write_launch(os.getpid(), 1))
    classroom.predict(workspace, ME, "corner-tag", 90.0)
    page = opened_by("me", "7")
    page.button(key="make-lesson-corner-tag").click().run()
    (job,) = queue.jobs(workspace, HandoutRequest)
    assert f"stop-{job.id}" in [button.key for button in opened_by("me", "7").button]
    assert worker.do(job.folder.path, 1) == 0
    assert "You predicted 90\u00a0%." in JobFolder(job.folder.path).result["page"]
    assert [one.label for one in opened_by("me", "7").get("download_button")][-1] == "Summary to print"
    classroom.predict(workspace, ME, "corner-tag", 10.0)
    assert "make-lesson-corner-tag" in [button.key for button in opened_by("me", "7").button]


def test_a_lesson_is_expected_to_take_as_long_as_the_last_one_took_here(workspace):
    assert preparation.expected_seconds(workspace, "twin") == preparation.SECONDS["twin"]
    made_lessons.corner_tag(workspace, without=20)  # in 20 s
    pace = 20 / preparation.SECONDS["corner-tag"]
    assert preparation.expected_seconds(workspace, "twin") == pytest.approx(pace * preparation.SECONDS["twin"])


def test_a_presented_lesson_opens_without_a_link_which_would_end_the_presentation(workspace):
    page = opened("lessons", present="1")
    assert not [link for link in page.get("page_link") if "lesson=" in link.proto.query_string]
    page.button(key="open-twin").click().run()
    assert (page.query_params["lesson"], page.query_params["present"]) == ("twin", "1")
    page.button(key="all-lessons").click().run()
    assert "lesson" not in page.query_params and page.query_params["present"] == "1"


def test_a_step_that_waits_for_the_prediction_has_its_reason_beside_it(workspace):
    page = opened("lessons", lesson="rare-class", step="3")
    assert page.button(key="next").disabled
    assert "The outcome comes after your prediction: step 2." in words(page)


def test_a_class_is_shared_by_an_address_that_is_not_presented(workspace):
    code = classroom.open_class(workspace, ME)
    page = opened("lessons", {"lesson_visitor": "me"}, present="1", **{"class": code})
    assert f"lessons?class={code}" in words(page)
    assert "by itself 3 h after its last prediction" in words(page)


def test_a_class_whose_opener_is_gone_ends_hours_after_its_last_prediction(workspace):
    code = classroom.open_class(workspace, ME)
    classroom.predict(workspace, "a", "twin", 70.0, code)
    folder = workspace.root / "predictions" / code
    before = time.time() - 2 * classroom.UNUSED_SECONDS
    files.write_json(folder / "class.json", {"opener": ME, "created": before})
    os.utime(folder / "class.json", (before, before))
    assert classroom.is_open(workspace, code)  # opened long ago, and in use
    os.utime(folder / "twin", (before, before))
    assert not classroom.is_open(workspace, code)
    assert classroom.why_shared(workspace, "another", "twin") == ""


def test_who_opened_a_class_reads_that_another_class_keeps_the_images(workspace):
    classroom.open_class(workspace, "another")
    classroom.open_class(workspace, ME)
    assert classroom.why_shared(workspace, ME, "twin") == classroom.ANOTHER_CLASS
    assert classroom.why_shared(workspace, "third", "twin") == classroom.NOT_OPENER
