"""The lessons' images, what stays of them and what is removed, and the figures and words of the runs' predictions."""

import re

import made_lessons
import numpy as np
import pandas as pd
import pytest
from made_data import made_dataset
from made_runs import made_run

from covid_core.audit import dataset_audit
from covid_core.data import duplicates
from covid_core.data.dataset import decide
from covid_core.data.decisions import LEAVE_OUT, RELABEL, Decision
from covid_core.data.split import make_split
from covid_core.errors import DataError, UnknownId
from covid_core.images.codec import to_square
from covid_core.jobs import queue
from covid_core.lessons import catalogue, image_sets, outcomes, own_data, preparation, summary
from covid_core.lessons.catalogue import LESSONS
from covid_core.lessons.pictures import Picture, of_story
from covid_core.runs import store
from covid_core.synthetic import phantom

KEYS = [lesson.key for lesson in LESSONS]


def outcome(workspace, key: str) -> outcomes.Outcome:
    return outcomes.of(catalogue.named(key), preparation.state_of(workspace, key))


# Images


@pytest.mark.parametrize("lesson", LESSONS, ids=KEYS)
def test_a_image_of_a_lesson_is_the_same_whenever_it_is_drawn(lesson):
    last = lesson.images - 1
    assert (lesson.image_at(last, 3).pixels == lesson.image_at(last, 3).pixels).all()
    assert (lesson.image_at(last, 3).pixels != lesson.image_at(last, 4).pixels).any()


@pytest.mark.parametrize("lesson", LESSONS, ids=KEYS)
def test_a_story_shows_images_that_say_what_they_are(lesson):
    assert all(one.caption and one.pixels.shape == (image_sets.SIDE, image_sets.SIDE) for one in of_story(lesson))


@pytest.mark.parametrize("lesson", LESSONS, ids=KEYS)
def test_no_word_before_the_prediction_holds_a_result_and_sentences_are_short(lesson):
    before = [lesson.title, lesson.question, *lesson.story]
    assert not [text for text in before if re.search(r"\d ?%|nearly all|no better", text)]
    texts = [*before, lesson.prediction_question, *lesson.why, *(words for _, words in lesson.guards)]
    sentences = [one for text in texts for one in re.split(r"(?<=[.?!:;]) ", text)]
    assert max(len(one.split()) for one in sentences) <= 25


def test_the_shifted_labels_have_the_courses_share_of_the_largest_class():
    labels = [label for label, count in phantom.class_counts(catalogue.SHIFTED_IMAGES).items() for _ in range(count)]
    table = pd.DataFrame({"image_id": [f"{label}-{i}" for i, label in enumerate(labels)], "label": labels})
    spec = catalogue.named("shifted-labels").trainings[0].spec("any", 0)
    made = make_split(table, spec.classes, spec.split, spec.labels)
    test = made[made["part"] == "test"]["label"].value_counts()
    assert f"{100 * test.max() / test.sum():.1f}" == "89.6"  # the course's 579 of 646


def test_a_image_without_its_letter_differs_from_the_tagged_one_in_the_letter_alone():
    tagged = catalogue.named("corner-tag").image_at(0, 0)
    bare = preparation.redrawn("COVID/COVID-1.png", 0)
    assert ((tagged.pixels != bare) <= phantom.tag("COVID", image_sets.SIDE)).all()
    assert (tagged.pixels != bare).any()


def test_the_letter_lies_in_the_corner_whose_heat_is_measured():
    for label in catalogue.PAIR:
        assert (phantom.tag(label, image_sets.SIDE) <= preparation.corner(label)).all()


def test_duplicates_are_detected():
    lesson = catalogue.named("twin")
    drawn = [to_square(lesson.image_at(index, 0).pixels, 128) for index in range(40 * catalogue.TIMES_SAVED)]
    pairs = duplicates.pairs(np.stack(drawn))
    same = pairs["first"] // catalogue.TIMES_SAVED == pairs["second"] // catalogue.TIMES_SAVED
    assert same.all() and len(pairs) == 40 * 3


