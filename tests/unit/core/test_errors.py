"""The tree of errors: drawn as it is, and each with a reason to exist."""

import re

from covid_core import errors


def test_the_drawn_tree_is_the_real_one():
    drawn = dict(drawn_parents())
    real = {
        kind.__name__: kind.__bases__[0].__name__
        for kind in vars(errors).values()
        if isinstance(kind, type) and kind is not errors.CovidCoreError
    }
    assert drawn == real


def drawn_parents():
    """Pairs (error, parent) as the module's picture shows them."""
    above = []
    for line in errors.__doc__.splitlines():
        found = re.match(r"^([│├└─ ]*)([A-Z]\w+)(\s|$)", line)
        if not found or not (found.group(1) or found.group(2) == "CovidCoreError"):
            continue
        depth = len(found.group(1)) // 4
        above = [*above[:depth], found.group(2)]
        if depth:
            yield above[-1], above[-2]
