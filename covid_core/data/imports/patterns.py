"""A regular expression that somebody typed, searched in paths by a process that can be ended.

Some expressions take years for a name of forty letters, and no other thread of the server works meanwhile.
"""

import json
import subprocess
import sys
from collections.abc import Sequence

from covid_core.errors import DataError

SECONDS = 5.0  # for all paths together; a hundred thousand usually take one
SEARCH = """
import json, re, sys
pattern, paths = json.load(sys.stdin)
matches = map(re.compile(pattern).search, paths)
json.dump([one and [one.group(), *one.groups()] for one in matches], sys.stdout)
"""


def searched(pattern: str, paths: Sequence[str]) -> list[list[str | None] | None]:
    """What the pattern finds in each path: the whole, then its groups; None where it finds nothing.

    Raises DataError where that takes longer than ``SECONDS``.
    """
    command = [sys.executable, "-I", "-S", "-c", SEARCH]
    try:
        done = subprocess.run(
            command, input=json.dumps([pattern, paths]), capture_output=True, text=True, timeout=SECONDS, check=True
        )
    except subprocess.TimeoutExpired:
        raise DataError(
            f"The pattern {pattern!r} takes longer than {SECONDS:g} seconds. Repeat no group that repeats itself."
        ) from None
    except subprocess.CalledProcessError as error:
        raise DataError(f"The pattern {pattern!r} cannot be searched: it takes too much memory.") from error
    matches: list[list[str | None] | None] = json.loads(done.stdout)
    return matches
