"""The audit of a data set in plain English: every verdict with its figures, and what is said where there are none."""

import numpy as np
import pandas as pd
import pytest

from covid_core.audit import tables
from covid_core.audit.embedding.embedding_map import Map
from covid_core.audit.quality import findings
from covid_core.audit.shortcuts.probe_ladder import (
    COARSE,
    EVERYTHING,
    GREYS,
    LUNGS,
    NO_LUNGS,
    OUTLINE,
    Ladder,
    Probe,
    Rung,
    Sources,
)
from covid_core.evaluation.assessment import at_least_by_chance
from covid_core.evaluation.metrics import wilson
from covid_core.reports import audit_text

LABELS = {"a1": "A", "a2": "A", "a3": "A", "a4": "A", "b1": "B", "b2": "B", "b3": "B", "b4": "B"}


def rung(name: str, holds: str, hits: int, images: int = 1000) -> Rung:
    """A rung that was right on so many images, where the largest class has half of them."""
    p = at_least_by_chance(hits, images, 0.5)
    return Rung(Probe(name, f"Probe {name}", "", holds), images, wilson(hits, images), 0.5, p)


FULL = rung("full", EVERYTHING, 900)


def ladder(*rungs: Rung) -> Ladder:
    return Ladder(("a", "b"), 1000, rungs)


@pytest.mark.parametrize(
    ("rungs", "headline"),
    [
        (
            (rung("border", NO_LUNGS, 750), FULL),
            "Much of what can be learned here is not the lungs. Probe border alone reach 63 % of the full picture's "
            "gain over the majority baseline, with an accuracy of 75.0 % [72.2, 77.6] (majority baseline 50.0 %; full "
            "picture, which is probe full, 90.0 %).",
        ),
        (
            (rung("border", NO_LUNGS, 600), FULL),
            "Some of what can be learned here is not the lungs. Probe border alone reach 25 %",
        ),
        ((rung("border", NO_LUNGS, 600, 800), FULL), "75.0 % [71.9, 77.9] on the 800 images (majority baseline"),
        ((rung("border", NO_LUNGS, 510), FULL), "“probe border” with an accuracy of 51.0 % [47.9, 54.1]"),
        ((rung("border", NO_LUNGS, 505), rung("full", EVERYTHING, 510)), "an accuracy of 51.0 % [47.9, 54.1] on 1,000"),
        ((FULL,), "no probe without lungs could be measured"),
        ((rung("border", NO_LUNGS, 750),), "the full picture could not be measured"),
    ],
    ids=["much", "some", "fewer images", "nothing", "nothing learned", "no probe", "no full picture"],
)
def test_each_verdict_of_a_ladder_has_its_figures(rungs, headline):
    assert headline in audit_text.ladder(ladder(*rungs)).headline


def test_greys_a_thumbnail_and_both_halves_are_told_beside():
    others = rung("histogram", GREYS, 880), rung("thumbnail", COARSE, 890)
    halves = rung("lungs", LUNGS, 800), rung("outline", OUTLINE, 700)
    details = audit_text.ladder(ladder(rung("border", NO_LUNGS, 500), *others, *halves, FULL)).details
    assert "a dense lung is a bright one" in details[0]
    assert "89.0 %" in details[1]
    assert details[2] == "Probe lungs: accuracy 80.0 % [77.4, 82.4], their outline alone 70.0 % [67.1, 72.8]."


def test_what_could_not_be_run_is_told_with_its_reason_once():
    missing = [Rung(Probe(key, f"Probe {key}", "", LUNGS), reason="There are no masks.") for key in "xy"]
    details = audit_text.ladder(ladder(rung("border", NO_LUNGS, 750), *missing, FULL)).details
    assert details == ("Not measured: probe x, probe y. There are no masks.",)


def test_sources_are_told_with_their_association_and_each_question():
    told = rung("border", NO_LUNGS, 750), rung("border", NO_LUNGS, 500)
    ladders = {label: ladder(one) for label, one in zip(("COVID", "Normal"), told, strict=True)}
    first, of_covid, of_normal, corrected = audit_text.sources(Sources(60, 10, 2, 1.0, ladders))
    assert "is 1.000" in first and "on 60 images of 2 sources; 10 have no known source" in first
    assert of_covid.startswith("Within COVID, probe border predict the source with an accuracy of 75.0 %")
    assert of_covid.endswith(": better than the majority baseline of 50.0 % (p < 0.001).")
    assert ": not better than" in of_normal
    assert "2 comparisons" in corrected


