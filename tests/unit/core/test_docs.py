"""README and docs/ against the code: commands, verbs, backbones, links."""

import re
from pathlib import Path

import pytest

from covid_core.backbones import BACKBONES
from covid_core.commands import main

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")  # to a file of the repository


def test_the_readme_is_short_and_has_the_two_commands_on_lines_of_their_own():
    """``.ci/run`` runs the second one as it stands there."""
    lines = README.splitlines()
    assert len(lines) <= 95
    assert "python -m pip install -r requirements.txt && python -m streamlit run app.py" in lines
    assert "python -m pip install -r requirements-dev.txt && python -m pytest -n auto" in lines


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page):
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert not [link for link in links if not (page.parent / link).exists()]


def test_every_page_of_docs_is_reached_from_the_readme():
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} <= set(LINK.findall(README))


def test_every_verb_stands_in_the_page_of_the_command_line():
    page = (ROOT / "docs/command-line.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^second-look ([a-z-]+)", page, re.MULTILINE))
    assert named == set(verbs())


def verbs() -> list[str]:
    parser = main._parser()
    return list(next(action for action in parser._actions if action.choices and action.metavar == "VERB").choices)


def test_the_page_of_backbones_has_the_facts_of_the_code():
    page = (ROOT / "docs/backbones.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([^|]+) \| [^|]+ \| ([^|]+) \|$", page, re.MULTILINE))
    for backbone in BACKBONES.values():
        assert rows[backbone.label] == backbone.good_at
        assert f"| {backbone.parameters:,}" in page
