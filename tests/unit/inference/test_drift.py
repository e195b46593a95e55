"""Drift of a batch: alarms where there is none and where there is one, class mixes, clusters, too few images, files."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from made_profiles import answers, made_profile, made_traits, with_profile

from covid_core.errors import DataError, InvalidChoice, RunDamaged
from covid_core.images.codec import png_bytes
from covid_core.inference import reference_fit
from covid_core.inference.assessment import Assessment
from covid_core.inference.drift import batch, folder, profile
from covid_core.inference.drift.batch import FEWEST, FEWEST_OWN, Drift
from covid_core.inference.drift.profile import ASPECTS, MEASURES, NETWORK, Traits
from covid_core.inference.gate import Gate, Limit
from covid_core.inference.predictor import Predictor
from covid_core.inference.reference import Reference
from covid_core.reports.elsewhere import drift_text
from covid_core.runs import store
from covid_core.synthetic.phantom import image_at

CLASSES = ("ill", "well")
OWN = made_profile()


def measured(labels: np.ndarray, seed: int, shift: dict[str, float] | None = None, own=OWN) -> Drift:
    """Of a batch of made images, of which the measures named in ``shift`` are moved."""
    rng = np.random.default_rng(seed)
    traits = made_traits(labels, rng)
    for name, by in (shift or {}).items():
        traits.values[:, list(MEASURES).index(name)] += by
    return batch.of(own, traits, answers(labels, 2, rng), CLASSES, seed)


def test_few_batches_without_drift_raise_the_alarm(monkeypatch):
    monkeypatch.setattr(batch, "DRAWS", 300)
    alarms = [measured(np.arange(30) % 2, seed).differs for seed in range(1, 61)]
    assert sum(alarms) <= 9  # of 60 batches, 3 are expected; more than 9 have a probability below 0.1 %


def test_a_batch_of_one_class_is_no_drift_but_another_class_mix():
    made = [measured(np.zeros(40, int), seed) for seed in range(1, 9)]
    assert sum(one.differs for one in made) <= 2
    assert all(one.class_mix.differs for one in made)
    assert all(one.estimated["ill"] > 0.85 for one in made)


def test_the_estimated_class_mix_allows_for_mistakes_of_the_run():
    one = measured(np.zeros(2000, int), 1)
    assert one.predicted["ill"] < 0.97 * 2000
    assert one.estimated["ill"] > one.predicted["ill"] / 2000


@pytest.mark.parametrize(("measure", "aspect"), [("grey", "brightness"), ("side", "size"), ("against", "view")])
def test_what_is_moved_is_the_aspect_that_differs(measure, aspect):
    one = measured(np.arange(40) % 2, 3, {measure: 2.0})
    assert one.different == (aspect,)
    assert one.score == one.aspects[aspect].value > 1


def test_the_networks_space_is_an_aspect():
    rng = np.random.default_rng(5)
    labels = np.arange(40) % 2
    traits = made_traits(labels, rng)
    moved = Traits(traits.values, traits.coordinates + np.float32(1))
    assert batch.of(OWN, moved, answers(labels, 2, rng), CLASSES).different == (NETWORK,)


def test_a_class_that_validation_lacks_is_drawn_from_all():
    lacking = made_profile()
    lacking.own[:, 0] = 1
    assert np.isfinite(measured(np.zeros(30, int), 2, own=lacking).score)


def test_limits_are_higher_where_images_form_clusters():
    alone, together = (made_profile(cluster=cluster) for cluster in (1, 10))
    limits = [measured(np.arange(40) % 2, 1, own=own).aspects["contrast"].limit for own in (alone, together)]
    assert limits[1] > 1.3 * limits[0]


def test_draws_have_the_wanted_images_of_each_class_and_keep_clusters_whole():
    own = made_profile(cluster=4)
    counts = batch._draws(own, np.array([[8, 12], [0, 20]]), np.random.default_rng(0))
    of_class = [counts[:, own.own[:, 0] == code].sum(axis=1).tolist() for code in (0, 1)]
    assert of_class == [[8, 0], [12, 20]]
    by_cluster = counts.reshape(2, -1, 4)
    assert (by_cluster == by_cluster[:, :, :1]).all()


def test_too_few_images_are_an_error():
    with pytest.raises(InvalidChoice):
        measured(np.zeros(FEWEST - 1, int), 1)


def test_an_image_that_could_not_be_read_is_named_where_too_few_are_left(run, workspace):
    with_profile(run)
    run = store.open_run(workspace, run.id)
    with pytest.raises(InvalidChoice, match=r"there are 0\. torn\.png: It is cut off\."):
        batch.of_assessments(run, Predictor.open(workspace, run), [Assessment("torn.png", error="It is cut off.")])


def described(squares: np.ndarray, sizes=(64, 64)) -> dict[str, float]:
    """The measures of one image in a gate that has learned nothing."""
    blank = np.zeros(128), np.ones(128), np.zeros((129, 5))
    judge = Gate(*blank, limit=Limit(np.nan, 0, np.nan))
    one = profile.traits(squares[None], np.array([sizes]), judge, np.zeros((1, 3)))
    return dict(zip(MEASURES, one.values[0].tolist(), strict=True))


def test_measures_of_an_image():
    inner = np.random.default_rng(0).integers(60, 200, (64, 64)).astype(np.uint8)
    bordered = inner.copy()
    bordered[:, :8] = bordered[:, -8:] = 0
    plain, framed = described(inner), described(bordered, (200, 100))
    assert (plain["sides"], plain["ends"], framed["sides"], framed["ends"]) == (0, 0, 0.25, 0)
    assert framed["ring"] < plain["ring"]
    assert framed["ratio"] == pytest.approx(1)
    assert 2 ** plain["side"] == pytest.approx(64)
    assert described(np.full((64, 64), 51, np.uint8))["grey"] == pytest.approx(0.2)
    assert described(np.zeros((64, 64), np.uint8))["sides"] == 1


@pytest.fixture
def run(golden, workspace) -> store.Run:
    """A run of an earlier version, whose reference has no profile."""
    shutil.copytree(golden, workspace.root, dirs_exist_ok=True)
    return store.open_run(workspace, "longer-00008")


def test_a_reference_holds_its_profile(run):
    made = with_profile(run)
    read = Reference.load(run.reference_path).profile
    assert np.allclose(read.training.values, made.profile.training.values)
    assert np.allclose(read.validation.coordinates, made.profile.validation.coordinates, atol=1e-2)  # float16
    assert np.array_equal(read.own, made.profile.own)


def test_a_run_with_few_validation_images_has_no_limits(run, workspace):
    with_profile(run, own=FEWEST_OWN - 2)
    run = store.open_run(workspace, run.id)
    with pytest.raises(InvalidChoice):
        batch.profile_of(run, Predictor.open(workspace, run))


def test_too_few_validation_images_are_named_before_a_training():
    assert drift_text.too_few_own(FEWEST_OWN - 1)
    assert not drift_text.too_few_own(FEWEST_OWN)


def test_a_damaged_profile_is_a_damaged_reference(run):
    made = with_profile(run)
    replace(made, profile=replace(made.profile, labels=made.profile.labels[1:])).save(run.reference_path)
    with pytest.raises(RunDamaged):
        Reference.load(run.reference_path)


def write_batch(where, images: int) -> None:
    where.mkdir()
    for number in range(images):
        (where / f"{number:02}.png").write_bytes(png_bytes(image_at(number, images, 2, size=64).pixels))


def test_a_folder_is_measured_and_names_what_cannot_be_read(run, tmp_path, answer):
    with_profile(run)
    write_batch(tmp_path / "batch", FEWEST)
    (tmp_path / "batch" / "torn.png").write_bytes(b"no image")
    code, made = answer("drift", run.id, str(tmp_path / "batch"))
    assert code == 0
    assert made["images"] == FEWEST
    assert [one["file"] for one in made["unread"]] == ["torn.png"]
    assert made["differs"]  # drawn images against normal numbers
    assert set(made["aspects"]) == set(ASPECTS)


def test_lung_masks_of_a_folder_are_no_images_of_the_batch(run, workspace, tmp_path):
    with_profile(run)
    (tmp_path / "made").mkdir()
    write_batch(tmp_path / "made" / "images", 3)
    write_batch(tmp_path / "made" / "masks", 3)
    made = folder.assessed(Predictor.open(workspace, store.open_run(workspace, run.id)), tmp_path / "made")
    assert [one.name for one in made] == ["images/00.png", "images/01.png", "images/02.png"]


def test_an_empty_folder_is_an_error(run, workspace, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError):
        folder.assessed(Predictor.open(workspace, run), tmp_path / "empty")


def test_a_run_of_an_earlier_version_has_no_profile_until_its_reference_is_made_again(run, workspace, tmp_path, answer):
    write_batch(tmp_path / "batch", FEWEST)
    assert answer("drift", run.id, str(tmp_path / "batch"))[0] != 0
    reference_fit.make(workspace, run)
    own = Reference.load(run.reference_path).profile
    split = run.split()
    assert len(own.labels) == (split["part"] == "train").sum()
    assert len(own.own) == (split["part"] == "validation").sum()
    assert np.isfinite(own.training.values).all()


def test_advice_is_for_drift_alone():
    shifted, usual = (measured(np.arange(40) % 2, 3, {"grey": by}) for by in (2.0, 0.0))
    assert drift_text.advice(shifted)[0] == drift_text.ADVICE["brightness"]
    assert usual.differs or drift_text.advice(usual) == []


@pytest.mark.slow
def test_a_training_leaves_a_profile(workspace, copy_of_trained):
    run = copy_of_trained(workspace)
    own, split = Reference.load(run.reference_path).profile, run.split()
    assert (len(own.labels), len(own.own)) == tuple((split["part"] == part).sum() for part in ("train", "validation"))
    predictions = run.predictions().query("part == 'validation'")
    logits = predictions[[f"logit_{label}" for label in run.classes]].to_numpy()
    assert np.array_equal(np.bincount(own.own[:, 1]), np.bincount(logits.argmax(axis=1)))


def test_a_score_far_above_the_limit_is_no_number_in_words():
    one = measured(np.arange(40) % 2, 3, {"side": 50.0})
    assert one.aspects["size"].value > drift_text.HUGE
    assert str(round(one.score)) not in drift_text.conclusion(one)
