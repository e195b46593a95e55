"""The PACS that an administrator has named, and what it takes to sign in there. No other host is ever asked.

``COVID_CORE_PACS`` is ``NAME=ADDRESS``, several with commas between them; an address is that of the DICOMweb service,
such as ``https://pacs.example.org/dicom-web``. What signs in is ``USER:PASSWORD`` or ``Bearer TOKEN``: in
``COVID_CORE_PACS_LOGIN_NAME``, or by its name in the TOML file that ``COVID_CORE_PACS_LOGINS`` names, which only its
owner may read. It is kept out of the workspace, of logs and of every text here.
"""

import os
import re
import stat
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from covid_core.errors import InvalidChoice, cause

SETTING = "COVID_CORE_PACS"
LOGIN, LOGINS = f"{SETTING}_LOGIN", f"{SETTING}_LOGINS"
NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Server:
    """A PACS: its name here, the address of its DICOMweb service without a slash at the end, and what signs in."""

    name: str
    address: str
    login: str = field(default="", repr=False)


def configured() -> dict[str, Server]:
    """The PACS of the setting, by name. Raises InvalidChoice for one that is none."""
    entries = [entry.strip() for entry in os.environ.get(SETTING, "").split(",") if entry.strip()]
    return {server.name: server for server in map(_server, entries)}


def named(name: str) -> Server:
    """The PACS of that name. Raises InvalidChoice."""
    servers = configured()
    if name not in servers:
        there = f"It names {', '.join(servers)}" if servers else f"It is empty: {SETTING}=NAME=https://HOST/dicom-web"
        raise InvalidChoice(f"{SETTING} names no PACS {name[:40]!r}. {there}.")
    return servers[name]


def _server(entry: str) -> Server:
    name, _, address = entry.partition("=")
    parts = urlsplit(address)
    if not NAME.fullmatch(name) or not parts.hostname or "@" in parts.netloc:
        raise InvalidChoice(
            f"Write each PACS in {SETTING} as NAME=https://HOST/PATH, with a name of small letters and digits."
        )
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise InvalidChoice(f"The address of the PACS {name} must begin with https:// unless it is on this computer.")
    return Server(name, address.rstrip("/"), _login(name))


def _login(name: str) -> str:
    """What signs in at a PACS; "" where nothing is set. Raises InvalidChoice for a file that others may read."""
    if text := os.environ.get(f"{LOGIN}_{name.upper()}"):
        return text
    path = Path(os.environ.get(LOGINS, ""))
    if not path.name:
        return ""
    try:
        if os.name != "nt" and stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise InvalidChoice(f"Other accounts can read the file of {LOGINS}. Run chmod 600 on it.")
        return str(tomllib.loads(path.read_text(encoding="utf-8")).get(name, ""))
    except OSError as error:
        raise InvalidChoice(f"The file of {LOGINS} cannot be read: {cause(error)}.") from error
    except ValueError:  # its text would be quoted by the cause
        raise InvalidChoice(f'The file of {LOGINS} must have lines such as {name} = "USER:PASSWORD".') from None
