"""Exported models in environments without this project: older versions of Keras, runtimes alone, and a browser."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest
import services
from exported_page import image_files, served, unreadable_files
from made_fits import spec
from playwright.sync_api import Browser, expect
from waiting import LONG

from covid_core.exchange.forms import exported, formats
from covid_core.nets import export, model
from covid_core.nets.forms import writing
from covid_core.nets.model import build_head, build_trunk, pooling_of, to_logits, to_mean_logits
from covid_core.runs.store import Run
from covid_core.specs import InputSpec
from covid_core.work import silent

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # of Keras, TensorFlow and tf2onnx, which convert and save here
]
KERAS = {"3.6": "2.18"}  # each with its TensorFlow; docs/exchange.md states others, which take a minute each
OLD = ("keras==3.6.*", f"tensorflow-cpu=={KERAS['3.6']}.*")
PACKAGES = {"keras": OLD, "saved_model": OLD, "litert": ("ai-edge-litert",), "onnx": ("onnxruntime",)}
CLOSE = 1e-5
NETWORKS = (  # each layer of the app's backbones and of its preprocessing is in one of them
    {"backbone": "mobilenet_v2", "input": InputSpec(intensity="equalised")},
    {"backbone": "mobilenet_v2", "mode": "frozen", "test_time_flip": True},
    {"backbone": "efficientnet_v2_b0", "input": InputSpec(region="centre", intensity="per_image")},
    {"backbone": "densenet121"},
    {"backbone": "vgg16"},
    {"backbone": "inception_v3", "image_size": 96},
    {"backbone": "baseline_cnn"},
)
LOADED = """
import sys
import keras
import numpy as np
for path in sys.argv[1:]:
    images = np.load(path)["images"]
    network = keras.models.load_model(path.removesuffix("npz") + "keras", compile=False)
    np.savez(path, images=images, shares=network.predict_on_batch(images), version=keras.__version__)
"""


@pytest.fixture(scope="module")
def trained(copy_of_trained, place) -> Run:
    return copy_of_trained(place)


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The Python of an environment with these packages, made once."""
    made: dict[tuple[str, ...], Path] = {}

    def with_packages(*packages: str) -> str:
        if packages not in made:
            folder = tmp_path_factory.mktemp("environment")
            uv = [sys.executable, "-m", "uv"]
            subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, folder / "venv"], check=True)
            made[packages] = folder / "venv/bin/python"
            install = [*uv, "pip", "install", "--quiet", "--python", made[packages], *packages, "numpy", "pillow"]
            subprocess.run(install, check=True, timeout=LONG)
        return str(made[packages])

    return with_packages


@pytest.mark.parametrize("format", PACKAGES)
def test_the_example_of_a_format_predicts_without_this_project(format, trained, python, tmp_path):
    archive = exported.make(trained.workspace, trained, format, writing.write, silent)
    facts = exported.unpacked(archive, tmp_path / "out")
    squares, _ = exported.parity_images(trained.workspace, trained)
    told = (facts["output"], facts["classes"])
    here = exported.example_output(tmp_path / "out", squares, *told)
    there = exported.example_output(tmp_path / "out", squares, *told, python=python(*PACKAGES[format]))
    np.testing.assert_allclose(there, here, atol=CLOSE)


@pytest.fixture(scope="module")
def networks(tmp_path_factory) -> list[Path]:
    """Each of NETWORKS as a Keras file, beside it an ONNX file, and images with their shares."""
    folder = tmp_path_factory.mktemp("networks")
    return [network_files(folder / str(number), settings) for number, settings in enumerate(NETWORKS)]


@pytest.mark.parametrize("version", KERAS)
def test_models_of_all_layers_load_and_predict_in_each_keras(version, networks, python, tmp_path):
    names = [str(shutil.copy(path.with_suffix(suffix), tmp_path)) for path in networks for suffix in (".keras", ".npz")]
    packages = (f"keras=={version}.*", f"tensorflow-cpu=={KERAS[version]}.*")
    subprocess.run([python(*packages), "-c", LOADED, *names[1::2]], check=True, timeout=LONG)
    for path in networks:
        loaded = np.load(tmp_path / path.with_suffix(".npz").name)
        assert str(loaded["version"]).startswith(f"{version}.")
        np.testing.assert_allclose(loaded["shares"], shares_of(path), atol=CLOSE, err_msg=str(path))


