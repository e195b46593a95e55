"""The Predict page: empty, with unreadable films, with a broken run, and with a run that was really trained."""

import io
import json

import numpy as np
import pytest
from made_runs import all_parts, made_run
from page_tests import opened, words
from PIL import Image
from streamlit.testing.v1 import AppTest
from trained_runs import tiny_run

from app_pages.components import predictors
from covid_core.data import importing
from covid_core.data.images import Film, png_bytes, read_film
from covid_core.formatting import share
from covid_core.inference.predictor import Prediction, Predictor
from covid_core.runs import calibrated, store
from covid_core.workspace import Workspace

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
UNFIT = {**UNDEFINED, "films": 6, "note": "No temperature fits these films."}
WARM = {**UNDEFINED, "temperature": 2.0, "films": 322, "note": ""}


def noise(seed: int = 0, side: int = 64) -> bytes:
    return png_bytes(np.random.default_rng(seed).integers(0, 255, (side, side)).astype(np.uint8))


def upload(page: AppTest, *files: tuple[str, bytes]) -> AppTest:
    for name, content in files:
        page.file_uploader[0].upload(name, content)
    page.run()
    assert not page.exception
    return page


def test_without_runs_it_says_what_to_do(workspace):
    page = opened("predict")
    assert "No finished run yet." in words(page)
    assert [link.label for link in page.get("page_link")] == ["Train a model"]


def test_a_file_that_is_no_picture_gets_one_sentence_and_no_score(workspace):
    made_run(workspace, all_parts(SIZES, 1))
    page = upload(opened("predict"), ("letter.png", b"Dear colleague"))
    assert "letter.png: The file is not a readable PNG, JPEG, TIFF or DICOM image." in words(page).replace("**", "")
    assert not page.image


def test_a_name_with_markdown_is_shown_letter_by_letter(workspace):
    made_run(workspace, all_parts(SIZES, 1))
    page = upload(opened("predict"), ("![x](http://evil.test/p.png)", b"no picture"))
    assert r"\!\[x\]\(http\:" in page.error[0].value


def test_a_run_without_its_model_is_told_in_a_sentence(workspace):
    made_run(workspace, all_parts(SIZES, 1), name="Hollow")
    page = upload(opened("predict"), ("film.png", noise()))
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


class Quick:
    """A predictor that calls every film COVID, and remembers how many films it was asked for at once."""

    def __init__(self, run: store.Run):
        self.run = run
        self.calibration = calibrated.of(run)
        self.asked: list[int] = []
        self.explained_films = 0

    def predict(self, films: list[Film]) -> list[Prediction]:
        self.asked.append(len(films))
        return [self._answer() for _ in films]

    def explained(self, film: Film, label: str | None, shape: tuple[int, int]) -> tuple[Prediction, np.ndarray]:
        self.explained_films += 1
        return self._answer(), np.full(shape, 0.5, np.float32)

    def _answer(self) -> Prediction:
        scores = np.array([0.7, 0.2, 0.1])
        return Prediction(self.run.classes, scores, np.log(scores), (), self.calibration)


@pytest.fixture
def quick(workspace, monkeypatch) -> Quick:
    """A finished run whose predictor answers at once."""
    made = Quick(made_run(workspace, all_parts(SIZES, 1), result={"calibration": UNFIT}))
    monkeypatch.setattr(predictors, "_opened", lambda run: made)
    return made


@pytest.fixture
def quick_runs(monkeypatch) -> None:
    """Predictors of all runs answer at once, each with its own calibration."""
    monkeypatch.setattr(predictors, "_opened", Quick)


def warm_run(workspace: Workspace, name: str = "Warm", **made) -> store.Run:
    """A run whose temperature of 2 takes scores of 70, 20 and 10 % to probabilities of 52.3, 27.9 and 19.8 %."""
    return made_run(workspace, all_parts(SIZES, 1), name, result={"calibration": WARM}, **made)


