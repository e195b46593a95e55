"""Findings of the audit: planted faults are found, clean images are left alone, limits follow their rules."""

import numpy as np
import pandas as pd
import pytest
from made_data import made_database

from benchmarks.datasets import planted_faults
from covid_core.audit.quality import findings, measures
from covid_core.audit.quality.findings import FINDINGS, RULES, UNREADABLE, Rule
from covid_core.data import masks
from covid_core.data.imports import importing
from covid_core.errors import DataError
from covid_core.images import lettering
from covid_core.images.codec import WHITE_BORDER, png_bytes, read_image
from covid_core.images.image import COLOUR_SPREAD
from covid_core.inference.gate import AGAINST
from covid_core.synthetic.phantom import image_at
from covid_core.workspace import Workspace

IMAGES, PLANTED, SIZE = 400, 10, 256
FOUND, FALSE = 0.9, 0.01  # of the planted faults at least; of clean images at most, all kinds together


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return [image_at(index, IMAGES, seed=11, size=SIZE).pixels for index in range(IMAGES)]


def imported(folder, images):
    """A data set of two classes, in this order."""
    for number, image in enumerate(images):
        label = folder / "images" / ("A" if number % 2 else "B")
        label.mkdir(parents=True, exist_ok=True)
        (label / f"{number:04d}.png").write_bytes(png_bytes(image))
    workspace = Workspace(folder / "workspace")
    return workspace, importing.import_folder(workspace, folder / "images")


def number_of(image_id: str) -> int:
    return int(image_id.rpartition("/")[2].removesuffix(".png"))


@pytest.fixture(scope="module")
def planted(images, tmp_path_factory):
    """The audit of a set in which ten images have each fault, and which image has which."""
    rng, which = np.random.default_rng(5), {}
    changed = list(images)
    for place, (name, fault) in enumerate(planted_faults.FAULTS.items()):
        for number in range(place * PLANTED, (place + 1) * PLANTED):
            changed[number] = fault(images[number], rng)
            which[number] = name
    workspace, dataset = imported(tmp_path_factory.mktemp("planted"), changed)
    return findings.audit(workspace, dataset), which


@pytest.mark.parametrize("name", planted_faults.FAULTS)
def test_planted_faults_are_found(planted, name):
    found, which = planted
    flagged = set(map(number_of, found.findings.loc[found.findings["finding"] == name, "image_id"]))
    wanted = {number for number, fault in which.items() if fault == name}
    assert len(flagged & wanted) >= FOUND * len(wanted)


def test_images_beside_planted_faults_are_left_alone(planted):
    found, which = planted
    flagged = set(map(number_of, found.findings["image_id"])) - set(which)
    assert len(flagged) <= FALSE * (IMAGES - len(which))


def test_clean_phantom_images_raise_hardly_a_finding(images, tmp_path):
    workspace, dataset = imported(tmp_path, images)
    found = findings.audit(workspace, dataset)
    assert found.findings["image_id"].nunique() <= FALSE * IMAGES
    assert list(found.summary["finding"]) == list(FINDINGS)
    assert not found.summary["unknown"].any()


def test_every_fault_is_a_finding_and_every_finding_in_grey_pixels_can_be_planted():
    assert set(RULES) - set(planted_faults.FAULTS) == {"colour", "black mask"}


def test_what_was_measured_is_kept_and_a_torn_file_is_measured_again(images, tmp_path):
    workspace, dataset = imported(tmp_path, images[:6])
    first = findings.audit(workspace, dataset).scores
    (kept,) = workspace.tables.glob("*audit*")
    dataset.path_of(0).unlink()  # whoever measures again fails
    pd.testing.assert_frame_equal(findings.audit(workspace, dataset).scores, first)
    kept.write_bytes(b"torn")
    with pytest.raises(DataError, match="no longer what it was"):
        findings.audit(workspace, dataset)


def test_few_images_have_no_reading_and_say_so(images, tmp_path):
    found = findings.audit(*imported(tmp_path, images[:6]))
    unknown = found.summary.set_index("finding")["unknown"]
    learned = ["inverted", "turned", "odd view", "mirrored"]
    assert unknown[learned].tolist() == [6] * 4
    assert unknown.drop(learned).sum() == 0


def test_a_lateral_view_is_found_among_few_images(images, tmp_path):
    lateral = planted_faults.lateral(images[0], np.random.default_rng(0))
    found = findings.audit(*imported(tmp_path, [*images[1:6], lateral])).findings
    assert list(map(number_of, found.loc[found["finding"] == "not frontal", "image_id"])) == [5]


def test_scores_of_before_a_measure_are_read_and_measured_again_when_asked(images, tmp_path):
    workspace, dataset = imported(tmp_path, images[:6])
    scores = findings.audit(workspace, dataset).scores
    (kept,) = workspace.tables.glob("*audit*")
    kept.unlink()
    scores.drop(columns=["raw"]).to_parquet(kept.with_name(kept.name.replace(f"-{findings.FORMAT}.", "-1.")))
    before = findings.stored(workspace, dataset)
    assert before.summary.set_index("finding").loc["raw", "unknown"] == 6
    assert before.scores["dark"].equals(scores["dark"])
    assert not findings.audit(workspace, dataset).scores["raw"].isna().any()