@pytest.mark.parametrize("number", range(len(NETWORKS)))
def test_models_of_all_layers_predict_in_onnx_runtime(number, networks):
    network = onnxruntime.InferenceSession(networks[number].with_suffix(".onnx"))
    (image,) = network.get_inputs()
    (shares,) = network.run(None, {image.name: np.load(networks[number].with_suffix(".npz"))["images"]})
    np.testing.assert_allclose(shares, shares_of(networks[number]), atol=CLOSE)


def network_files(path: Path, settings: dict) -> Path:
    """A network of random weights as files, with what it gives for drawn images beside them.

    Its logits are scaled to a mean of 0 and a standard deviation of 1: with random weights they hardly depend on the
    image.
    """
    keras.utils.clear_session()
    settings = {"mode": "full", "weights": "random", "image_size": 64, **settings}
    chosen = spec(settings.pop("backbone"), **settings)
    trunk = build_trunk(chosen, None)
    head = build_head(chosen, [tuple(tensor.shape[1:]) for tensor in trunk.outputs])
    join = to_mean_logits if chosen.test_time_flip else to_logits
    classifier = join(trunk, head, pooling_of(chosen))
    images = export.probe_images(chosen.pixels)[:3, ..., None]
    logits = classifier.predict_on_batch(images)
    head.get_layer("logits").bias.assign(-logits.mean(axis=0))
    network = writing.calibrated(model.with_scores(classifier), float(logits.std(axis=0).mean()))
    for format in ("keras", "onnx"):
        writing.WRITERS[format](network, path.with_suffix(f".{format}"))
    shares = network.predict_on_batch(images)
    assert shares.std(axis=0).min() > 0.01
    np.savez(path.with_suffix(".npz"), images=images, shares=shares)
    return path


def shares_of(path: Path) -> np.ndarray:
    return np.load(path.with_suffix(".npz"))["shares"]


def test_the_page_predicts_in_a_browser_as_litert_does_and_sends_nothing(browser: Browser, trained, tmp_path):
    npm = [services.program("npm"), "install", "--no-audit", "--no-fund", "--prefix", str(trained.workspace.root)]
    subprocess.run([*npm, f"@litertjs/core@{formats.LITERTJS}"], check=True, timeout=LONG)
    folder = tmp_path / "out"
    facts = exported.unpacked(exported.make(trained.workspace, trained, "web", writing.write, silent), folder)
    readable, unreadable = image_files(tmp_path), unreadable_files(tmp_path)
    asked: list[str] = []
    with served(folder, tmp_path / "server.log") as address, browser.new_context() as context:
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        expect(page.locator("#files")).to_be_enabled()
        page.locator("#files").set_input_files([*readable, *unreadable])
        expect(page.locator("article > :last-child")).to_have_count(len(readable) + len(unreadable))
        expect(page.locator("article > .error")).to_have_count(len(unreadable))
        cells = page.locator("td").evaluate_all("(all) => all.map((one) => [one.dataset.label, +one.dataset.value])")
        assert [url for url in asked if not url.startswith(address)] == []
        with pytest.raises(Exception, match="fetch"):
            page.evaluate("fetch('https://example.org/', { method: 'POST', body: 'x' })")
    told = subprocess.run(
        [sys.executable, folder / exported.EXAMPLE, *readable], check=True, capture_output=True, text=True
    )
    own = [json.loads(line)[facts["output"]] for line in told.stdout.splitlines()]
    count = len(facts["classes"])
    for number, row in enumerate(own):
        shown = dict(cells[number * count : (number + 1) * count])
        assert shown == pytest.approx(row, abs=exported.PARITY_LIMIT)