def test_unknown_sources_and_a_single_one_compare_nothing():
    (unknown,) = audit_text.sources(Sources(0, 70, 0, float("nan")))
    assert unknown.startswith("No image has a known source")
    single, reason = audit_text.sources(Sources(70, 0, 1, float("nan"), reason="No class has two sources."))
    assert "one of them has a single value" in single
    assert reason == "No class has two sources."


def test_findings_are_told_the_most_frequent_first_and_a_common_one_is_called_so():
    images = pd.DataFrame({"image_id": [f"A/{number}.png" for number in range(10)]})
    scores = {name: np.full(10, np.nan) for name in findings.RULES}
    scores |= {"bright": np.array([230.0] * 8 + [120.0] * 2), "dark": np.array([100.0] * 9 + [10.0])}
    found = findings.judged(images.assign(**scores), pd.DataFrame({"path": [], "reason": []}))
    bright, dark = audit_text.findings(found)
    assert bright.startswith("bright: 8 images (80.0 %); so common that it is a property of the data set")
    assert dark == "dark: 1 image (10.0 %)"


def test_every_rule_writes_its_finding_and_its_limit_with_a_unit_and_shares_as_everywhere():
    limits = {rule.finding: audit_text.limit_in_words(rule.finding, rule.bound) for rule in findings.RULES.values()}
    assert limits["border"] == "over 6.3 % of a side" and limits["odd size"] == "under 128 pixels"
    assert limits["inverted"] == audit_text.MORE_LIKELY
    assert all(limits.values()) and audit_text.limit_in_words(findings.UNREADABLE, float("nan")) == ""
    scores = pd.DataFrame({"image_id": ["a"], **dict.fromkeys(findings.RULES, [np.nan]), "dark": [10.0]})
    found = findings.judged(scores, pd.DataFrame({"path": ["b"], "reason": ["It is empty."]})).findings
    unread, dark = (audit_text.finding_text(row) for row in found.itertuples())
    assert unread == "It is empty." and "10 of 255" in dark and "limit 40" in dark


@pytest.mark.parametrize(
    ("images", "labels", "expected"),
    [
        (
            "a1 a2 a3",
            LABELS,
            "“text”, in 75.0 % of the A images and 0.0 % of the B images (Cramér's V 0.77",
        ),
        ("a1 b1", LABELS, "No finding goes with the class significantly. The closest is"),
        ("a1", {"a1": "A", "a2": "A"}, "there is a single class"),
        (" ".join(LABELS), LABELS, "every image has “text”"),
        ("", LABELS, ""),
    ],
    ids=["with the class", "with none", "one class", "every image", "no finding"],
)
def test_the_finding_that_goes_most_with_the_class_is_named(images, labels, expected):
    found = pd.DataFrame([(name, "text") for name in images.split()], columns=["image_id", "finding"])
    assert expected in audit_text.association(tables.findings_by_class(found, labels))


def made_map(sources: int, **neighbours: tuple) -> Map:
    named = {name.replace("_", " "): figures for name, figures in neighbours.items()}
    images = pd.DataFrame(columns=["row", "image_id", "label", "given", "given_score", "other", "other_score"])
    images = images.assign(outlier_score=[], is_outlier=np.zeros(0, bool), is_suspicious=np.zeros(0, bool))
    return Map(images, {"neighbours": named, "sources": sources})


FIGURES = (0.9, 0.8, 0.95, 0.4, 52)


def test_neighbours_on_a_map_are_told_by_class_and_by_source():
    first, second = audit_text.neighbours(made_map(0, **{"class": FIGURES}))
    assert first == (
        "Of the 10 images nearest to an image, 90.0 % [80.0, 95.0] (by chance 40.0 %) have its class, on 52 images."
    )
    assert second.endswith("no image has a known source.")
    both = made_map(52, **{"class": FIGURES}, source=FIGURES, class_within_source=FIGURES)
    first, second = audit_text.neighbours(both)
    assert "have its source, on 52 images with a known source" in first
    assert second.startswith("Within one source, 90.0 %") and "No class has two known sources" in second


def test_a_map_is_told_line_by_line():
    assert audit_text.map_lines(made_map(0))[-3:] == ["Outliers: 0", "", "Suspicious labels: 0"]
