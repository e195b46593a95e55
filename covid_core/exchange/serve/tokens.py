"""Who may use the prediction server: a file of the workspace with a line ``NAME ROLE TOKEN`` for each.

It is read at every request, so a line that is taken out ends its access at once.
"""

import hmac
import os
import secrets
import stat
from pathlib import Path

from covid_core import access, files
from covid_core.access import Actor, Role
from covid_core.errors import DataError, cause
from covid_core.workspace import Workspace

FILE = "api.tokens"  # in the workspace
ROLES = {role.label: role for role in Role if role}
SHORTEST = 32  # characters
PATIENCE = 5.0  # seconds; making the file takes milliseconds
BUSY = "Another server is writing the file of tokens. Try again in a moment."


def path_of(workspace: Workspace) -> Path:
    """The file of tokens, made with one of a viewer where there is none. Raises DataError, NotPermitted."""
    path = workspace.root / FILE
    if not path.exists():
        access.check(workspace, access.ADMINISTER, what=FILE)
        workspace.root.mkdir(parents=True, exist_ok=True)
        with files.FileLock(workspace.root / ".tokens.lock").held(PATIENCE, DataError(BUSY)):
            if not path.exists():
                with files.published(path) as temporary:
                    temporary.touch(0o600)
                    temporary.write_text(f"client viewer {secrets.token_urlsafe(SHORTEST)}\n", encoding="utf-8")
                access.note(workspace, "make file of tokens", FILE)
    return path


def actors(path: Path) -> dict[str, Actor]:
    """Who acts with which token. Raises DataError for a file that is missing, open to other accounts, or wrong."""
    try:
        if os.name != "nt" and stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise DataError(f"Other accounts can read {path.name}. Run chmod 600 on it, and replace its tokens.")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise DataError(f"The file {path.name} cannot be read: {cause(error)}.") from error
    named: dict[str, Actor] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, role, token = (*line.split(), "", "", "")[:3]
        if role not in ROLES or len(token) < SHORTEST or len(line.split()) > 3:
            rule = f"Roles: {', '.join(ROLES)}. A token has {SHORTEST} characters or more."
            raise DataError(f"Line {number} of {path.name} must be NAME ROLE TOKEN. {rule}")
        named[token] = Actor(f"token {name}", ROLES[role])
    return named


def actor(path: Path, presented: str) -> Actor | None:
    """Who acts with a token; None for a wrong one. Each is compared in constant time. Raises DataError."""
    matching = [one for token, one in actors(path).items() if hmac.compare_digest(token.encode(), presented.encode())]
    return matching[0] if matching else None
