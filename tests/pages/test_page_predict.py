"""The Predict page: empty, with unreadable images, with a broken run, and with a run that was really trained."""

import hashlib
import io
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from made_assessments import NEAR, PASSED, REFUSED
from made_data import made_dataset
from made_dicom import as_dicom
from made_runs import all_parts, made_run
from page_tests import opened, words
from PIL import Image
from streamlit.testing.v1 import AppTest
from trained_runs import dataset_of

from covid_core.data.masks import OWN, Origin
from covid_core.errors import ImageError, RunDamaged
from covid_core.formatting import probability
from covid_core.images.codec import png_bytes, read_image
from covid_core.inference import gate
from covid_core.inference.assessment import assess
from covid_core.inference.gate import CHEST_IMAGE, Check, Limit
from covid_core.inference.lungs import LungOutline
from covid_core.inference.network import Head
from covid_core.inference.predictor import Heat, Predictor, _sets_of
from covid_core.reports.prediction_text import check
from covid_core.runs import store, temperature_scaling
from covid_core.workspace import Workspace
from pages.shared import image_results, lung_segmenter, shell, uploads

SIZES = {"train": 12, "validation": 6, "test": 6}
UNDEFINED = dict.fromkeys(
    (
        "temperature",
        "log_loss_before",
        "log_loss_after",
        "expected_calibration_error_before",
        "expected_calibration_error_after",
    )
)
UNFIT = {**UNDEFINED, "images": 6, "note": "No temperature fits these images."}
WARM = {**UNDEFINED, "temperature": 2.0, "images": 322, "note": ""}


def noise(seed: int = 0, side: int = 64) -> bytes:
    return png_bytes(np.random.default_rng(seed).integers(0, 255, (side, side)).astype(np.uint8))


def upload(page: AppTest, *files: tuple[str, bytes]) -> AppTest:
    for name, content in files:
        page.file_uploader[0].upload(name, content)
    page.run()
    assert not page.exception
    return page


def select(page: AppTest, label: str, among=None, kind: str = "selectbox"):
    """The widget of that label."""
    return next(one for one in (among or page.get(kind)) if one.label == label)


def button(page: AppTest, label: str):
    return next(one for one in page.button if one.label == label)


def scores_of(page: AppTest):
    """The table of scores before calibration."""
    return next(one.dataframe[0].value for one in page.expander if one.label == "Scores before calibration")


def test_a_file_that_is_no_picture_gets_one_sentence_and_no_score(workspace):
    made_run(workspace, all_parts(SIZES, 1))
    page = upload(opened("predict"), ("letter.png", b"Dear colleague"))
    assert "letter.png: The file is not a readable PNG, JPEG, TIFF or DICOM image." in words(page).replace("**", "")
    assert not page.image


def test_a_name_with_markdown_is_shown_letter_by_letter(workspace):
    made_run(workspace, all_parts(SIZES, 1))
    page = upload(opened("predict"), ("![x](http://evil.test/p.png)", b"no picture"))
    assert r"\!\[x\]\(http\:" in page.error[-1].value


def test_a_run_without_its_model_is_told_in_a_sentence(workspace):
    made_run(workspace, all_parts(SIZES, 1), name="Hollow")
    page = upload(opened("predict"), ("image.png", noise()))
    assert "Hollow: head.npz is missing or was changed after training." in words(page)


def test_a_damaged_run_folder_leaves_the_others_alone(workspace):
    made_run(workspace, all_parts(SIZES, 1), name="Whole")
    (workspace.runs / "torn").mkdir()
    page = opened("predict")
    assert len(page.multiselect[0].options) == 1
    assert "torn: spec.json is missing or damaged." in words(page)


def test_a_run_in_the_address_that_does_not_exist_is_not_followed(workspace):
    run = made_run(workspace, all_parts(SIZES, 1))
    page = opened("predict", run="../../etc")
    assert page.multiselect[0].value == [run.id]
    assert "There is no finished run ../../etc" in words(page)


def test_of_two_runs_of_one_name_the_address_opens_the_right_one(workspace):
    runs = [made_run(workspace, all_parts(SIZES, skill), name="Twin") for skill in (1, 2)]
    for run in runs:
        page = opened("predict", run=run.id)
        assert page.multiselect[0].value == [run.id]
        assert any(run.id in option for option in page.multiselect[0].options)


