"""The field's terms of ``glossary.toml``. ``python -m covid_core.glossary`` prints docs/glossary.md."""

import re
import tomllib
from pathlib import Path
from typing import NamedTuple

INTRODUCTION = """# Glossary

The terms that the app uses, in alphabetical order. Each page of the app shows its own terms behind "?".
`/?glossary=all` lists all, and `/?glossary=coverage` opens one.

This file is written by `python -m covid_core.glossary > docs/glossary.md`.
"""


class Term(NamedTuple):
    """A term, its definition (at most two sentences of at most 25 words) and, for a method, its source."""

    name: str
    definition: str
    source: str = ""

    @property
    def markdown(self) -> str:
        """The entry in one paragraph."""
        return f"**{self.name}**: {self.definition}{f' *{self.source}*' if self.source else ''}"

    @property
    def anchor(self) -> str:
        """The term in an address: ``test-time-augmentation``."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


_ROWS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
GLOSSARY = {term.anchor: term for term in (Term(name, *row) for name, row in _ROWS.items())}


def matching(text: str) -> list[Term]:
    """The terms that a search means: the term of that name alone, else all that hold the text, those by name first."""
    wanted = text.strip().lower()
    if exact := next((term for key, term in GLOSSARY.items() if wanted in (key, term.name.lower())), None):
        return [exact]
    terms = [term for term in GLOSSARY.values() if wanted in f"{term.name} {term.definition}".lower()]
    return sorted(terms, key=lambda term: wanted not in term.name.lower())


def page() -> str:
    """All terms as docs/glossary.md."""
    return "\n\n".join([INTRODUCTION.rstrip(), *(term.markdown for term in GLOSSARY.values())]) + "\n"


if __name__ == "__main__":
    print(page(), end="")