def test_a_calibrated_run_answers_with_a_probability_and_its_score_beside_it(workspace, quick_runs):
    warm_run(workspace)
    page = upload(opened("predict"), ("film.png", noise()))
    told = words(page)
    assert "**COVID** has the highest probability: 52.3 %, calibrated on 322 validation films." in told
    assert "Uncalibrated score: 70.0 %." in told
    assert "Temperature 2.00, fitted on 322 validation films" in told
    assert "it is not calibrated" not in told
    shown = page.expander[0].dataframe[0].value
    assert shown["Probability"].tolist() == ["52.3 %", "27.9 %", "19.8 %"]
    assert shown["Score"].tolist() == ["70.0 %", "20.0 %", "10.0 %"]


def test_a_run_that_is_not_calibrated_shows_scores_and_says_why(quick):
    told = words(upload(opened("predict"), ("film.png", noise())))
    assert "A score, not a probability." in told
    assert "it is not calibrated" in told
    assert UNFIT["note"] in told
    assert "Temperature" not in told


def test_a_run_from_before_is_calibrated_by_its_predictions(workspace, quick_runs):
    made_run(workspace, all_parts({"train": 30, "validation": 90, "test": 30}, 1))
    told = words(upload(opened("predict"), ("film.png", noise())))
    assert "has the highest probability" in told
    assert "90 validation films, which also chose the epoch: validation has fewer than 200 films" in told


def test_probabilities_and_scores_stand_side_by_side_with_their_names(workspace, quick_runs):
    runs = [warm_run(workspace), made_run(workspace, all_parts(SIZES, 1), "Cold", result={"calibration": UNFIT})]
    page = upload(opened("predict", run=",".join(run.id for run in runs)), ("film.png", noise()))
    told = words(page)
    assert "Both runs say **COVID**." in told
    assert "Warm: Temperature 2.00" in told
    assert f"Cold: {UNFIT['note']}" in told
    figure = page.get("plotly_chart")[0].proto.spec
    drawn = {name for bar in json.loads(figure)["data"] for name in bar["y"]}
    assert drawn == {"Warm<br>probability", "Cold<br>score"}
    shown = page.expander[0].dataframe[0].value
    assert shown["Probability"].tolist()[3:] == ["not calibrated"] * 3


def test_a_table_of_films_names_what_each_column_is(workspace, quick_runs):
    runs = [warm_run(workspace), made_run(workspace, all_parts(SIZES, 1), "Cold", result={"calibration": UNFIT})]
    page = opened("predict", run=",".join(run.id for run in runs))
    shown = upload(page, ("a.png", noise(1)), ("b.png", noise(2))).dataframe[0].value
    columns = ["File", "Warm", "Warm, probability", "Warm, score", "Cold", "Cold, score", "Agreement"]
    assert shown.columns.tolist() == columns
    assert shown["Warm, probability"].tolist() == ["52.3 %"] * 2
    assert "Warm: Temperature 2.00" in words(page)
    assert f"Cold: {UNFIT['note']}" in words(page)


def test_the_page_asks_first_the_run_that_the_films_for_choosing_prefer(workspace):
    one = made_run(workspace, all_parts(SIZES, 1), "One", result={"selection_accuracy": 0.9, "accuracy": {}})
    accuracy = {"accuracy": {"validation": 0.95}, "selection_accuracy": 0.8}
    made_run(workspace, all_parts(SIZES, 1), "Two", result=accuracy)
    assert opened("predict").multiselect[0].value == [one.id]


def test_two_hundred_uploads_are_a_batch_and_a_broken_one_among_them_loses_nothing(quick):
    films = [(f"film-{number:03d}.png", noise(number, side=32)) for number in range(199)]
    page = upload(opened("predict"), *films[:99], ("broken.png", b"no picture"), *films[99:])
    assert list(page.dataframe[0].value["File"]) == [name for name, _ in films]
    assert len(page.error) == 1
    assert "broken.png: The file is not a readable PNG, JPEG, TIFF or DICOM image." in words(page).replace("**", "")
    assert "199 films read." in words(page)
    assert max(quick.asked) == 16
    assert "CSV" in [button.label for button in page.get("download_button")]


def test_many_films_get_their_heat_maps_on_demand_only(quick):
    page = upload(opened("predict"), ("a.png", noise(1)), ("b.png", noise(2)))
    assert "Choose a row to see the film and its heat map." in words(page)
    assert quick.explained_films == 0
    assert not page.slider


