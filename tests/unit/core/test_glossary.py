"""The glossary: short definitions, a page in docs/ that says the same, and terms of pages that exist."""

import re
import tomllib
from pathlib import Path

import pytest

from covid_core import glossary
from covid_core.glossary import GLOSSARY

ROOT = Path(__file__).parents[3]


PAGES = tomllib.loads((ROOT / "pages/navigation.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("term", GLOSSARY.values(), ids=GLOSSARY.keys())
def test_a_definition_has_at_most_two_sentences_of_at_most_25_words(term):
    sentences = re.split(r"(?<=\.)\s+", term.definition)
    assert len(sentences) <= 2
    assert max(len(sentence.split()) for sentence in sentences) <= 25
    assert term.definition.endswith(".")


def test_every_page_names_terms_that_exist_each_once():
    for page in PAGES.values():
        terms = page["terms"]
        assert terms
        assert len(set(terms)) == len(terms)
        assert not set(terms) - GLOSSARY.keys()


def test_the_page_in_docs_says_the_same():
    assert (ROOT / "docs/glossary.md").read_text(encoding="utf-8") == glossary.page()


def test_a_search_finds_a_term_by_name_or_address_alone_and_others_by_what_they_hold():
    assert [term.name for term in glossary.matching("Coverage ")] == ["Coverage"]
    assert [term.name for term in glossary.matching("test-time-augmentation")] == ["Test-time augmentation"]
    assert [term.name for term in glossary.matching("duplicate")] == ["Duplicate"]
    assert [term.name for term in glossary.matching("predictive value")] == ["NPV", "PPV"]
    assert [term.name for term in glossary.matching("split")][:3] == ["Group split", "Random split", "Source split"]
    assert len(glossary.matching("")) == len(GLOSSARY)
    assert glossary.matching("no such term") == []


def test_terms_stand_in_alphabetical_order():
    names = [term.name for term in GLOSSARY.values()]
    assert names == sorted(names, key=str.lower)
