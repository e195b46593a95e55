"""Which installed packages have known vulnerabilities: pip-audit, in an environment of its own."""

import json
import shutil
import subprocess
import sys
from typing import Any

from benchmarks.reliability.place import Measured, Place, Unmeasured

PATIENCE = 300
ROLES = "tests/unit/core/test_access.py"


def vulnerabilities_and_roles(place: Place) -> Measured:
    """Both; where no database can be reached, the roles alone, and the check is not held."""
    roles = place.tests(ROLES)
    figure = {"roles_passed": roles.figure["tests_passed"], "roles": roles.figure["tests"]}
    try:
        known = known_vulnerabilities(place)
    except Unmeasured as reason:
        return Measured(figure, None if roles.held else False, str(reason))
    return Measured({**figure, **known.figure}, bool(roles.held and known.held))


def known_vulnerabilities(_place: Place) -> Measured:
    """Asks PyPI's database about every package that is installed here, at the versions that are installed."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, check=False
    )
    return audited(listed.stdout)


def audited(requirements: str) -> Measured:
    """``requirements``: lines of NAME==VERSION. Raises Unmeasured where no database can be reached."""
    tool = shutil.which("pip-audit")
    uvx = shutil.which("uvx")
    if not tool and not uvx:
        raise Unmeasured("Neither pip-audit nor uvx is installed.")
    command = [tool] if tool else [str(uvx), "pip-audit"]
    options = ["--no-deps", "--disable-pip", "--format=json", "--progress-spinner=off", "-r", "/dev/stdin"]
    try:
        done = subprocess.run(
            [*command, *options], input=requirements, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise Unmeasured(f"The database did not answer within {PATIENCE} seconds.") from None
    if not done.stdout.startswith("{"):
        lines = done.stderr.strip().splitlines() or ["pip-audit said nothing."]
        raise Unmeasured(f"pip-audit could not ask its database: {lines[-1][:200]}")
    packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    known = {one["name"]: [flaw["id"] for flaw in one["vulns"]] for one in packages if one.get("vulns")}
    skipped = [one["name"] for one in packages if "skip_reason" in one]
    figure = {"packages": len(packages) - len(skipped), "not_in_the_database": skipped, "vulnerable": known}
    return Measured(figure, not known)