def test_films_that_were_looked_at_are_not_looked_at_again(quick):
    page = upload(opened("predict"), ("a.png", noise(1)), ("b.png", noise(2)))
    asked = list(quick.asked)
    upload(page, ("a.png", noise(1)), ("b.png", noise(2)), ("c.png", noise(3)))
    assert quick.asked == [*asked, 1]


def test_one_film_gets_scores_and_heat_map_from_one_pass(quick):
    page = upload(opened("predict"), ("film.png", noise()))
    assert "**COVID** has the highest score: 70.0 %" in words(page)
    assert (quick.asked, quick.explained_films) == ([], 1)
    page.slider[0].set_value(30).run()
    assert quick.explained_films == 1


def test_another_class_is_explained_when_it_is_chosen(quick):
    page = upload(opened("predict"), ("film.png", noise()))
    page.selectbox[0].set_value("Normal").run()
    assert not page.exception
    assert quick.explained_films == 2
    assert "**COVID** has the highest score" in words(page)


def test_many_files_that_cannot_be_read_are_folded_up(quick):
    page = upload(opened("predict"), *((f"{number}.png", f"letter {number}".encode()) for number in range(7)))
    assert [expander.label for expander in page.expander] == ["7 files could not be read"]
    assert len(page.error) == 7
    assert not page.dataframe


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Workspace, store.Run]:
    """A run of the baseline CNN that a worker really trained, on very few synthetic films."""
    workspace = Workspace(tmp_path_factory.mktemp("trained"))
    dataset = importing.import_phantom(workspace, images=40)
    return workspace, tiny_run(workspace, dataset)


@pytest.fixture
def with_trained(trained, monkeypatch) -> store.Run:
    workspace, run = trained
    monkeypatch.setenv("COVID_CORE_HOME", str(workspace.root))
    return run


@pytest.mark.slow
def test_an_uploaded_film_gets_the_scores_that_the_predictor_gives(with_trained):
    content = noise(1)
    predictor = Predictor.open(Workspace.default(), with_trained)
    (expected,) = predictor.predict([read_film(content)])
    page = upload(opened("predict"), ("film.png", content))
    assert f"**{expected.predicted}** has the highest" in words(page)
    assert share(float(expected.best_known.max())) in words(page)
    assert len(page.image) >= 2


@pytest.mark.slow
def test_a_bad_file_among_good_ones_stops_nothing(with_trained):
    page = upload(opened("predict"), ("a.png", noise(1)), ("b.png", b"broken"), ("c.png", noise(2)))
    assert len(page.error) == 1
    assert list(page.dataframe[0].value["File"]) == ["a.png", "c.png"]


@pytest.mark.slow
def test_the_same_film_twice_is_one_row(with_trained):
    page = upload(opened("predict"), ("a.png", noise(1)), ("again.png", noise(1)), ("b.png", noise(2)))
    assert list(page.dataframe[0].value["File"]) == ["a.png", "b.png"]


@pytest.mark.slow
def test_an_example_in_the_address_opens_with_its_label(with_trained):
    image_id = with_trained.split()["image_id"].iloc[0]
    page = opened("predict", film=image_id)
    assert "Its data set calls it" in words(page)


@pytest.mark.slow
def test_an_example_that_does_not_exist_is_told(with_trained):
    assert "has no film" in words(opened("predict", film="../../etc/passwd"))


@pytest.mark.slow
def test_a_model_file_that_was_changed_gives_no_score(trained, tmp_path, monkeypatch):
    import shutil

    workspace, run = trained
    shutil.copytree(workspace.root, tmp_path / "copy")
    monkeypatch.setenv("COVID_CORE_HOME", str(tmp_path / "copy"))
    path = tmp_path / "copy" / "runs" / run.id / "head.npz"
    path.write_bytes(path.read_bytes() + b" ")
    page = upload(opened("predict"), ("film.png", noise()))
    assert "was changed after training" in words(page)
    assert not page.image or "highest score" not in words(page)


@pytest.mark.slow
def test_a_16_bit_film_is_scaled_and_said_so(with_trained):
    ramp = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (64, 1))
    buffer = io.BytesIO()
    Image.fromarray(ramp).save(buffer, "PNG")
    assert "read as 16-bit greys" in words(upload(opened("predict"), ("ramp.png", buffer.getvalue())))