def test_labels_of_duplicates_have_nothing_to_do_with_what_is_drawn():
    lesson = catalogue.named("twin")
    some = [lesson.image_at(index, 0) for index in range(0, 60, 3)]
    assert {image.label for image in some} == {"COVID", "Normal"}
    assert {image.true_label for image in some} == {"Normal"}


# What is kept and removed


def test_the_state_of_a_lesson_makes_no_folder(workspace):
    assert preparation.state_of(workspace, "twin").status is None
    assert not workspace.root.exists()


def test_a_lesson_that_does_not_exist_is_refused(workspace):
    with pytest.raises(UnknownId, match="There is no lesson 'lunch'"):
        preparation.state_of(workspace, "lunch")


def test_a_second_session_does_not_start_a_lesson_that_is_at_work(workspace, monkeypatch):
    monkeypatch.setattr(queue, "launch", lambda job: None)
    first = preparation.prepare(workspace, "twin")
    assert first.is_active
    assert preparation.prepare(workspace, "twin", seed=5).job.id == first.job.id


def test_preparing_again_leaves_nothing_of_the_attempt_before(workspace, monkeypatch):
    monkeypatch.setattr(queue, "launch", lambda job: None)
    failed = made_lessons.job(workspace, "twin", store.FAILED, reason="No disk.")
    again = preparation.prepare(workspace, "twin", seed=5)
    assert again.seed == 5 and not failed.path.exists()


def test_a_reset_removes_the_lesson_and_nothing_of_the_users(workspace):
    made_lessons.rare_class(workspace)
    mine = store.create_job(workspace, "import", {})
    preparation.reset(workspace, "rare-class")
    assert not (workspace.root / "lessons").exists()
    assert mine.path.is_dir()


def test_a_reset_of_one_lesson_leaves_the_others(workspace):
    made_lessons.rare_class(workspace)
    made_lessons.corner_tag(workspace, without=20)
    preparation.reset(workspace, "rare-class")
    assert preparation.state_of(workspace, "corner-tag").is_ready


def test_a_run_of_a_lesson_that_was_reset_meanwhile_is_not_found_and_brings_no_folder_back(workspace):
    made_lessons.rare_class(workspace)
    stale = preparation.state_of(workspace, "rare-class")
    assert stale.is_ready
    preparation.reset(workspace, "rare-class")
    with pytest.raises(UnknownId, match="Prepare it again"):
        stale.run("none")
    assert not (workspace.root / "lessons").exists()


def test_the_users_lists_hold_no_run_of_a_lesson(workspace):
    made_lessons.rare_class(workspace)
    assert store.list_runs(workspace) == ([], [])
    assert store.list_jobs(workspace) == []


# Outcomes


def test_sentences_of_an_outcome_have_25_words_at_most(workspace):
    made_lessons.rare_class(workspace)
    made_lessons.corner_tag(workspace, without=20)
    for key in ("rare-class", "corner-tag"):
        found = outcome(workspace, key)
        texts = [re.sub(r" \[[^]]*\]| %", "", text) for text in (found.headline, *found.details, found.against(40))]
        sentences = [one for text in texts for one in re.split(r"(?<=[.?!:;]) ", text)]
        assert max(len(one.split()) for one in sentences) <= 25


def test_the_rare_class_names_the_most_accurate_and_the_one_that_finds_most(workspace):
    made_lessons.rare_class(workspace)
    found = outcome(workspace, "rare-class")
    assert found.came_out
    assert "“class_weights” has" not in found.headline
    assert re.search(r"“undersample” detects 80\.0 % .* of them, with an accuracy of 68\.0 %", found.headline)
    assert found.result.value == 0.1 and found.result.n == 10
    assert "detects 7 COVID images that the plain run overlooks and overlooks 0 that it detects" in " ".join(
        found.details
    )


