"""Which installed packages have known vulnerabilities: ``python -m benchmarks.reliability.dependencies``.

Asks by pip-audit, which is installed or which uvx fetches. Ends with 1 where one is known, and says loudly on standard
error where no database could be reached: nothing is known then, which is no good news.
"""

import json
import shutil
import subprocess
import sys
from typing import Any

from benchmarks.reliability.place import Measured, Place, Unmeasured

PATIENCE = 300
ROLES = "tests/unit/core/test_rights.py"


def vulnerabilities_and_roles(place: Place) -> Measured:
    """Both; where no database can be reached, the roles alone, and the check is not held."""
    roles = place.tests(ROLES)
    figure = {"roles_passed": roles.figure["tests_passed"], "roles": roles.figure["tests"]}
    try:
        known = known_vulnerabilities()
    except Unmeasured as reason:
        return Measured(figure, None if roles.held else False, str(reason))
    held = False if False in (roles.held, known.held) else known.held
    return Measured({**figure, **known.figure}, held, known.reason)


def known_vulnerabilities() -> Measured:
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
    return judged(json.loads(done.stdout)["dependencies"])


def judged(packages: list[dict[str, Any]]) -> Measured:
    """What pip-audit's list of packages says. Raises Unmeasured where its database knows none of them."""
    known = {one["name"]: [flaw["id"] for flaw in one["vulns"]] for one in packages if one.get("vulns")}
    skipped = [one["name"] for one in packages if "skip_reason" in one]
    if len(skipped) == len(packages):
        raise Unmeasured(f"The database that pip-audit reached knows none of {len(packages)} packages.")
    figure = {"packages": len(packages) - len(skipped), "not_in_the_database": skipped, "vulnerable": known}
    reason = "The database lacks some packages." if skipped else ""
    return Measured(figure, False if known else None if skipped else True, reason)


def main() -> None:
    try:
        found = known_vulnerabilities()
    except Unmeasured as reason:
        print(f"\n*** NOT CHECKED FOR KNOWN VULNERABILITIES: {reason}\n", file=sys.stderr)
        return
    print(json.dumps(found.figure))
    sys.exit(found.held is False)


if __name__ == "__main__":
    main()
