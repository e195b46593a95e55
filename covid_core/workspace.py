"""Where data sets, runs and caches lie: one folder, the same from wherever the app or a command was started.

It is ``COVID_CORE_HOME``, else ``workspace/`` of the checkout that this code is run from, else, where the package was
installed, a folder of the user's (platformdirs: ``~/.local/share/second-look`` on Linux).
"""

import os
import re
import secrets
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from covid_core import files
from covid_core.errors import DataError, UnknownId

HOME = "COVID_CORE_HOME"
SOURCE = Path(__file__).resolve().parents[1]  # the checkout, or the folder of installed packages
NAME = "workspace"
KEY_BYTES = 32
PATIENCE = 5.0  # seconds; the key takes milliseconds
BUSY = "Another import makes the key of the patients' IDs right now. Try again in a moment."
ID_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


@dataclass(frozen=True)
class Location:
    """Where the workspace of this process is. ``reason`` says why there, and completes the sentence "because ..."."""

    path: Path
    reason: str

    @property
    def unused(self) -> Path | None:
        """A workspace in the current folder that earlier versions would have used: they took whatever lay there."""
        here = Path(NAME).resolve()
        is_other = not os.environ.get(HOME) and here != self.path
        return here if is_other and (here / "datasets").is_dir() else None


def location() -> Location:
    """Where the workspace of this process is, whether or not it exists yet."""
    if os.environ.get(HOME):
        return Location(Path(os.environ[HOME]).expanduser().resolve(), f"{HOME} names this folder")
    if is_checkout():
        return Location(SOURCE / NAME, "the app is run from its source code")
    return Location(platformdirs.user_data_path("second-look", appauthor=False), "it is the user's folder for data")


def is_checkout() -> bool:
    """Whether this code is run from a checkout; otherwise it is installed."""
    return (SOURCE / "app.py").is_file() and (SOURCE / "pyproject.toml").is_file()


class _Folder:
    """A folder of a workspace, made when it is first read. Where the disk takes none, it reads as an empty one, and the
    system refuses what is written into it."""

    def __init__(self, name: str):
        self.name = name

    def __get__(self, workspace: "Workspace", _owner: type) -> Path:
        folder = workspace.root / self.name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if not files.refusal_of(error):
                raise
        return folder


@dataclass(frozen=True)
class Workspace:
    """The folders of one installation. Each is made when it is first read.

    data sets, runs and studies are the user's; ``cache`` may be emptied at any time; ``trunks`` holds exported frozen
    networks that finished runs need for prediction.
    """

    root: Path

    @classmethod
    def default(cls) -> "Workspace":
        """The workspace of this process."""
        return cls(location().path)

    datasets = _Folder("datasets")
    runs = _Folder("runs")
    studies = _Folder("studies")
    jobs = _Folder("jobs")
    slots = _Folder("slots")
    trunks = _Folder("trunks")
    segmenters = _Folder("segmenters")  # trained networks that outline lungs
    backbones = _Folder("backbones")  # files that were added, one folder each
    pixels = _Folder("cache/pixels")
    features = _Folder("cache/features")
    tables = _Folder("cache/tables")  # small derived tables and thumbnails, made once per data set version
    exports = _Folder("cache/exports")  # models in the formats of others, one archive each
    uploads = _Folder("cache/uploads")  # archives handed in through the browser, removed when their import ends

    def patient_key(self) -> bytes:
        """What patients' IDs are hashed under, made once; nobody but this installation's user can read its file."""
        path = self.root / "patients.key"
        self.root.mkdir(parents=True, exist_ok=True)
        with files.FileLock(self.root / ".patients.lock").held(PATIENCE, DataError(BUSY)):
            if not path.exists():
                with files.published(path) as temporary:
                    temporary.touch(0o600)
                    temporary.write_bytes(secrets.token_bytes(KEY_BYTES))
            return path.read_bytes()


def new_id(name: str) -> str:
    """A fresh id that a person can still recognise: letters and digits of ``name``, then five random characters."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    stem = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].strip("-") or "x"
    return f"{stem}-{secrets.token_hex(3)[:5]}"


def folder_of(parent: Path, identifier: str, kind: str) -> Path:
    """The folder of a data set, run, study or job. Raises UnknownId for anything that is not a listed id.

    Ids come from web addresses, so only plain names of existing, unlinked folders directly below ``parent`` count.
    """
    folder = parent / identifier if ID_PATTERN.fullmatch(identifier) else None
    if folder is None or not folder.is_dir() or folder.is_symlink():
        raise UnknownId(f"There is no {kind} with the id {identifier[:80]!r}.")
    return folder


def list_folders(parent: Path) -> list[Path]:
    """Folders below ``parent`` whose names are ids, by name; hidden staging folders and links are not among them."""
    if not parent.exists():
        return []
    with os.scandir(parent) as entries:
        names = [e.name for e in entries if ID_PATTERN.fullmatch(e.name) and e.is_dir(follow_symlinks=False)]
    return [parent / name for name in sorted(names)]
