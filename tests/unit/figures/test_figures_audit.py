"""Figures of ladder and findings: what they draw, and that they say so in words."""

import pandas as pd

from covid_core.audit.shortcuts.probe_ladder import EVERYTHING, NO_LUNGS, Ladder, Probe, Rung
from covid_core.audit.tables import findings_by_class
from covid_core.evaluation.metrics import wilson
from covid_core.figures import audit

BORDER = Rung(Probe("border", "Border <pixels>", "", NO_LUNGS), 1000, wilson(700, 1000), 0.5, 0.0)
MISSING = Rung(Probe("outside", "Pixels outside", "", NO_LUNGS), reason="There are no masks.")
FULL = Rung(Probe("full", "The full picture", "", EVERYTHING), 1000, wilson(900, 1000), 0.5, 0.0)
LADDER = Ladder(("a", "b"), 1000, (BORDER, MISSING, FULL))


def test_every_probe_that_was_run_is_a_bar_with_its_interval():
    blind, seeing = audit.ladder_bars(LADDER).data[:2]
    assert (list(blind.x), list(seeing.x)) == ([0.7], [0.9])
    assert blind.x[0] + blind.error_x.array[0] == BORDER.accuracy.high
    assert blind.x[0] - blind.error_x.arrayminus[0] == BORDER.accuracy.low


def test_the_largest_class_and_the_full_picture_are_lines():
    assert {line.x0 for line in audit.ladder_bars(LADDER).layout.shapes} == {0.5, 0.9}


def test_names_are_drawn_letter_by_letter():
    assert "Border &lt;pixels&gt;" in audit.ladder_bars(LADDER).layout.annotations[0].text


def test_a_ladder_without_the_full_picture_has_no_line_for_it():
    assert len(audit.ladder_bars(Ladder(("a", "b"), 1000, (BORDER,))).layout.shapes) == 1


def test_the_alternative_text_holds_every_figure():
    words = audit.ladder_in_words(LADDER)
    assert all(
        text in words for text in ("70.0 % [67.1, 72.8]", "90.0 %", "baseline, dotted, 50.0 %", "dashed, 90.0 %")
    )
    assert "outside" not in words


LABELS = {"a1": "<A>", "a2": "<A>", "b1": "B", "b2": "B"}
FOUND = pd.DataFrame({"image_id": ["a1", "a2", "b1"], "finding": ["text", "text", "dark"]})


def test_each_class_has_a_bar_per_finding_in_its_colour():
    first, second = audit.finding_bars(findings_by_class(FOUND, LABELS)).data
    assert (list(first.x), list(second.x)) == ([100, 0], [0, 50])
    assert first.name == "&lt;A&gt;" and first.marker.color != second.marker.color


def test_findings_are_named_with_how_closely_they_go_with_the_class():
    names = [one.text for one in audit.finding_bars(findings_by_class(FOUND, LABELS)).layout.annotations]
    assert names == ["<b>text</b>  Cramér's V 1.00", "<b>dark</b>  Cramér's V 0.58"]


def test_a_finding_that_every_image_has_goes_with_no_class():
    table = findings_by_class(pd.DataFrame({"image_id": list(LABELS), "finding": "text"}), LABELS)
    assert audit.finding_bars(table).layout.annotations[0].text == "<b>text</b>"


def test_the_alternative_text_of_findings_holds_every_share():
    words = audit.findings_in_words(findings_by_class(FOUND, LABELS))
    assert "text: <A> 100.0 %, B 0.0 %" in words and "dark: <A> 0.0 %, B 50.0 %" in words
