"""Files of weights that lie, link elsewhere or hold code: refused before TensorFlow is loaded, in little memory."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from covid_core import weights
from covid_core.backbones import BACKBONES
from covid_core.errors import InvalidChoice, WeightsUnavailable
from covid_core.runs import stored_weights
from covid_core.specs import TrainingSpec

DENSE = {
    "module": "keras.layers",
    "class_name": "Dense",
    "config": {"units": 8, "seed": 10**9},
    "shared_object_id": 10**14,
}
MOST = 300  # megabytes
MEASURED = """
import sys
from pathlib import Path
from covid_core.errors import CovidCoreError
from covid_core.runs import stored_weights
try:
    stored_weights.check_keras(Path(sys.argv[1]))
except CovidCoreError as error:
    print(error)
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(int(peak.split()[1]) // 1024, "tensorflow" in sys.modules)
"""


def hdf5(path: Path, change=lambda stored: None) -> Path:
    with h5py.File(path, "w") as stored:
        stored["layers/dense/vars/0"] = np.ones((4, 8), np.float32)
        change(stored)
    return path


def keras_file(path: Path, config: object, change=lambda stored: None) -> Path:
    inner = hdf5(path.with_suffix(".h5"), change)
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("config.json", config if isinstance(config, str) else json.dumps(config))
        packed.write(inner, "model.weights.h5")
    return path


def external(stored) -> None:
    stored["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/")


def soft(stored) -> None:
    stored["soft"] = h5py.SoftLink("/layers")


def virtual(stored) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/etc/hosts", "x", (4,))
    stored.create_virtual_dataset("v", layout)


def outside(stored) -> None:
    stored.create_dataset("outside", (4,), "f4", external=[("/etc/hosts", 0, 16)])


def shape_bomb(stored) -> None:
    stored.create_dataset("bomb", (10**5, 10**5), "f4", chunks=(10, 10))


def packed_bomb(stored) -> None:
    stored.create_dataset("bomb", data=np.zeros(10**7, "f4"), compression="gzip")


@pytest.mark.parametrize("change", [external, soft, virtual, outside, shape_bomb, packed_bomb])
def test_k3_k4_weights_that_lie_elsewhere_or_nowhere_are_refused(tmp_path, change):
    with pytest.raises(InvalidChoice, match="elsewhere|does not hold"):
        stored_weights.shapes(hdf5(tmp_path / "w.h5", change))


def test_a_group_within_itself_is_walked_once(tmp_path):
    def circle(stored) -> None:
        stored["layers/again"] = stored["layers"]

    assert stored_weights.shapes(hdf5(tmp_path / "w.h5", circle)) == [(4, 8)]


@pytest.mark.parametrize(
    "content", [b"", b"text", b"PK\x03\x04", b"\x80\x04cos\nsystem\n.", b"\x89HDF\r\n\x1a\n" + bytes(99)]
)
def test_k6_k7_what_holds_no_weights_is_refused(tmp_path, content):
    path = tmp_path / "w.h5"
    path.write_bytes(content)
    with pytest.raises(WeightsUnavailable, match="w.h5 is no HDF5"):
        weights.check_content(spec(path), BACKBONES["mobilenet_v2"])


def test_weights_of_a_smaller_network_are_refused(tmp_path):
    with pytest.raises(WeightsUnavailable, match="32 numbers"):
        weights.check_content(spec(hdf5(tmp_path / "w.h5")), BACKBONES["mobilenet_v2"])


def spec(path: Path) -> TrainingSpec:
    return TrainingSpec(dataset="-", classes=("0", "1"), backbone="mobilenet_v2", weights=f"file:{path}")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({**DENSE, "config": {"units": 2 * 10**8}}, "states a layer of 200,000,000"),
        ({**DENSE, "class_name": "Lambda"}, "Lambda"),
        ({**DENSE, "module": "os", "class_name": "system"}, "custom object system"),
        ({**DENSE, "registered_name": "mine>Secret"}, "custom object"),
        ("{", "damaged"),
        ("[" * 10**5, "damaged"),
    ],
)
def test_k1_k2_k5_a_model_of_code_or_of_no_size_is_refused(tmp_path, config, reason):
    with pytest.raises(InvalidChoice, match=reason):
        stored_weights.check_keras(keras_file(tmp_path / "m.keras", config))


def test_a_sound_file_passes(tmp_path):
    stored_weights.check_keras(keras_file(tmp_path / "m.keras", DENSE))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
def test_a_model_bomb_is_refused_in_little_memory_without_tensorflow(tmp_path):
    path = keras_file(tmp_path / "m.keras", {**DENSE, "config": {"units": 2 * 10**8}})
    done = subprocess.run([sys.executable, "-c", MEASURED, str(path)], capture_output=True, text=True, check=True)
    *_, said, last = done.stdout.splitlines()
    megabytes, has_tensorflow = last.split()
    assert "states a layer" in said
    assert has_tensorflow == "False"
    assert int(megabytes) < MOST