def test_a_mask_with_black_lungs_is_a_finding_and_is_read_inverted(tmp_path):
    workspace = Workspace(tmp_path / "workspace")
    _, dataset = made_database(tmp_path, workspace)
    before = masks.mask_of(dataset, dataset.images["image_id"].iat[2])
    path = dataset.root / dataset.images["mask_path"].iat[2]
    path.write_bytes(png_bytes(255 - read_image(path).pixels))
    found = findings.audit(workspace, dataset).findings
    assert found.loc[found["finding"] == "black mask", "image_id"].tolist() == [dataset.images["image_id"].iat[2]]
    assert np.array_equal(masks.mask_of(dataset, dataset.images["image_id"].iat[2]), before)


def test_a_coloured_picture_and_an_unreadable_file_are_findings(images, tmp_path):
    folder = tmp_path / "images" / "A"
    folder.mkdir(parents=True)
    tinted = np.stack([images[0], images[0] // 2, images[0] // 2], axis=2)
    grey = np.stack([images[1]] * 3, axis=2)
    for name, content in (("tinted", png_bytes(tinted)), ("grey", png_bytes(grey)), ("broken", b"no picture")):
        (folder / f"{name}.png").write_bytes(content)
    workspace = Workspace(tmp_path / "workspace")
    found = findings.audit(workspace, importing.import_folder(workspace, tmp_path / "images"))
    kinds = found.findings.set_index("finding")["image_id"]
    assert kinds["colour"] == "A/tinted.png"
    assert kinds[UNREADABLE] == "A/broken.png"
    assert len(found.findings) == 2


def scores(**values: list[float]) -> pd.DataFrame:
    """Scores of images that have nothing but what is given."""
    images = len(next(iter(values.values())))
    table = pd.DataFrame({"image_id": [f"A/{number}.png" for number in range(images)]})
    return table.assign(**{name: values.get(name, np.full(images, np.nan)) for name in RULES})


def test_an_unknown_score_is_no_finding():
    found = findings.judged(scores(dark=[10.0, np.nan, 120.0]), pd.DataFrame({"path": [], "reason": []}))
    assert found.findings["image_id"].tolist() == ["A/0.png"]
    row = found.summary.set_index("finding").loc["dark"]
    assert (row["images"], row["share"], row["unknown"]) == (1, 0.5, 1)
    assert np.isnan(found.summary.set_index("finding").loc["bright", "share"])


def test_a_fault_of_most_images_is_a_finding_all_the_same_and_is_called_common():
    found = findings.judged(scores(bright=[230.0] * 8 + [120.0] * 2), pd.DataFrame({"path": [], "reason": []}))
    row = found.summary.set_index("finding").loc["bright"]
    assert (row["images"], row["limit"], row["common"]) == (8, 200, True)


@pytest.mark.parametrize(
    ("given", "expected"),
    [([100, 100, 100], 60), ([50, 52, 54, 56, 58], 40), ([60, 62, 64, 66, 68], 64 - 5 * findings.NORMAL * 2), ([], 60)],
    ids=[
        "no spread stays at the bound",
        "a common fault stays at what is certain",
        "between, the images decide",
        "none",
    ],
)
def test_a_limit_comes_from_the_images_within_its_range(given, expected):
    rule = Rule("x", findings.BELOW, bound=60, certain=40, spread=5, text="", reason="")
    assert rule.limit(np.array(given, float)) == pytest.approx(expected)


def test_the_opening_is_that_of_scipy(images):
    from scipy import ndimage

    expected = ndimage.grey_opening(images[0], 15, mode="nearest")
    assert np.array_equal(lettering._opened(images[0], 15), expected)


def test_a_image_of_one_grey_has_no_detail_no_blocks_and_no_sharpness():
    blank = np.full((128, 128), 90, np.uint8)
    assert np.isnan(measures.detail(blank))
    assert np.isnan(measures.blockiness(blank))
    assert np.isnan(measures.sharpness(blank[None])).all()
    assert measures.contrast(blank[None]).tolist() == [0]
    assert measures.letters(blank) == 0


def test_a_band_is_as_deep_as_it_was_drawn():
    image = np.random.default_rng(0).integers(0, 256, (3, 128, 128)).astype(np.uint8)
    image[1, :, -16:] = 7
    image[2, :8] = 255
    assert measures.band(image).tolist() == [0, 16 / 128, 8 / 128]


def test_limits_are_those_at_which_an_image_is_read_otherwise():
    assert RULES["colour"].bound == COLOUR_SPREAD
    assert RULES["black mask"].bound == WHITE_BORDER
    assert RULES["not frontal"].certain == AGAINST
