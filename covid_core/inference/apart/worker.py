"""The process in which a network of others runs. ``apart.network`` starts it and is the only one to talk to it.

    python -m covid_core.inference.apart.worker

Requests on standard input and answers on standard output are JSON objects with their length before them, then plain
numbers. The first request names the networks, one after the other, and whether their files are to be checked, or the
one exported network of an opened run; every further one brings a batch. An answer says how many outputs follow it. It
ends with its input.
"""

import contextlib
import functools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from covid_core.errors import cause
from covid_core.images.sandbox_worker import ANSWER, Broken, limit, receive, send

MEGABYTES = 12 * 1024  # of addresses, beyond what the process has at its start; a large network at 1,280 px takes 4
STANDARD = ("", "ai.onnx", "ai.onnx.ml")  # domains of operators that ONNX itself defines
FLEX, CUSTOM = "Select TensorFlow op", "custom op"  # in what LiteRT says of operators that it lacks
ONE_AT_A_TIME = 1

Run = Callable[[np.ndarray], np.ndarray]
Opened = tuple[Run, int | None]
"""What runs a network, and how many parameters it has: None where the format does not tell, or nobody checks it."""


class Unusable(Exception):
    """The file cannot be a backbone; the text is a sentence for the user."""


def send_message(handle: IO[bytes], about: dict[str, Any], values: np.ndarray | None = None) -> None:
    """A JSON object, and an array whose shape and type it names."""
    if values is not None:
        about = {**about, "shape": values.shape, "dtype": str(values.dtype)}
    text = json.dumps(about).encode()
    send(handle, ANSWER.pack(len(text)) + text)
    if values is not None:
        send(handle, np.ascontiguousarray(values).data)


def receive_message(handle: IO[bytes]) -> tuple[dict[str, Any], np.ndarray | None]:
    """What ``send_message`` sent. Raises Broken."""
    (length,) = ANSWER.unpack(receive(handle, ANSWER.size))
    about = json.loads(receive(handle, length))
    if "shape" not in about:
        return about, None
    shape, kind = tuple(map(int, about["shape"])), np.dtype(about["dtype"])
    content = receive(handle, int(np.prod(shape)) * kind.itemsize)
    return about, np.frombuffer(content, kind).reshape(shape)


def main() -> None:
    requests, answers = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # libraries print what they like
    limit(MEGABYTES)
    with contextlib.suppress(Broken, OSError):  # the other side has ended; so does this
        order, _ = receive_message(requests)
        places = [Path(one["path"]) for one in order.get("chain", [{"path": order.get("network", "")}])]
        opened = _answered(answers, lambda: _opened(order), *places)
        while opened is not None:
            _, batch = receive_message(requests)
            _answered(answers, functools.partial(opened[0], batch), *places)


def _answered(answers: IO[bytes], work: Callable[[], Any], *places: Path) -> Any:
    """Do it and send how it went, with the arrays or the count of parameters. None where it failed."""
    try:
        done = work()
    except Unusable as refusal:
        return send_message(answers, {"error": str(refusal)})
    except MemoryError:
        return send_message(answers, {"error": "The network needs more memory than it may have."})
    except Exception as error:  # a file must not end this process without a word
        return send_message(answers, {"error": f"The network cannot be run: {cause(error, *places)[:200]}"})
    if isinstance(done, list):
        send_message(answers, {"error": "", "outputs": len(done)})
        for values in done:
            send_message(answers, {}, values)
    else:
        send_message(answers, {"error": "", "parameters": done[1]})
    return done


def _opened(order: dict[str, Any]) -> tuple[Callable[[np.ndarray], list[np.ndarray]], int | None]:
    if "network" in order:
        from covid_core.inference.network import LiteNetwork

        return LiteNetwork(Path(order["network"]), int(order["threads"])).run, None
    chain = [
        KINDS[one["kind"]](Path(one["path"]), one.get("output", ""), int(order["threads"]), bool(order["check"]))
        for one in order["chain"]
    ]
    channels_first = order["layout"] == "NCHW"

    def run(batch: np.ndarray) -> list[np.ndarray]:
        values = batch
        for network, _ in chain:
            values = network(values)
        return [_as_maps(values, len(batch), channels_first)]

    return run, chain[-1][1]


def _as_maps(values: np.ndarray, images: int, channels_first: bool) -> np.ndarray:
    """float32 (n, height, width, channels); a vector is one cell."""
    if values.ndim not in (2, 4) or len(values) != images:
        raise Unusable(
            f"The output has the shape {values.shape} for {images} images; a backbone gives maps of 4 dimensions or "
            "vectors of 2, the batch first."
        )
    if values.ndim == 2:
        values = values[:, None, None]
    elif channels_first:
        values = np.moveaxis(values, 1, 3)
    return np.ascontiguousarray(values, np.float32)


