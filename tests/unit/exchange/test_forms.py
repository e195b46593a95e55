"""Models in the formats of others: what is refused, what a folder holds, and that a wrong model is never handed out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from added_backbones import ABOUT
from made_runs import all_parts, made_run

from covid_core import files
from covid_core.errors import InvalidChoice, JobRefused, RunDamaged, RunError
from covid_core.exchange.forms import exported, formats
from covid_core.exchange.forms.formats import FORMATS
from covid_core.inference.network import softmax
from covid_core.inference.predictor import Predictor
from covid_core.runs import temperature_scaling
from covid_core.runs.store import BundleRecord, Run
from covid_core.specs import InputSpec
from covid_core.work import silent

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
PARTS = {"train": 12, "validation": 6, "test": 12}


def spec_changed(run: Run, **changes) -> Run:
    return replace(run, spec=run.spec.model_copy(update=changes))


@pytest.fixture
def made(workspace) -> Run:
    return made_run(workspace, all_parts(PARTS, 3.0), "One")


@pytest.fixture(scope="module")
def trained(copy_of_trained, place) -> Run:
    return copy_of_trained(place)


@pytest.fixture
def write():
    from covid_core.nets.forms import writing

    return writing.write


def test_a_format_is_one_of_the_table():
    with pytest.raises(InvalidChoice):
        formats.named("tfjs")


def test_a_run_with_a_box_around_the_lungs_is_refused(workspace, made):
    with pytest.raises(JobRefused):
        exported.check(workspace, spec_changed(made, input=InputSpec(region="lungs")), FORMATS["litert"])
    exported.check(workspace, made, FORMATS["litert"])


def test_a_run_from_a_bundle_is_refused(workspace, made):
    record = made.record.model_copy(update={"bundle": BundleRecord(sha256="0" * 64, created=0.0, version="0")})
    with pytest.raises(JobRefused):
        exported.check(workspace, replace(made, record=record), FORMATS["litert"])


def test_a_run_whose_backbone_runs_apart_is_refused(workspace, made):
    from covid_core.backbones import BackboneFile

    file = BackboneFile(**ABOUT)
    assert file.runs_apart
    with pytest.raises(JobRefused):
        exported.check(workspace, spec_changed(made, backbone_file=file, backbone=file.name), FORMATS["keras"])


def test_an_unfinished_run_is_refused(workspace):
    run = made_run(workspace, all_parts(PARTS, 3.0), "One", state="failed")
    with pytest.raises(JobRefused):
        exported.check(workspace, run, FORMATS["keras"])


def test_the_web_page_is_refused_without_litertjs_or_with_another_version(workspace, made):
    with pytest.raises(JobRefused):
        exported.check(workspace, made, FORMATS["web"])
    root = workspace.root / "node_modules/@litertjs"
    for name, version in (("core", "9.0.0"), ("wasm-utils", formats.LITERTJS)):
        (root / name / "dist").mkdir(parents=True)
        (root / name / "dist/index.js").touch()
        files.write_json(root / name / "package.json", {"version": version})
    (root / "core/wasm").mkdir()
    for kind in ("", "compat_"):
        for suffix in ("js", "wasm"):
            (root / f"core/wasm/litert_wasm_{kind}internal.{suffix}").touch()
    with pytest.raises(JobRefused):
        exported.check(workspace, made, FORMATS["web"])
    files.write_json(root / "core/package.json", {"version": formats.LITERTJS})
    exported.check(workspace, made, FORMATS["web"])


def test_what_an_older_keras_lacks_is_left_out_where_it_says_nothing():
    from covid_core.nets.forms import older_keras

    layer = {"class_name": "Dense", "config": {"units": 3, "quantization_config": None, "ragged": False}}
    assert older_keras.without_newer({"layers": [layer]}) == {
        "layers": [{"class_name": "Dense", "config": {"units": 3}}]
    }
    flip = {"module": "keras.src.ops.numpy", "class_name": "Flip", "config": {"name": "flip", "axis": 2}}
    assert older_keras.without_newer(flip)["config"] == {"axis": 2}
    with pytest.raises(RunError):
        older_keras.without_newer({"layers": [{"config": {"renorm": True}}]})


@pytest.mark.slow
def test_an_export_predicts_as_the_app_does_and_says_what_it_is(trained, write, tmp_path):
    archive = exported.make(trained.workspace, trained, "litert", write, silent)
    facts = exported.unpacked(archive, tmp_path / "out")
    assert exported.stored(trained.workspace, trained, "litert") == archive
    assert facts["parity"]["images"] == exported.PARITY_IMAGES
    assert facts["parity"]["largest_difference"] <= exported.PARITY_LIMIT
    assert (facts["classes"], facts["pixels"]) == (list(trained.classes), trained.spec.pixels)
    listed = {path.name: files.sha256_of(path) for path in (tmp_path / "out").iterdir() if path.name != exported.FACTS}
    assert facts["sha256"] == listed
    assert set(listed) == {"model.tflite", exported.EXAMPLE, exported.README}
    squares, _ = exported.parity_images(trained.workspace, trained)
    logits = Predictor.open(trained.workspace, trained).logits(squares[:3])
    own = softmax(logits / temperature_scaling.of(trained).temperature)
    theirs = exported.example_output(tmp_path / "out", squares[:3], facts["output"], facts["classes"])
    np.testing.assert_allclose(theirs, own, atol=1e-5)


@pytest.mark.slow
def test_a_format_that_gives_other_probabilities_is_refused_and_leaves_nothing(trained, write):
    def wrong(model: Path, temperature: float, *rest) -> None:
        write(model, 1.5 * temperature, *rest)

    before = set(trained.workspace.exports.iterdir())
    other = replace(trained, spec=trained.spec.model_copy(update={"name": "Other"}))
    with pytest.raises(RunError):
        exported.make(trained.workspace, other, "litert", wrong, silent)
    assert exported.stored(trained.workspace, other, "litert") is None
    assert set(trained.workspace.exports.iterdir()) == before


@pytest.mark.slow
def test_without_a_temperature_the_export_gives_scores(trained, write, tmp_path):
    trained.result["calibration"] = {"note": "Too few images."}
    archive = exported.make(trained.workspace, trained, "litert", write, silent)
    facts = exported.unpacked(archive, tmp_path / "out")
    assert (facts["output"], facts["temperature"]) == (temperature_scaling.SCORES, None)
    assert "Too few images." in (tmp_path / "out" / exported.README).read_text(encoding="utf-8")


def test_a_changed_model_file_is_refused(copy_of_trained, workspace, write):
    run = copy_of_trained(workspace)
    run.model_path.write_bytes(run.model_path.read_bytes() + b"x")
    with pytest.raises(RunDamaged):
        exported.make(workspace, run, "keras", write, silent)
    assert not list(workspace.exports.iterdir())


def test_a_folder_that_holds_something_stays_as_it_is(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidChoice):
        exported.check_target(tmp_path)
    exported.check_target(tmp_path / "new")


@pytest.mark.parametrize("name", FORMATS)
def test_the_example_of_each_format_is_python_of_less_than_thirty_lines(name, made):
    about = {**exported.facts(made, name, temperature_scaling.of(made)), "classes": ["it's", 'a "class"']}
    code = exported.example(about, FORMATS[name])
    compile(code, "example.py", "exec")
    assert len(code.splitlines()) < 30
    assert ascii(about["classes"]) in code
