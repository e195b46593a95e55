"""Which engine does the jobs of a workspace: set on the Home page, by ``engine``, or by the environment, which wins."""

import os
from importlib import util
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field

from covid_core import access, files
from covid_core.errors import InvalidChoice
from covid_core.formatting import plural
from covid_core.specs import Spec, parse
from covid_core.workspace import Workspace

VARIABLE = "COVID_CORE_EXECUTOR"
FILE = "executor.json"
MOST_LETTERS = 200  # of an address
EngineName = Literal["local", "ray", "slurm"]


class Engine(NamedTuple):
    """A row of ENGINES: the ``label`` on screen, the ``module`` that it needs, the extra that adds it, where its
    address comes from in the environment, what the address is, and what its empty field says."""

    label: str
    module: str = ""
    extra: str = ""
    variables: tuple[str, ...] = ()
    address: str = ""
    placeholder: str = ""


ENGINES: dict[str, Engine] = {
    "local": Engine("This computer"),
    "ray": Engine(
        "Ray",
        "ray",
        "ray",
        ("COVID_CORE_RAY_ADDRESS", "RAY_ADDRESS"),
        "Address of the cluster",
        "host:port; empty: that of this computer",
    ),
    "slurm": Engine(
        "SLURM",
        "submitit",
        "slurm",
        ("COVID_CORE_SLURM_PARTITION",),
        "Partition",
        "Empty: the default one",
    ),
}


class Choice(Spec):
    """An engine and what each job gets of it: processor ``cores``, and ``gpus`` where it can use some.

    ``address``: of Ray's cluster, host:port; of SLURM, the partition. Empty: the cluster that this computer belongs
    to, or SLURM's default partition. ``minutes``: SLURM ends a job then, and it goes on in a new one.
    ``parts``: the features of a training's images are computed in so many jobs beside each other, before it begins.
    """

    engine: EngineName = "local"
    address: str = Field(default="", max_length=MOST_LETTERS)
    cores: int = Field(default=1, ge=1, le=1024)
    gpus: int = Field(default=0, ge=0, le=64)
    minutes: int = Field(default=1440, ge=1, le=100_000)
    parts: int = Field(default=1, ge=1, le=1000)

    @property
    def is_local(self) -> bool:
        return self.engine == "local"

    @property
    def label(self) -> str:
        """How it is called on screen."""
        return ENGINES[self.engine].label


def is_set_outside() -> bool:
    """Whether the environment names the engine, so that the workspace's own choice does not count."""
    return bool(os.environ.get(VARIABLE))


def is_chosen(workspace: Workspace) -> bool:
    """Whether anybody has said where jobs are done."""
    return is_set_outside() or (workspace.root / FILE).exists()


def chosen(workspace: Workspace) -> Choice:
    """The engine of a workspace. Raises InvalidChoice where the setting is damaged, or what it needs is not here."""
    return _installed(_of_environment() if is_set_outside() else _written(workspace))


def _installed(choice: Choice) -> Choice:
    engine = ENGINES[choice.engine]
    if engine.module and util.find_spec(engine.module) is None:
        command = f'python -m pip install "second-look[{engine.extra}]"'
        raise InvalidChoice(f"Jobs go to {engine.label}, but it is not installed here. Add it: {command}")
    return choice


def in_words(choice: Choice) -> str:
    """Where jobs are done, in a sentence."""
    if choice.is_local:
        return "Jobs are done on this computer."
    cards = f" and {plural(choice.gpus, 'graphics card')}" if choice.gpus else ""
    at = f" ({choice.address})" if choice.address else ""
    cores = plural(choice.cores, "core")
    words = f"Trainings, audits and outside tests go to {choice.label}{at}, each with {cores}{cards}."
    return f"{words} Imports and lessons stay on this computer."


def choose(workspace: Workspace, choice: Choice) -> None:
    """Have the jobs of a workspace done there from now on; those at work stay where they are.

    Raises NotPermitted, or InvalidChoice where what it needs is not here.
    """
    access.check(workspace, access.ADMINISTER)
    _installed(choice)
    workspace.root.mkdir(parents=True, exist_ok=True)
    files.write_json(workspace.root / FILE, choice.model_dump(mode="json"))
    access.note(workspace, "choose engine", choice.engine)


def _written(workspace: Workspace) -> Choice:
    path = workspace.root / FILE
    try:
        return parse(Choice, files.read_json(path)) if path.exists() else Choice()
    except (OSError, ValueError) as error:
        raise InvalidChoice(f"{path.name} of the workspace is damaged. Choose the engine again.") from error


def _of_environment() -> Choice:
    name = os.environ[VARIABLE].strip().lower()
    variables = ENGINES[name].variables if name in ENGINES else ()
    address = next(filter(None, (os.environ.get(variable, "") for variable in variables)), "")
    fields = {"cores": f"{VARIABLE}_CORES", "gpus": f"{VARIABLE}_GPUS", "minutes": f"{VARIABLE}_MINUTES"}
    fields["parts"] = f"{VARIABLE}_PARTS"
    numbers = {field: os.environ[variable] for field, variable in fields.items() if os.environ.get(variable)}
    return parse(Choice, {"engine": name, "address": address, **numbers})


def source_folder() -> Path:
    """The folder that holds this package: workers, wherever they are, run the code of whoever started them."""
    return Path(__file__).resolve().parents[2]