def test_more_runs_in_the_address_than_can_be_asked_are_cut(workspace):
    runs = [made_run(workspace, all_parts(SIZES, 1), name=f"Run {number}") for number in range(10)]
    assert len(opened("predict", run=",".join(run.id for run in runs)).multiselect[0].value) == 8


class Quick(Predictor):
    """Calls every image COVID, and remembers how many images it was asked for at once, and which heat maps.

    Images that are brighter on the left it refuses, as no chest images.
    """

    def __init__(self, run: store.Run):
        calibration = temperature_scaling.of(run)
        super().__init__(run.classes, 64, QuickTrunk(), QUICK_HEAD, False, calibration, QuickReference(), _sets_of(run))
        self.asked: list[int] = []
        self.heat_maps: list[str] = []

    def outputs(self, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.asked.append(len(squares))
        return super().outputs(squares)

    def explained(self, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[Heat]]:
        def heat(label: str, shape: tuple[int, int]) -> np.ndarray:
            self.heat_maps.append(label)
            return np.full(shape, 0.5, np.float32)

        return *self.outputs(squares), [heat] * len(squares)


class QuickTrunk:
    """A network that finds the same in every image."""

    def maps(self, images: np.ndarray) -> list[np.ndarray]:
        return [np.ones((len(images), 2, 2, 1), np.float32)]


QUICK_HEAD = Head("mean", (np.log([[0.7, 0.2, 0.1]]).astype(np.float32),), (np.zeros(3, np.float32),))


class QuickReference:
    """Refuses images that are brighter on the left, or every image."""

    profile = None
    neighbourhood = SimpleNamespace(typicality=lambda _distance: 1.0)

    def __init__(self, refuses_all: bool = False):
        self.refuses_all = refuses_all

    def judgements(self, squares: np.ndarray, _features: np.ndarray) -> list:
        means = squares.astype(float).reshape(len(squares), 64, 2, 32).mean(axis=(1, 3))
        refused = (means[:, 0] > means[:, 1] + 50) | self.refuses_all
        return [(REFUSED if one else PASSED, NEAR) for one in refused]


def foreign() -> bytes:
    """A picture that ``Quick`` refuses."""
    pixels = np.zeros((64, 64), np.uint8)
    pixels[:, :32] = 255
    return png_bytes(pixels)


@pytest.fixture
def quick(workspace, monkeypatch) -> Quick:
    """A finished run whose predictor answers at once."""
    made = Quick(made_run(workspace, all_parts(SIZES, 1), result={"calibration": UNFIT}))
    monkeypatch.setattr(image_results, "_opened", lambda run: made)
    return made


@pytest.fixture
def quick_runs(monkeypatch) -> None:
    """Predictors of all runs answer at once, each with its own calibration."""
    monkeypatch.setattr(image_results, "_opened", Quick)


def warm_run(workspace: Workspace, name: str = "Warm", **made) -> store.Run:
    """A run whose temperature of 2 takes scores of 70, 20 and 10 % to probabilities of 52.3, 27.9 and 19.8 %."""
    return made_run(workspace, all_parts(SIZES, 1), name, result={"calibration": WARM}, **made)


def test_a_calibrated_run_answers_with_a_probability_and_its_score_beside_it(workspace, quick_runs):
    warm_run(workspace)
    page = upload(opened("predict"), ("image.png", noise()))
    told = words(page)
    assert "COVID has the highest probability: 52.3 %. Calibrated on 322 validation images." in told
    assert "Uncalibrated score: 70.0 %." in told
    assert "Temperature 2.00, fitted on 322 validation images" in told
    assert "It is not calibrated" not in told
    shown = scores_of(page)
    assert shown["Probability"].tolist() == ["52.3 %", "27.9 %", "19.8 %"]
    assert shown["Score"].tolist() == ["70.0 %", "20.0 %", "10.0 %"]


def test_a_run_that_is_not_calibrated_shows_scores_and_says_why(quick):
    told = words(upload(opened("predict"), ("image.png", noise())))
    assert "A score, not a probability." in told
    assert "It is not calibrated" in told
    assert UNFIT["note"] in told
    assert "Temperature" not in told


def test_a_run_from_before_is_calibrated_by_its_predictions(workspace, quick_runs):
    made_run(workspace, all_parts({"train": 30, "validation": 90, "test": 30}, 1))
    told = words(upload(opened("predict"), ("image.png", noise())))
    assert "has the highest probability" in told
    assert "90 validation images, which also chose the epoch (validation has fewer than 200 images)" in told


def test_probabilities_and_scores_stand_side_by_side_with_their_names(workspace, quick_runs):
    runs = [warm_run(workspace), made_run(workspace, all_parts(SIZES, 1), "Cold", result={"calibration": UNFIT})]
    page = upload(opened("predict", run=",".join(run.id for run in runs)), ("image.png", noise()))
    told = words(page)
    assert "Both runs predict COVID or Normal or Viral Pneumonia." in told
    assert "Warm: Temperature 2.00" in told
    assert f"Cold: {UNFIT['note']}" in told
    figure = page.get("plotly_chart")[0].proto.spec
    drawn = {name for bar in json.loads(figure)["data"] for name in bar["y"]}
    assert drawn == {"Warm<br>probability", "Cold<br>score"}
    shown = scores_of(page)
    assert shown["Probability"].tolist()[3:] == ["not calibrated"] * 3


def test_a_long_file_name_leaves_room_for_the_answer_in_the_work_list(workspace, quick_runs):
    run = warm_run(workspace)
    page = opened("predict", run=run.id)
    listed = upload(page, (f"{'long' * 20}.png", noise(1)), ("b.png", noise(2))).dataframe[0]
    assert json.loads(listed.proto.columns)["File"]["width"] <= 100  # of some 320 pixels that the list has


def test_a_table_of_images_names_what_each_column_is(workspace, quick_runs):
    runs = [warm_run(workspace), made_run(workspace, all_parts(SIZES, 1), "Cold", result={"calibration": UNFIT})]
    page = opened("predict", run=",".join(run.id for run in runs))
    shown = upload(page, ("a.png", noise(1)), ("b.png", noise(2))).dataframe[0].value
    of_runs = [
        run + column
        for run, scale in (("Warm", "probability"), ("Cold", "score"))
        for column in ("", f", {scale}", ", hottest place")
    ]
    assert shown.columns.tolist() == ["First", "Image", "File", "Why here", *of_runs]
    assert shown["Cold, hottest place"].tolist() == ["margin"] * 2  # the map is the same everywhere: its first place
    assert shown["Warm, probability"].tolist() == ["52.3 % (COVID)"] * 2


def test_the_page_asks_first_the_run_that_the_images_for_choosing_prefer(workspace):
    one = made_run(workspace, all_parts(SIZES, 1), "One", result={"selection_accuracy": 0.9, "accuracy": {}})
    accuracy = {"accuracy": {"validation": 0.95}, "selection_accuracy": 0.8}
    made_run(workspace, all_parts(SIZES, 1), "Two", result=accuracy)
    assert opened("predict").multiselect[0].value == [one.id]


def test_two_hundred_uploads_are_a_batch_and_a_broken_one_among_them_loses_nothing(quick):
    images = [(f"image-{number:03d}.png", noise(number, side=32)) for number in range(199)]
    page = upload(opened("predict"), *images[:99], ("broken.png", b"no picture"), *images[99:])
    shown = page.dataframe[0].value
    assert shown["File"].iat[0] == "broken.png"
    assert set(shown["File"][1:]) == {name for name, _ in images}
    assert shown["Why here"].iat[0] == "The file is not a readable PNG, JPEG, TIFF or DICOM image."
    assert shown["Image"].isna().tolist() == [True] + [False] * 199
    assert "200 images, most urgent first: 1 could not be read" in words(page).replace("**", "")
    assert max(quick.asked) == 16
    assert "The file is not a readable PNG" in words(page)  # the most urgent one is open
    assert "CSV" in [button.label for button in page.get("download_button")]


def test_of_many_images_the_most_urgent_is_open_and_each_has_one_heat_map_for_its_hottest_place(quick):
    page = upload(opened("predict"), ("a.png", noise(1)), ("b.png", noise(2)))
    assert "Image 1 of 2" in words(page)
    assert quick.heat_maps == ["COVID"] * 3  # two for the list, and the open one


def test_the_list_places_the_hottest_spot_beside_the_lungs_as_the_page_does(quick, monkeypatch):
    everywhere = LungOutline(np.ones((64, 64), bool))
    monkeypatch.setattr(image_results, "outline_of", lambda *_: everywhere)
    monkeypatch.setattr(Quick, "explained", in_the_middle)
    page = upload(opened("predict"), ("a.png", noise(1)), ("b.png", noise(2)))
    assert set(page.dataframe[0].value["Hottest place"]) == {"inside the lungs"}
    assert "The hottest place lies inside the outlined lungs." in words(page)


def in_the_middle(self: Quick, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[Heat]]:
    def heat(_label: str, shape: tuple[int, int]) -> np.ndarray:
        made = np.zeros(shape, np.float32)
        made[shape[0] // 2, shape[1] // 2] = 1
        return made

    return *self.outputs(squares), [heat] * len(squares)


def test_the_next_image_of_the_list_is_a_key_away_and_the_last_has_none(quick):
    page = upload(opened("predict"), ("a.png", noise(1)), ("b.png", noise(2)))
    assert button(page, "Previous").disabled
    button(page, "Next").click().run()
    assert "Image 2 of 2" in words(page) and button(page, "Next").disabled
    button(page, "Previous").click().run()
    assert "Image 1 of 2" in words(page)


def test_an_image_of_the_page_can_stand_beside_another(quick):
    page = upload(opened("predict"), ("a.png", noise(1)), ("prior.png", noise(2)))
    second = select(page, "Second image")
    second.set_value(next(value for value in second.options if value in ("a.png", "prior.png"))).run()
    assert not page.exception
    assert len(page.session_state["viewer_packed"]["viewer"]) == 2


def test_images_that_were_looked_at_are_not_looked_at_again(quick):
    page = upload(opened("predict"), ("a.png", noise(1)), ("b.png", noise(2)))
    asked = list(quick.asked)
    upload(page, ("a.png", noise(1)), ("b.png", noise(2)), ("c.png", noise(3)))
    assert quick.asked[len(asked) :][0] == 1 and 3 not in quick.asked


def test_another_class_is_explained_when_it_is_chosen(quick):
    page = upload(opened("predict"), ("image.png", noise()))
    select(page, "Map").set_value("Grad-CAM").run()
    select(page, "For the class").set_value("Normal").run()
    assert not page.exception
    assert (quick.heat_maps, quick.asked) == (["COVID", "COVID", "Normal"], [1])
    assert "COVID has the highest score" in words(page)


def test_equal_files_are_one_image_and_that_is_told(quick):
    told = words(upload(opened("predict"), ("a.png", noise(1)), ("again.png", noise(1))))
    assert "Equal files are listed once; repeated here: 1 file." in told


def test_files_of_which_none_can_be_read_are_listed_with_their_reasons(quick):
    page = upload(opened("predict"), *((f"{number}.png", f"letter {number}".encode()) for number in range(7)))
    assert set(page.dataframe[0].value["Why here"]) == {"The file is not a readable PNG, JPEG, TIFF or DICOM image."}
    assert quick.asked == []


# Refusals


def test_a_image_that_fails_a_check_gets_its_reason_and_no_scores(quick):
    page = upload(opened("predict"), ("flower.png", foreign()))
    told = words(page)
    assert "### I do not know." in told
    assert check(REFUSED[0]) in told
    assert "70.0 %" not in told and not page.get("plotly_chart")
    assert quick.heat_maps == []


def test_scores_of_a_refused_image_are_shown_to_who_asks_and_hidden_again(quick):
    page = upload(opened("predict"), ("flower.png", foreign()))
    button(page, "Show the scores anyway").click().run()
    assert "COVID has the highest score: 70.0 %" in words(page)
    warning = next(one for one in page.warning if "Shown although a check failed" in one.value)
    assert warning.value.startswith("Do not rely on these numbers.")
    order = [one.value for one in page.main if one.type in ("markdown", "warning")]
    assert "COVID" in order[order.index(warning.value) - 1]  # it follows the answer, before all notes
    button(page, "Hide the scores again").click().run()
    assert "70.0 %" not in words(page)


def test_a_image_that_was_not_read_has_no_scores_to_show(quick):
    page = upload(opened("predict"), ("letter.png", b"Dear colleague"))
    assert not [one for one in page.button if "anyway" in one.label]


def test_refused_images_stand_above_answered_ones(quick):
    page = upload(opened("predict"), ("image.png", noise()), ("flower.png", foreign()))
    shown = page.dataframe[0].value
    assert shown["File"].tolist() == ["flower.png", "image.png"]
    assert shown["Answer"].tolist() == ["no answer", "COVID or Normal or Viral Pneumonia"]


def test_a_run_of_an_earlier_version_is_not_believed_to_check_and_can_be_mended(quick):
    page = upload(opened("predict"), ("image.png", noise()))
    assert "cannot check whether an image is a chest X-ray" in words(page)
    assert any(one.label.startswith("Make the reference") for one in page.button)


# Sets of possible classes


def test_the_coverage_stands_in_the_address_and_decides_which_classes_stay_possible(workspace, quick_runs):
    made_run(workspace, all_parts({"train": 30, "validation": 300, "test": 60}, 1))
    answers = {}
    for coverage in ("70", "99"):
        page = upload(opened("predict", coverage=coverage), ("image.png", noise()))
        assert select(page, "Coverage", page.slider).value == int(coverage)
        answers[coverage] = next(one.value for one in page.markdown if one.value.startswith("### "))
    assert answers["70"] != answers["99"]
    assert "no class can be ruled out" in answers["99"]


def test_what_such_sets_are_worth_is_said_with_its_interval(workspace, quick_runs):
    made_run(workspace, all_parts({"train": 30, "validation": 300, "test": 60}, 1))
    page = upload(opened("predict"), ("image.png", noise()))
    assert "At 90 % target coverage, " in words(page)
    assert "of 60 prediction sets contain the true class" in words(page)


def test_a_coverage_that_cannot_be_had_is_not_taken_from_the_address(workspace, quick_runs):
    warm_run(workspace)
    assert select(opened("predict", coverage="100"), "Coverage", kind="slider").value == 90


def test_every_change_of_the_coverage_counts(workspace, quick_runs):
    warm_run(workspace)
    page = opened("predict")
    for coverage in (80, 75, 71):
        select(page, "Coverage", page.slider).set_value(coverage).run()
        assert select(page, "Coverage", page.slider).value == coverage
        assert page.query_params["coverage"] == str(coverage)


def test_a_image_that_was_taken_off_the_page_leaves_the_session(quick):
    page = upload(opened("predict"), ("flower.png", foreign()))
    button(page, "Show the scores anyway").click().run()
    page.file_uploader[0].set_value([]).run()
    assert not page.exception
    assert not any(page.session_state["predict_kept"].values())
    assert "viewer_packed" not in page.session_state


def test_a_window_that_shows_nothing_can_be_left_again(quick):
    image = as_dicom(read_image(noise()).pixels, WindowCenter=[2000, 100000], WindowWidth=[4000, 10])
    page = upload(opened("predict"), ("IM0001", image))
    select(page, "Read through").set_value(1).run()
    assert "leaves a single grey" in words(page)
    button(page, "Read it through its first window").click().run()
    assert "leaves a single grey" not in words(page)
    assert select(page, "Read through").value == 0


def test_a_image_of_black_and_white_alone_is_shown_too(quick):
    image = as_dicom(read_image(noise()).pixels, WindowCenter=2000, WindowWidth=1)
    assert not upload(opened("predict"), ("IM0001", image)).error


def test_the_image_that_was_chosen_stays_open_when_the_order_changes(quick):
    chosen = hashlib.sha256(noise(1)).hexdigest()
    page = opened("predict", session={"predict_opened": chosen})
    upload(page, ("image.png", noise()), ("other.png", noise(1)))
    for added in ((), (("flower.png", foreign()),)):
        upload(page, ("image.png", noise()), ("other.png", noise(1)), *added)
        assert list(page.session_state["predict_kept"]["open"]) == [f"{chosen}-0"]
    assert page.dataframe[0].value["File"].iat[0] == "flower.png"


def test_runs_that_are_called_like_a_column_hide_no_file_name(workspace, quick_runs):
    runs = [warm_run(workspace, name) for name in ("File", "Image")]
    page = opened("predict", run=",".join(run.id for run in runs))
    shown = upload(page, ("a.png", noise(1)), ("b.png", noise(2))).dataframe[0].value
    assert set(shown["File"]) == {"a.png", "b.png"}
    assert {"File (run)", "Image (run)"} <= set(shown.columns)


def test_a_segmenter_that_is_damaged_takes_nothing_but_the_outline(quick, monkeypatch):
    def damaged(_dataset: str) -> None:
        raise RunDamaged("The segmenter lungs-12345: lungs.tflite is missing or was changed after training.")

    monkeypatch.setattr(lung_segmenter, "opened", damaged)
    page = upload(opened("predict"), ("image.png", noise()))
    assert "lungs.tflite is missing or was changed after training." in words(page)
    assert not page.error and list(page.session_state["viewer_packed"]["viewer"])


def test_scores_that_were_asked_for_are_not_shown_for_another_refusal(quick):
    page = upload(opened("predict"), ("flower.png", foreign()))
    button(page, "Show the scores anyway").click().run()
    anyway = page.session_state["predict_kept"]["anyway"]
    ((key, refused),) = anyway
    assert check(REFUSED[0]) in refused
    anyway[key, "Another one."] = anyway.pop((key, refused))
    page.run()
    assert "### I do not know." in words(page)


def test_similar_images_are_told_though_their_data_set_is_gone(quick):
    told = words(upload(opened("predict"), ("image.png", noise())))
    assert "COVID, distance 0.71. The run's data set is not here any more" in told


def test_a_image_of_a_data_set_is_read_as_a_picture_or_not_at_all(tmp_path):
    """What else may lie in its place by now is a stranger's file, and those are not decoded in the server's process."""
    workspace, dataset = made_dataset(tmp_path)
    dataset.path_of(0).write_bytes(as_dicom(read_image(noise()).pixels))
    with pytest.raises(ImageError, match="not a readable PNG or JPEG image"):
        uploads.from_dataset(dataset, dataset.images["image_id"].iat[0]).read()


def test_the_outline_of_a_large_image_is_kept_small():
    mask = np.zeros((4000, 3000), bool)
    mask[1000:3000, 500:2500] = True
    small = image_results._small(LungOutline(mask, Origin(OWN)))
    assert max(small.mask.shape) <= image_results.LONGEST_MASK
    assert small.mask.mean() == pytest.approx(mask.mean(), abs=0.002)
    assert small.origin == Origin(OWN)


def test_the_report_of_a_image_can_be_downloaded(quick):
    page = upload(opened("predict"), ("image.png", noise()))
    assert "Report of this image" in [one.label for one in page.get("download_button")]


@pytest.fixture(scope="module")
def trained(place, copy_of_trained) -> tuple[Workspace, store.Run]:
    """A run of the baseline CNN that a worker really trained, on very few synthetic images."""
    return place, copy_of_trained(place)


@pytest.fixture
def with_trained(trained, monkeypatch) -> store.Run:
    workspace, run = trained
    monkeypatch.setenv("COVID_CORE_HOME", str(workspace.root))
    return run


@pytest.mark.slow
def test_an_uploaded_image_gets_the_scores_that_the_predictor_gives(with_trained):
    content = dataset_of(Workspace.default(), with_trained).path_of(0).read_bytes()
    predictor = Predictor.open(Workspace.default(), with_trained)
    expected = assess(predictor, read_image(content))
    page = upload(opened("predict"), ("image.png", content))
    assert f"{expected.predicted} has the highest" in words(page)
    assert probability(float(expected.numbers.max())) in words(page)


@pytest.fixture
def downloads(monkeypatch) -> dict[str, bytes]:
    """What the page's downloads hold, by file name; each is made as if it were clicked."""
    made: dict[str, bytes] = {}

    def download_button(_label, data, file_name, *_, **__):
        content = data() if callable(data) else data
        made[file_name] = content if isinstance(content, bytes) else content.encode()

    monkeypatch.setattr(shell.st, "download_button", download_button)
    return made


@pytest.mark.slow
def test_no_download_tells_of_the_patient_and_only_the_list_names_the_file(with_trained, downloads):
    pixels = read_image(noise(1)).pixels
    patient = dict.fromkeys(("PatientID", "StudyDescription", "InstitutionName"), "CANARY")
    files = [(f"NAMED-{number}.dcm", as_dicom(np.roll(pixels, number), **patient)) for number in range(2)]
    upload(opened("predict"), *files)
    assert [name for name in downloads if name.startswith("second-look-")] and "work-list.csv" in downloads
    assert not [name for name, content in downloads.items() if b"CANARY" in content.upper()]
    assert [name for name, content in downloads.items() if b"NAMED" in content] == ["work-list.csv"]


@pytest.mark.slow
def test_a_bad_file_among_good_ones_stops_nothing(with_trained):
    page = upload(opened("predict"), ("a.png", noise(1)), ("b.png", b"broken"), ("c.png", noise(2)))
    assert page.dataframe[0].value["File"].iat[0] == "b.png"
    assert set(page.dataframe[0].value["File"]) == {"a.png", "b.png", "c.png"}


@pytest.mark.slow
def test_the_same_image_twice_is_one_row(with_trained):
    page = upload(opened("predict"), ("a.png", noise(1)), ("again.png", noise(1)), ("b.png", noise(2)))
    assert list(page.dataframe[0].value["File"]) == ["a.png", "b.png"]


@pytest.mark.slow
@pytest.mark.parametrize("parameter", ["image", "film"])
def test_an_example_in_the_address_opens_with_its_label(with_trained, parameter):
    image_id = with_trained.split()["image_id"].iloc[0]
    page = opened("predict", **{parameter: image_id})
    assert "Label in its data set:" in words(page)


@pytest.mark.slow
def test_a_run_that_learned_the_example_is_named_though_the_run_beside_it_knows_an_older_data_set(
    trained, tmp_path, monkeypatch
):
    workspace, run = trained
    home = tmp_path / "copy"
    shutil.copytree(workspace.root, home)
    monkeypatch.setenv("COVID_CORE_HOME", str(home))
    shutil.copytree(home / "runs" / run.id, home / "runs" / "elder-12345")
    path = home / "runs" / "elder-12345" / "spec.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["dataset"]["version"] = "another"
    path.write_text(json.dumps(record), encoding="utf-8")
    learned = run.split().query("part == 'train'")["image_id"].iat[0]
    told = words(opened("predict", run=f"elder-12345,{run.id}", image=learned))
    assert f"This image was in the training part, as {learned}" in told.replace("\\", "")


@pytest.mark.slow
def test_an_example_that_does_not_exist_is_told(with_trained):
    assert "has no image" in words(opened("predict", image="../../etc/passwd"))


@pytest.mark.slow
def test_a_model_file_that_was_changed_gives_no_score(trained, tmp_path, monkeypatch):
    workspace, run = trained
    shutil.copytree(workspace.root, tmp_path / "copy")
    monkeypatch.setenv("COVID_CORE_HOME", str(tmp_path / "copy"))
    path = tmp_path / "copy" / "runs" / run.id / "head.npz"
    path.write_bytes(path.read_bytes() + b" ")
    page = upload(opened("predict"), ("image.png", noise()))
    assert "was changed after training" in words(page)
    assert not page.image or "highest score" not in words(page)


@pytest.mark.slow
def test_a_16_bit_image_is_scaled_and_said_so(with_trained):
    ramp = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (64, 1))
    buffer = io.BytesIO()
    Image.fromarray(ramp).save(buffer, "PNG")
    assert "full range, 16 bits" in words(upload(opened("predict"), ("ramp.png", buffer.getvalue())))


# Several runs


class Deaf(Quick):
    """A predictor that refuses every image."""

    def __init__(self, run: store.Run):
        super().__init__(run)
        self.reference = QuickReference(refuses_all=True)


def test_a_run_that_refuses_hides_its_own_numbers_and_nobody_elses(workspace, monkeypatch):
    runs = [warm_run(workspace, "Hears"), warm_run(workspace, "Deaf")]
    monkeypatch.setattr(image_results, "_opened", lambda run: (Deaf if run.name == "Deaf" else Quick)(run))
    page = upload(opened("predict", run=",".join(run.id for run in runs)), ("image.png", noise()))
    assert "Deaf does not answer." in words(page)
    drawn = json.loads(page.get("plotly_chart")[0].proto.spec)["data"]
    assert {name for bar in drawn for name in bar["y"]} == {"Hears<br>probability"}
    table = next(one.value for one in page.dataframe if "Failed check" in one.value)
    assert table["Answer"].tolist()[1] == "no answer"
    assert table["Highest"].tolist()[1] == "–"


def test_a_run_whose_model_is_damaged_keeps_no_other_from_answering(workspace, monkeypatch):
    runs = [warm_run(workspace, "Whole"), made_run(workspace, all_parts(SIZES, 1), "Hollow")]
    really = image_results._opened
    monkeypatch.setattr(image_results, "_opened", lambda run: Quick(run) if run.name == "Whole" else really(run))
    page = upload(opened("predict", run=",".join(run.id for run in runs)), ("image.png", noise()))
    assert "Hollow: head.npz is missing or was changed after training." in words(page)
    assert "COVID has the highest probability: 52.3 %" in words(page)


def test_a_image_whose_stored_window_is_invalid_can_be_read_over_its_full_range(quick):
    image = as_dicom(
        np.random.default_rng(5).integers(0, 255, (64, 64)).astype(np.uint8), WindowCenter=9, WindowWidth=-5
    )
    page = upload(opened("predict"), ("IM0001", image))
    assert "The image's stored window is invalid" in words(page)
    button(page, "Read it over its full range").click().run()
    assert not page.exception
    assert "COVID has the highest score" in words(page)


# What stands beside the answer


def test_the_answer_stands_with_its_classes_its_evidence_and_what_speaks_against_it(quick):
    told = words(upload(opened("predict"), ("image.png", noise())))
    order = (
        "One of these classes only",
        "The evidence check of this model is not made yet",
        "Not compared with",
        "The hottest place",
    )
    places = [told.index(text) for text in order]
    assert told.index("### COVID") < places[0] and places == sorted(places)


def test_the_heat_map_is_hidden_until_somebody_wants_it_and_then_stays_for_the_next_image(quick):
    page = upload(opened("predict"), ("a.png", noise(1)), ("b.png", noise(2)))
    assert select(page, "Map").value == "None"
    select(page, "Map").set_value("Grad-CAM").run()
    button(page, "Next").click().run()
    assert select(page, "Map").value == "Grad-CAM"


class UpsideDown(Quick):
    """Its reference takes every image for one that is upside down."""

    def __init__(self, run: store.Run):
        super().__init__(run)
        upside_down = Check(CHEST_IMAGE, False, -0.5, Limit(0.4, 321, 0.98), gate.DOWN)
        made = {
            "profile": None,
            "neighbourhood": QuickReference.neighbourhood,
            "judgements": lambda *_: [((upside_down, PASSED[1]), NEAR)],
        }
        self.reference = type("", (), made)()


def test_an_image_that_is_upside_down_is_turned_and_read_again(workspace, monkeypatch):
    warm_run(workspace)
    monkeypatch.setattr(image_results, "_opened", UpsideDown)
    page = upload(opened("predict"), ("image.png", noise()))
    assert "looks like a chest image that is upside down" in words(page)
    button(page, "Turn it and read it again").click().run()
    assert not page.exception
    assert "turned by 180 degrees by hand" in words(page)
    button(page, "Read it as the file holds it").click().run()
    assert "by hand" not in words(page)


def test_a_reload_says_that_the_upload_is_gone(quick):
    page = upload(opened("predict"), ("image.png", noise()))
    assert page.query_params["uploaded"] == "1"
    assert "The upload is gone" not in words(page)
    assert "The upload is gone: a reload or a long pause empties the memory." in words(opened("predict", uploaded="1"))


def test_uploads_runs_and_coverage_are_still_there_after_another_page_was_open(workspace, quick_runs):
    runs = [warm_run(workspace, name) for name in ("One", "Two")]
    page = upload(opened("predict", run=",".join(run.id for run in runs), coverage="95"), ("image.png", noise()))
    page.switch_page("home.py").run()
    page.query_params.clear()
    page.switch_page("predict.py").run()
    assert not page.exception
    assert page.multiselect[0].value == [run.id for run in runs] and page.slider[0].value == 95
    assert "2 runs: Two, One." in words(page) or "2 runs: One, Two." in words(page)
    assert "Also here: image.png." in words(page) and "Both runs predict" in words(page)
    button(page, "Remove it").click().run()
    assert not page.exception
    assert "from before" not in words(page) and "Both runs predict" not in words(page)


def test_the_downloaded_list_names_its_runs_and_its_coverage(workspace, quick_runs, monkeypatch):
    lists = []
    monkeypatch.setattr(shell.tables, "to_csv", lambda frame: lists.append(frame) or "")
    monkeypatch.setattr(shell.st, "download_button", lambda _label, data, *_, **__: data())
    warm_run(workspace, "One")
    upload(opened("predict", coverage="95"), ("a.png", noise(1)), ("b.png", noise(2)))
    listed = next(one for one in lists if "Why here" in one)
    assert set(listed["Predicted by"]) == {"One"} and set(listed["Coverage"]) == {"95 %"}


def test_a_doubt_stands_before_the_notes(quick):
    long = png_bytes(np.random.default_rng(0).integers(0, 255, (64, 192)).astype(np.uint8))
    page = upload(opened("predict"), ("long.png", long))
    order = "\n".join(one.value for one in page.main if one.type in ("markdown", "warning"))
    assert 0 < order.index("lose their shape") < order.index("One of these classes")
