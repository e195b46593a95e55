"""Added backbones: files that map an image to features, each in its folder of the workspace with its description.

``backbones/NAME/`` is published whole, by the job that checked the file, and never changed: the file (``file_name``)
and ``backbone.json``, its ``BackboneFile``. A run carries the description in its spec and finds the file by its hash.
"""

import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from covid_core import access, files
from covid_core.backbones import BACKBONES, Backbone, BackboneFile, backbone_named
from covid_core.errors import InvalidChoice, JobRefused, RunDamaged
from covid_core.formatting import plural
from covid_core.runs import store
from covid_core.specs import parse
from covid_core.workspace import Workspace

RECORD = "backbone.json"
RUNTIME = ("onnx", "onnxruntime")  # modules that an ONNX file needs
NO_RUNTIME = "An ONNX file needs ONNX Runtime, which is not installed: pip install onnx onnxruntime"


def described(path: Path) -> BackboneFile:
    """The description in a JSON file of a person. Raises InvalidChoice with the first broken rule."""
    try:
        fields = files.read_json(path)
    except (OSError, ValueError) as error:
        raise InvalidChoice(f"The description {path.name} is missing or no JSON file.") from error
    try:
        return parse(BackboneFile, {**fields, "measured": None} if isinstance(fields, dict) else fields)
    except InvalidChoice as error:
        raise InvalidChoice(f"{path.name}: {error}") from error


def listed(workspace: Workspace) -> list[BackboneFile]:
    """All added backbones that can be read, by name."""
    whole, _ = store.readable(workspace.backbones, _read, "backbone")
    return whole


def _read(folder: Path) -> BackboneFile:
    try:
        file = BackboneFile.model_validate(files.read_json(folder / RECORD))
        if file.measured is None:
            raise ValueError("it was never checked")
        return file
    except (OSError, ValueError) as error:
        raise RunDamaged(f"The backbone {folder.name} is damaged: remove it and add it again.") from error


def named(workspace: Workspace, name: str) -> Backbone:
    """The backbone of that name, built in or added. Raises InvalidChoice with the names that exist."""
    added = {one.name: one for one in listed(workspace)}
    if name in added:
        return added[name].backbone
    try:
        return backbone_named(name)
    except InvalidChoice as error:
        names = ", ".join([*BACKBONES, *added])
        raise InvalidChoice(f"The backbone must be one of {names}, received: {name!r}.") from error


def resolved(workspace: Workspace, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a spec, with the description where they name an added backbone and bring none."""
    name = fields.get("backbone")
    if isinstance(name, str) and "backbone_file" not in fields:
        added = next((one for one in listed(workspace) if one.name == name), None)
        if added:
            return {**fields, "backbone_file": added.model_dump(mode="json")}
    return dict(fields)


def folder_of(workspace: Workspace, name: str) -> Path:
    """Where a backbone of that name lies, whether or not it is there."""
    return workspace.backbones / name.replace("_", "-")


def for_bundle(file: BackboneFile) -> BackboneFile:
    """The same under a name that no other file has, in a bundle and in the workspace that opens it."""
    return file.model_copy(update={"name": f"{file.name[:31]}_{file.sha256[:8]}"})


def carried(workspace: Workspace, runs: Iterable[store.Run]) -> dict[str, bytes | Path]:
    """What of added backbones goes along with runs, by name in a workspace: all that they predict with, each file once.
    A .keras file does not: the run's own network holds it. Raises RunDamaged where a file is gone."""
    needed = (run.spec.backbone_file for run in runs)
    content: dict[str, bytes | Path] = {}
    for file in {file.identity: file for file in needed if file and file.runs_apart}.values():
        path, record = path_of(workspace, file), for_bundle(file)
        place = f"{workspace.backbones.name}/{folder_of(workspace, record.name).name}"
        content[f"{place}/{path.name}"] = path
        content[f"{place}/{RECORD}"] = files.json_bytes(record.model_dump(mode="json"))
    return content


def same_file(workspace: Workspace, file: BackboneFile) -> BackboneFile | None:
    """The added backbone here that is that very file, whatever its name; None where there is none."""
    return next((one for one in listed(workspace) if one.identity == file.identity), None)


def path_of(workspace: Workspace, file: BackboneFile) -> Path:
    """The file of that hash, whatever its name here. Raises RunDamaged where it is gone or was changed."""
    one = same_file(workspace, file)
    if one is None:
        again = f"Add the file with the SHA-256 {file.sha256[:12]}... again."
        raise RunDamaged(f"The backbone {file.label} is gone. {again}")
    path = folder_of(workspace, one.name) / one.file_name
    if not path.is_file() or files.sha256_of(path) != file.sha256:
        raise RunDamaged(f"The file of the backbone {one.name} is gone or was changed. Remove it and add it again.")
    return path


def has_runtime(file: BackboneFile) -> bool:
    """Whether what runs such a file is installed."""
    return file.kind != "onnx" or all(importlib.util.find_spec(module) for module in RUNTIME)


def check_runtime(file: BackboneFile) -> None:
    """Raise JobRefused, with the way out, where what runs such a file is not installed."""
    if not has_runtime(file):
        raise JobRefused(NO_RUNTIME)


def check(workspace: Workspace, file: BackboneFile) -> None:
    """Raise what keeps a run on this backbone from starting: RunDamaged or JobRefused."""
    check_runtime(file)
    path_of(workspace, file)


def users(workspace: Workspace, file: BackboneFile) -> list[store.Run]:
    """Runs that are built on the file of that hash."""
    runs, _ = store.list_runs(workspace)
    return [run for run in runs if run.spec.backbone_file and run.spec.backbone_file.sha256 == file.sha256]


def remove(workspace: Workspace, name: str) -> None:
    """Remove an added backbone. Raises InvalidChoice where there is none, JobRefused while runs need it."""
    access.check(workspace, access.ADMINISTER, what=name)
    file = next((one for one in listed(workspace) if one.name == name), None)
    folder = folder_of(workspace, name)
    if file is None and not folder.is_dir():
        raise InvalidChoice(f"There is no added backbone {name!r}.")
    needed_by = users(workspace, file) if file else []
    if needed_by:
        need = plural(len(needed_by), "run needs", "runs need")
        raise JobRefused(f"{need} {name} to predict, such as {needed_by[0].name}. Delete what needs it first.")
    files.remove_folder(folder)
    access.note(workspace, "remove backbone", name)


def write_record(folder: Path, file: BackboneFile) -> None:
    """Write the description into a staging folder that has the file."""
    files.write_json(folder / RECORD, file.model_dump(mode="json"))


def check_addition(workspace: Workspace, file: BackboneFile, source: Path) -> None:
    """Raise what can be known to fail before the file is read: InvalidChoice or JobRefused."""
    if folder_of(workspace, file.name).exists():
        raise InvalidChoice(f"There is a backbone {file.name} already. Remove it, or choose another name.")
    if not source.is_file():
        raise InvalidChoice(f"There is no file {source.name}.")
    if not str(source).lower().endswith(Path(file.file_name).suffix):
        raise InvalidChoice(f"{source.name} does not end in {Path(file.file_name).suffix}, as kind {file.kind} says.")
    check_runtime(file)
