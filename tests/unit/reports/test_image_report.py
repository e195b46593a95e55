"""The report of one image: everything in one page, and nothing that names anybody."""

import re

import numpy as np
import pytest
from made_assessments import CLASSES, REFUSED, assessment, grey
from made_runs import all_parts, made_run

from covid_core.audit.model.randomisation_test import unknown
from covid_core.inference.lungs import LungOutline
from covid_core.inference.training_match import TrainingMatch
from covid_core.reports import image_report
from covid_core.reports.comparison_text import in_words
from covid_core.runs import candidates

SIZES = {"train": 12, "validation": 6, "test": 6}


@pytest.fixture
def run(workspace):
    return made_run(workspace, all_parts(SIZES, 1), "One <b>")


def heat(_label: str, shape: tuple[int, int]) -> np.ndarray:
    """Hot in the middle of the upper half."""
    found = np.zeros(shape, np.float32)
    found[20:30, 20:40] = 1
    return found


def page(run, name="One", mask=None, **more) -> str:
    image = grey(warnings=("A name may be burned in.",), notes=("inverted",))
    one = assessment(name, image=image, heat=heat, warnings=image.warnings, **more)
    return image_report.to_html([(run, one)], lambda _run: LungOutline(mask), lambda _run: unknown("it was not made"))


def test_it_loads_nothing_and_runs_nothing(run):
    text = page(run)
    assert not re.findall(r"(?:src|href)=\"(?!data:)", text)
    assert "<script" not in text
    assert "default-src 'none'" in text


HELD = (
    "COVID, not Normal or Viral Pneumonia.",
    "62.9 %",
    "It looks like a frontal chest image.",
    "The test of the heat map is inconclusive: it was not made.",
    "COVID (distance 0.71)",
    "A name may be burned in.",
    "Not a medical device",
    "<h2>Limits</h2>",
    "on 6 test images (majority baseline",
)


@pytest.mark.parametrize("words", HELD)
def test_it_holds_answer_probabilities_checks_neighbours_and_limits(run, words):
    assert words in page(run)


def test_a_map_is_told_with_its_share_inside_the_lungs_where_these_are_known(run):
    share = "100 % of the heat lies inside the lungs, 2.0 times chance: the lungs fill 50 % of the image."
    assert share in page(run, mask=np.arange(60)[:, None].repeat(80, axis=1) < 30)
    assert "of the heat lies" not in page(run)


def test_it_holds_the_image_and_its_map(run):
    assert page(run).count('<img src="data:image/') == 2


def test_every_picture_has_an_alternative_text(run):
    assert all('alt="' in tag for tag in re.findall(r"<img[^>]*>", page(run)))


def test_names_are_shown_letter_by_letter(run):
    assert "One <b>" not in page(run, "One <b>")
    assert "One &lt;b&gt;" in page(run, "One <b>")


def test_no_image_of_another_patient_and_no_id_of_one_is_in_it(run):
    assert "a.png" not in page(run)


def test_a_image_of_the_training_part_is_not_named(run):
    told = page(run, training=TrainingMatch("COVID/doe-jane.png"))
    assert "This image was in the training part. It shows nothing" in told
    assert "doe-jane" not in told


def test_a_image_that_failed_a_check_has_the_reason_and_no_numbers(run):
    text = page(run, checks=REFUSED)
    assert "I do not know. It does not look like a frontal chest image." in text
    assert "62.9 %" not in text and "84.4 %" not in text
    assert text.count('<img src="data:image/') == 1


def test_who_asked_for_the_numbers_anyway_finds_them_with_the_check_that_failed(run):
    text = page(run, checks=REFUSED, anyway=True)
    assert "62.9 %" in text
    assert "Shown although a check failed: It does not look like a frontal chest image." in text
    assert "although" not in page(run, anyway=True)


def test_a_image_is_called_after_its_pixels_alone():
    assert image_report.file_name(grey()) == image_report.file_name(grey(notes=("read otherwise",)))
    assert re.fullmatch(r"second-look-[0-9a-f]{8}\.html", image_report.file_name(grey()))


def test_a_run_whose_predictions_are_gone_says_so(run):
    run.predictions_path.unlink()
    assert "Its accuracy is not known" in page(run)


def test_the_card_says_what_the_largest_class_alone_would_reach(run):
    assert "majority baseline" in image_report.card_line(run)
    assert set(CLASSES) <= set(run.classes)


def test_the_card_has_the_interval_of_the_comparison_where_images_belong_together(workspace):
    table = all_parts({"train": 12, "validation": 6, "test": 60}, 1)
    parts = table[["image_id", "label", "part"]].assign(group=table["part"] + (table.index // 10).astype(str))
    run = made_run(workspace, table, parts=parts)
    found = candidates.assess(run, intervals=False).test
    assert found != candidates.assess(made_run(workspace, table), intervals=False).test
    assert f"Its accuracy is {in_words(found)} on 60 test images" in image_report.card_line(run)
