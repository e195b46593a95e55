"""Exported models in environments without this project: an old Keras, runtimes alone, and a browser."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import services
from exported_page import image_files, served, unreadable_files
from made_fits import spec
from playwright.sync_api import Browser, expect
from waiting import LONG

from covid_core.exchange.forms import exported, formats
from covid_core.nets import model
from covid_core.nets.forms import writing
from covid_core.nets.model import build_head, build_trunk, pooling_of, to_logits, to_mean_logits
from covid_core.runs.store import Run
from covid_core.specs import InputSpec
from covid_core.work import silent

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # of Keras, TensorFlow and tf2onnx, which convert and save here
]
OLD = ("keras==3.6.*", "tensorflow-cpu==2.18.*")
PACKAGES = {"keras": OLD, "saved_model": OLD, "litert": ("ai-edge-litert",), "onnx": ("onnxruntime",)}
CLOSE = 1e-5
NETWORKS = (  # each layer of the app's backbones and of its preprocessing is in one of them
    {"backbone": "mobilenet_v2", "image_size": 64, "input": InputSpec(intensity="equalised")},
    {"backbone": "mobilenet_v2", "image_size": 64, "mode": "frozen", "test_time_flip": True},
    {"backbone": "efficientnet_v2_b0", "image_size": 64, "input": InputSpec(region="centre", intensity="per_image")},
    {"backbone": "densenet121", "image_size": 64},
    {"backbone": "inception_v3", "image_size": 96},
    {"backbone": "baseline_cnn", "image_size": 64},
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


@pytest.mark.parametrize("form", PACKAGES)
def test_the_example_of_a_form_predicts_without_this_project(form, trained, python, tmp_path):
    archive = exported.make(trained.workspace, trained, form, writing.write, silent)
    facts = exported.unpacked(archive, tmp_path / "out")
    squares, _ = exported.parity_images(trained.workspace, trained)
    told = (facts["output"], facts["classes"])
    here = exported.example_output(tmp_path / "out", squares, *told)
    there = exported.example_output(tmp_path / "out", squares, *told, python=python(*PACKAGES[form]))
    np.testing.assert_allclose(there, here, atol=CLOSE)


def test_models_of_all_layers_load_and_predict_in_keras_3_6(python, tmp_path):
    names = [str(network_file(tmp_path / f"{number}.keras", settings)) for number, settings in enumerate(NETWORKS)]
    here = [np.load(name)["shares"] for name in names]
    subprocess.run([python(*OLD), "-c", LOADED, *names], check=True, timeout=LONG)
    for name, shares in zip(names, here, strict=True):
        loaded = np.load(name)
        assert str(loaded["version"]).startswith("3.6.")
        np.testing.assert_allclose(loaded["shares"], shares, atol=CLOSE, err_msg=name)


def network_file(path: Path, settings: dict) -> Path:
    """A network of random weights in Keras's form, with what it gives for drawn images beside it."""
    keras.utils.clear_session()
    settings = {"mode": "full", "weights": "random", **settings}
    chosen = spec(settings.pop("backbone"), **settings)
    trunk = build_trunk(chosen, None)
    head = build_head(chosen, [tuple(tensor.shape[1:]) for tensor in trunk.outputs])
    join = to_mean_logits if chosen.test_time_flip else to_logits
    network = writing.calibrated(model.with_scores(join(trunk, head, pooling_of(chosen))), 1.7)
    writing.WRITERS["keras"](network, path)
    images = np.random.default_rng(0).integers(0, 256, (3, *network.inputs[0].shape[1:]), np.uint8)
    beside = path.with_suffix(".npz")
    np.savez(beside, images=images, shares=network.predict_on_batch(images))
    return beside


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