def test_where_the_most_accurate_run_finds_most_the_words_say_so(workspace):
    made_lessons.rare_class(workspace, found=(9, 6, 5, 8))
    found = outcome(workspace, "rare-class")
    assert not found.came_out
    assert "This time “none” has both" in found.headline


def test_ways_out_that_find_no_more_than_chance_are_no_effect(workspace):
    made_lessons.rare_class(workspace, found=(1, 3, 2, 2))
    found = outcome(workspace, "rare-class")
    assert not found.came_out
    assert "detects 2 COVID images that the plain run overlooks" in " ".join(found.details)
    assert "(not significant, exact" in " ".join(found.details)


def test_one_of_three_ways_out_that_is_just_beyond_chance_is_no_effect(workspace):
    made_lessons.rare_class(workspace, found=(1, 3, 2, 7))  # p = 0.031 by itself, 0.094 as one of three
    found = outcome(workspace, "rare-class")
    assert not found.came_out
    assert "“undersample” detects 6 COVID images" in " ".join(found.details)
    assert "(significant" not in " ".join(found.details)


def test_images_of_one_patient_that_a_way_out_finds_are_one_find(workspace):
    """Nine images of one patient, found or overlooked together, are no evidence, however many they are."""
    alone = [str(image) for image in range(100)]
    for patients, came_out in ((alone, True), (["one"] * 9 + alone[9:], False)):
        made_lessons.rare_class(workspace, found=(0, 0, 0, 9), patients=patients)
        found = outcome(workspace, "rare-class")
        assert found.came_out == came_out
        assert "detects 9 COVID images that the plain run overlooks" in " ".join(found.details)
        assert ("exact McNemar p = 0.012" in " ".join(found.details)) == came_out
    assert found.rows[-1].sensitivity["COVID"].high - found.rows[-1].sensitivity["COVID"].low > 0.6


@pytest.mark.parametrize(
    "without, words",
    [(20, "no better than chance"), (36, "better than chance"), (4, "worse than chance")],
    ids=["chance", "better", "worse"],
)
def test_images_without_their_letter_are_held_against_chance(workspace, without, words):
    made_lessons.corner_tag(workspace, without)
    found = outcome(workspace, "corner-tag")
    assert words in found.headline
    assert "Of the heat, 50.0 % [45.0, 55.0]" in " ".join(found.details)


def test_a_letter_without_an_effect_is_reported_as_such(workspace):
    made_lessons.corner_tag(workspace, without=40)
    found = outcome(workspace, "corner-tag")
    assert not found.came_out
    assert "has no significant effect" in found.headline


@pytest.mark.parametrize(
    "prediction, words",
    [(50, "exactly as you predicted"), (60, "10.0 points less, inside"), (5, "45.0 points more, outside")],
)
def test_a_prediction_is_told_how_far_off_it_is(workspace, prediction, words):
    made_lessons.corner_tag(workspace, without=20)
    assert words in outcome(workspace, "corner-tag").against(prediction)


def test_the_table_has_a_row_for_each_answer_with_intervals_and_images(workspace):
    made_lessons.corner_tag(workspace, without=20)
    table = outcomes.table(outcome(workspace, "corner-tag"))
    assert list(table["Accuracy"]) == ["100.0 % [91.2, 100.0]", "50.0 % [35.2, 64.8]", "0.0 % [0.0, 8.8]"]
    assert set(table["Test images"]) == {"40"}


def test_the_summary_holds_prediction_outcome_figures_and_pictures_and_loads_nothing(workspace):
    made_lessons.corner_tag(workspace, without=20)
    found = outcome(workspace, "corner-tag")
    entry = summary.Entry(catalogue.named("corner-tag"), found, 80.0, [Picture(np.zeros((8, 8), np.uint8), "<b>dark")])
    page = summary.to_html([entry])
    assert "You predicted 80\u00a0%. It is 50.0\u00a0% [35.2, 64.8]" in page
    assert "<h1>One way a model fools you</h1>" in page
    assert "&lt;b&gt;dark" in page and "data:image/jpeg;base64," in page
    assert "http:" not in page and "https:" not in page and "<script" not in page


