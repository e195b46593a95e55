"""The items of reporting guidelines, each ticked, open or not applicable by what files show and by nothing else."""

import tomllib
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from covid_core.exchange.cards.evidence import EVIDENCE, Shown, Subject

TICKED, OPEN, NOT_APPLICABLE = STATES = ("ticked", "open", "not applicable")
ABOUT_MODEL = "about a model"


@dataclass(frozen=True)
class Item:
    """An item with its state: ``shown`` is what files show of it, ``reason`` why it does not apply."""

    number: str
    text: str
    state: str
    shown: tuple[Shown, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Checklist:
    """A guideline with its items. ``note`` is what its numbers were taken from."""

    title: str
    cite: str
    note: str
    items: tuple[Item, ...] = field(repr=False)

    @property
    def counts(self) -> dict[str, int]:
        """How many items have each state."""
        times = Counter(item.state for item in self.items)
        return {state: times[state] for state in STATES}


@cache
def _tables() -> dict[str, dict[str, Any]]:
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


def checklists(subject: Subject) -> list[Checklist]:
    """All guidelines about a run or a data set. Raises RunDamaged or DataError."""
    evidence = {name: subject.shown(name) for name in EVIDENCE}
    made = []
    for one in _tables().values():
        stated = set[str]()  # words stand once in a guideline, and later the file alone
        items = tuple(_item(row, evidence, subject, stated) for row in one["items"])
        made.append(Checklist(one["title"], one["cite"], one["note"], items))
    return made


def _item(row: dict[str, Any], evidence: dict[str, Shown | None], subject: Subject, stated: set[str]) -> Item:
    needed, further = row.get("shown", []), row.get("helps", [])
    names = [name for name in (*needed, *further) if evidence[name]]
    there = tuple(
        replace(shown, text="" if name in stated else shown.text) for name in names if (shown := evidence[name])
    )
    number, text = row["no"], row["item"]
    if "never" in row:
        return Item(number, text, NOT_APPLICABLE, reason=row["never"])
    if subject.run is None and (needed or further) and all(EVIDENCE[name].is_of_run for name in (*needed, *further)):
        return Item(number, text, NOT_APPLICABLE, reason=ABOUT_MODEL)
    if "unless" in row and not evidence[row["unless"]]:
        return Item(number, text, NOT_APPLICABLE, reason="the files hold none")
    stated.update(names)
    is_ticked = bool(needed) and all((shown := evidence[name]) and shown.is_whole for name in needed)
    return Item(number, text, TICKED if is_ticked else OPEN, there)
