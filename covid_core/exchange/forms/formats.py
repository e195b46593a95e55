"""The formats in which a model can be taken away: one table."""

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from covid_core.errors import InvalidChoice, JobRefused
from covid_core.workspace import Workspace

LITERTJS = "2.5.3"  # the version that the web page is tested with
NO_TF2ONNX = 'The ONNX format needs tf2onnx, which is not installed: python -m pip install "second-look[onnx]"'
NO_LITERTJS = (
    f"The web page needs LiteRT.js {LITERTJS} (Apache-2.0, 12 MB). Install it into the workspace, the folder that "
    f"second-look where prints: npm install --prefix WORKSPACE @litertjs/core@{LITERTJS}"
)
TF2ONNX = ("tf2onnx", "onnx", "onnxruntime")


class Code(NamedTuple):
    """What the example does in a format: what it imports, how it opens the model, what it does with a ``batch``, and
    what then are the shares, of shape (1, classes)."""

    imports: str
    opened: str
    called: str
    run: str = ""


_LITERT = Code(
    "from ai_edge_litert.interpreter import Interpreter",
    'network = Interpreter(str(HERE / "{file}"))\nnetwork.allocate_tensors()',
    'network.get_tensor(network.get_output_details()[0]["index"])',
    'network.set_tensor(network.get_input_details()[0]["index"], batch)\n    network.invoke()',
)


def litertjs(workspace: Workspace) -> dict[str, Path]:
    """The files of LiteRT.js in the workspace, by where a page has them. Nothing is downloaded: npm puts them there.

    Raises JobRefused where they are missing, or of a version that the page was not tested with.
    """
    root = workspace.root / "node_modules" / "@litertjs"
    wasm = [f"litert_wasm_{kind}internal.{suffix}" for kind in ("", "compat_") for suffix in ("js", "wasm")]
    files = {
        "core.js": root / "core/dist/index.js",
        "wasm-utils.js": root / "wasm-utils/dist/index.js",
        **{f"wasm/{name}": root / "core/wasm" / name for name in wasm},  # compat: of browsers without relaxed SIMD
    }
    try:
        version = json.loads((root / "core/package.json").read_text(encoding="utf-8"))["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise JobRefused(NO_LITERTJS) from error
    if version != LITERTJS or not all(path.is_file() for path in files.values()):
        raise JobRefused(NO_LITERTJS)
    return files


def _check_tf2onnx(_workspace: Workspace) -> None:
    if not all(importlib.util.find_spec(module) for module in TF2ONNX):
        raise JobRefused(NO_TF2ONNX)


@dataclass(frozen=True)
class Format:
    """A row of FORMATS.

    Attributes:
        label: as people know it.
        suffix: of the model's file; a folder has none.
        written_as: by which of ``nets.forms.writing.WRITERS``.
        code: of the example.
        needs: packages that the example needs, for pip.
        check: raises JobRefused where this installation lacks what the format needs.
        note: one sentence on its use.
    """

    label: str
    suffix: str
    written_as: str
    code: Code
    needs: str
    note: str
    check: Callable[[Workspace], object] = lambda _workspace: None

    @property
    def file(self) -> str:
        """Name of the model in the folder."""
        return f"model{self.suffix}"


FORMATS = {
    "keras": Format(
        "Keras",
        ".keras",
        "keras",
        Code(
            "import keras",
            'network = keras.models.load_model(HERE / "{file}", compile=False)',
            "network.predict_on_batch(batch)",
        ),
        '"keras>=3.6" tensorflow',
        "Keras 3.6 and later opens it, with any of its backends.",
    ),
    "saved_model": Format(
        "TensorFlow SavedModel",
        "",
        "saved_model",
        Code(
            "import tensorflow as tf",
            'network = tf.saved_model.load(str(HERE / "{file}"))',
            "network.serve(batch).numpy()",
        ),
        '"tensorflow>=2.17"',
        "For TensorFlow Serving and programs that use TensorFlow alone.",
    ),
    "litert": Format(
        "LiteRT",
        ".tflite",
        "litert",
        _LITERT,
        "ai-edge-litert",
        "Small and quick; for phones, small computers and programs without TensorFlow.",
    ),
    "onnx": Format(
        "ONNX",
        ".onnx",
        "onnx",
        Code(
            "import onnxruntime",
            'network = onnxruntime.InferenceSession(HERE / "{file}")',
            "network.run(None, {{network.get_inputs()[0].name: batch}})[0]",
        ),
        "onnxruntime",
        "For ONNX Runtime, in many languages and on many kinds of computer.",
        _check_tf2onnx,
    ),
    "web": Format(
        "Web page",
        ".tflite",
        "litert_of_one",
        _LITERT,
        "ai-edge-litert",
        "A page that predicts in the browser. No image leaves the computer.",
        litertjs,
    ),
}


def named(name: str) -> Format:
    """The format of that name. Raises InvalidChoice with those that there are."""
    if name not in FORMATS:
        raise InvalidChoice(f"The format must be one of {', '.join(FORMATS)}, received: {name!r}.")
    return FORMATS[name]