# One's own images


def test_the_mistake_is_computed_on_ones_own_counts(tmp_path):
    workspace, dataset = made_dataset(tmp_path, counts={"COVID": 30, "Normal": 80, "Viral Pneumonia": 12})
    checked = own_data.check(catalogue.named("shifted-labels"), workspace, dataset)
    assert "with 12 images of each class, 24 of 36 labels (66.7 %) would be another image's" in checked.sentences[0]
    assert list(checked.table["Labels beside them"]) == ["30", "6", "0"]


def test_even_classes_are_drawn_in_part_so_that_there_is_something_to_shift(tmp_path):
    workspace, dataset = made_dataset(tmp_path, counts={"COVID": 20, "Normal": 20})
    checked = own_data.check(catalogue.named("shifted-labels"), workspace, dataset)
    assert list(checked.table["Labels beside them"]) == ["20", "0"]


def test_a_rare_class_is_named_with_its_share_and_the_ways_out(tmp_path):
    workspace, dataset = made_dataset(tmp_path, counts={"COVID": 5, "Normal": 45})
    checked = own_data.check(catalogue.named("rare-class"), workspace, dataset)
    assert checked.sentences[0].startswith("The majority baseline (Normal) is right on 90.0 % of 50 images.")
    assert "an image of COVID counts as 9.0 of Normal" in checked.sentences[1]


def test_labels_that_were_changed_by_decision_are_not_said_to_be_those_of_the_folders(tmp_path):
    workspace, dataset = made_dataset(tmp_path, counts={"COVID": 20, "Normal": 20})
    wanted = [Decision(RELABEL, dataset.images["image_id"].iat[0], "Normal")]
    changed = decide(workspace, dataset.id, wanted, "Somebody")
    last = own_data.check(catalogue.named("shifted-labels"), workspace, changed).sentences[-1]
    assert "but for 1 image whose class was changed on the Audit page" in last


def test_the_ladder_of_images_from_before_a_decision_is_not_told_of_those_that_are_left(tmp_path):
    workspace, dataset = made_dataset(tmp_path, counts={"COVID": 12, "Normal": 12})
    dataset_audit.make(workspace, dataset)
    assert own_data.audited_ladder(workspace, dataset) is not None
    less = decide(workspace, dataset.id, [Decision(LEAVE_OUT, dataset.images["image_id"].iat[0])], "Somebody")
    assert own_data.audited_ladder(workspace, less) is None


def test_a_run_that_never_had_the_rare_class_is_not_said_to_miss_it(workspace):
    run = made_run(workspace, made_lessons.test_part(8), "Two classes")
    text = own_data._sensitivity_of(run, "Pneumonia")
    assert text.endswith("of its test images; Pneumonia is none of its classes.")
    assert "detects 80.0 % of COVID" in own_data._sensitivity_of(run, "COVID")


def test_images_without_duplicates(tmp_path):
    workspace, dataset = made_dataset(tmp_path, counts={"COVID": 8, "Normal": 8})
    assert "No two of 16 images" in own_data.check(catalogue.named("twin"), workspace, dataset).sentences[0]


def test_one_class_alone_is_refused_in_a_sentence(tmp_path):
    workspace, dataset = made_dataset(tmp_path, counts={"Normal": 8})
    with pytest.raises(DataError, match="has one class only"):
        own_data.check(catalogue.named("rare-class"), workspace, dataset)


# For real


@pytest.mark.slow
def test_a_lesson_is_prepared_by_its_job_and_stops_when_it_is_asked_to(workspace):
    now = preparation.prepare(workspace, "shifted-labels")
    preparation.reset(workspace, "shifted-labels")
    assert now.job.path.exists() is False
    assert not (workspace.root / "lessons").exists()