def _litert(path: Path, output: str, threads: int, _check: bool) -> Opened:
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_path=str(path), num_threads=threads)
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise Unusable(_why_not(str(error))) from error
    (entry,) = _only_one(inputs)
    place = _chosen([one["name"] for one in outputs], output)
    is_fixed = entry["shape_signature"][0] == ONE_AT_A_TIME
    _check_batch(entry["shape_signature"][0])

    def run(batch: np.ndarray) -> np.ndarray:
        _check_entry(entry["shape_signature"], batch, np.dtype(entry["dtype"]).name)
        if tuple(interpreter.get_input_details()[0]["shape"]) != batch.shape:
            interpreter.resize_tensor_input(entry["index"], batch.shape, strict=True)
            interpreter.allocate_tensors()
        interpreter.set_tensor(entry["index"], batch)
        interpreter.invoke()
        return np.array(interpreter.get_tensor(outputs[place]["index"]))

    return _one_by_one(run) if is_fixed else run, None


def _why_not(error: str) -> str:
    if FLEX in error:
        return "The file has operators of TensorFlow (Flex), which are refused. Convert it without them."
    if CUSTOM in error:
        return "The file has custom operators, which are refused. Convert it without them."
    return "The file is no LiteRT file that can be read, or is damaged."


def _onnx(path: Path, output: str, threads: int, check: bool) -> Opened:
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    parameters = _checked_parameters(path) if check else None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    # waiting threads must not spin: beside other work an image then takes 48 ms in place of 29
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (entry,) = _only_one(session.get_inputs())
    names = [one.name for one in session.get_outputs()]
    wanted = names[_chosen(names, output)]
    first = entry.shape[0] if entry.shape else None
    _check_batch(first if isinstance(first, int) else -1)

    def run(batch: np.ndarray) -> np.ndarray:
        _check_entry(entry.shape, batch, "float32" if entry.type == "tensor(float)" else entry.type)
        return np.asarray(session.run([wanted], {entry.name: batch})[0])

    return _one_by_one(run) if first == ONE_AT_A_TIME else run, parameters


def _checked_parameters(path: Path) -> int:
    """How many parameters an ONNX file has. Raises Unusable where it would read other files, or run operators that
    ONNX does not define."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model(str(path), load_external_data=False)
    except DecodeError as error:
        raise Unusable("The file is no ONNX file, or is damaged.") from error
    for message in _messages(model):
        if isinstance(message, onnx.TensorProto) and message.data_location == onnx.TensorProto.EXTERNAL:
            raise Unusable("The file keeps weights in other files. Save it as one file, without external data.")
        if isinstance(message, onnx.NodeProto) and message.domain not in STANDARD:
            raise Unusable(f"The file has the custom operator {message.domain}.{message.op_type}, which is refused.")
    return sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer)


def _messages(message: Any) -> Iterator[Any]:
    """A protobuf message and all within it, graphs of branches and functions included."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if isinstance(value, list) or hasattr(value, "add") else [value]:
                yield from _messages(part)


def _only_one(inputs: Any) -> list[Any]:
    if len(inputs) != 1:
        raise Unusable(f"The network has {len(inputs)} inputs; a backbone has one, the image.")
    return list(inputs)


def _chosen(names: list[str], output: str) -> int:
    if output in names:
        return names.index(output)
    if output or len(names) != 1:
        listed = ", ".join(names[:8])
        raise Unusable(f"The network has the outputs {listed}. Name one of them as output in the description.")
    return 0


def _check_entry(shape: Any, batch: np.ndarray, kind: str) -> None:
    """Raise Unusable where the network takes other inputs than the description says. ``shape`` has -1 or names where
    any length will do."""
    if kind != batch.dtype.name:
        raise Unusable(f"The input takes {kind}, not {batch.dtype.name}.")
    declared = [side if isinstance(side, int) and side > 0 else "any" for side in shape]
    if len(declared) != batch.ndim or any(
        a not in ("any", b) for a, b in zip(declared[1:], batch.shape[1:], strict=True)
    ):
        takes, described = (" x ".join(map(str, sides)) for sides in (declared[1:], batch.shape[1:]))
        raise Unusable(f"The input has the shape {takes}, and the description says {described} (without the batch).")


def _check_batch(first: int) -> None:
    if first > ONE_AT_A_TIME:
        raise Unusable(f"The network takes {first} images at once; a backbone takes any number, or one.")


def _one_by_one(run: Run) -> Run:
    return lambda batch: np.concatenate([run(batch[number : number + 1]) for number in range(len(batch))])


KINDS: dict[str, Callable[[Path, str, int, bool], Opened]] = {"onnx": _onnx, "litert": _litert}


if __name__ == "__main__":
    main()
