"""The audit and the map of a data set in plain English, made from their numbers and nothing else."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from covid_core.audit import tables
from covid_core.audit.dataset_audit import DatasetAudit
from covid_core.audit.duplicates import duplicate_pairs
from covid_core.audit.duplicates.duplicate_pairs import PARTS, Shared
from covid_core.audit.embedding import outlier_detection
from covid_core.audit.embedding.embedding_map import Map
from covid_core.audit.embedding.outlier_detection import Purity
from covid_core.audit.quality.findings import BELOW, RULES, UNREADABLE, Quality
from covid_core.audit.shortcuts import probe_ladder
from covid_core.audit.shortcuts.probe_ladder import COARSE, GREYS, LUNGS, OUTLINE, Ladder, Rung, Sources
from covid_core.data.dataset import Dataset
from covid_core.evaluation.assessment import ALPHA
from covid_core.formatting import count, interval, number, p_in_words, plural, share
from covid_core.reports.comparison_text import Summary, in_words

MORE_LIKELY = "more likely than not"  # the limit of a rule without a unit
LADDER_RULE = (
    "A probe is a classifier that is shown only a part of each image. All probes are the same classifier (kernel "
    f"ridge regression), cross-validated with the same {probe_ladder.FOLDS} folds. Duplicates and images of one "
    "patient stay in one fold.\n\nOnly probes that show no lung decide. Such a probe must beat the majority baseline: "
    "one-sided exact binomial test, 5 %, Holm's correction over these probes. Its gain over the baseline is then "
    f"compared with the gain of the full picture: {share(probe_ladder.MUCH, 0)} of it or more is “much is not the "
    f"lungs”, {share(probe_ladder.SOME, 0)} or more is “some is not the lungs”.\n\n“Nothing found” is no proof. A mark "
    "inside the lungs, or one too fine for 64 pixels, is not detected."
)
LISTED = 12  # outliers and suspicious labels in the lines of a map


def audit_lines(audit: DatasetAudit) -> list[str]:
    """An audit line by line."""
    lines = [*(findings(audit.quality) or ["No image is a finding."]), duplicates(audit.pairs), ""]
    if audit.ladder is None:
        lines.append(f"No ladder: {audit.ladder_reason}")
    else:
        verdict, rungs = ladder(audit.ladder), audit.ladder.rungs
        lines += _rung_lines([rung for rung in rungs if rung.was_run])
        lines += [note for note in dict.fromkeys([*(rung.note for rung in rungs), audit.ladder.note]) if note]
        lines += ["", verdict.headline, *verdict.details]
    return [*lines, *sources(audit.sources), *filter(None, [audit.outdated])]


def _rung_lines(rungs: Sequence[Rung]) -> list[str]:
    wide = max((len(rung.probe.name) for rung in rungs), default=0)
    return [
        f"{rung.probe.name:{wide}}  {in_words(rung.accuracy)}  largest class {share(rung.majority)}, "
        f"{p_in_words(rung.p)}"
        for rung in rungs
    ]


# Findings


def findings(quality: Quality) -> list[str]:
    """One sentence per kind of finding that there is, the most frequent first; a common one says so."""
    sentences = []
    for row in quality.summary.sort_values("images", ascending=False, kind="stable").itertuples():
        if row.images:
            usual = "; so common that it belongs to the data set, not to single images" if row.common else ""
            sentences.append(f"{row.finding}: {plural(row.images, 'image')} ({share(row.share)}){usual}")
    return sentences


def kinds_of_findings(table: pd.DataFrame) -> str:
    """How many images have findings of how many kinds, the three most frequent by name."""
    unread = int((table["finding"] == UNREADABLE).sum())
    table = table[table["finding"] != UNREADABLE]
    kinds = table["finding"].value_counts()
    text = "No image has a finding"
    if len(kinds):
        named = ", ".join(f"{name} {images:,}" for name, images in kinds.head(3).items())
        more = f" and {plural(len(kinds) - 3, 'kind')} more" if len(kinds) > 3 else ""
        images = plural(table["image_id"].nunique(), "image has a finding", "images have findings")
        text = f"{images} of {plural(len(kinds), 'kind')} ({named}{more})"
    return f"{text}; {plural(unread, 'file')} could not be read." if unread else f"{text}."


def association(table: pd.DataFrame) -> str:
    """The finding of ``audit.tables.findings_by_class`` that goes most with the class, with its figures; empty without
    findings."""
    if table.empty:
        return ""
    sure = table[table["p"] <= ALPHA]
    named = (table if sure.empty else sure)["finding"].iat[0]
    first = table[table["finding"] == named].sort_values("share", ascending=False)
    strength = first["association"].iat[0]
    if math.isnan(strength):
        alone = table["label"].nunique() < 2
        reason = "there is a single class" if alone else f"every image has “{first['finding'].iat[0]}”"
        return f"No finding can go with the class: {reason}."
    most, least = first.iloc[0], first.iloc[-1]
    figures = (
        f"“{most['finding']}” is found in {share(most['share'])} of the {most['label']} images and in "
        f"{share(least['share'])} of the {least['label']} images (Cramér's V {strength:.2f}; 0 not at all, 1 fully; "
        f"{p_in_words(first['p'].iat[0])}, corrected for {plural(table['finding'].nunique(), 'finding')})"
    )
    if sure.empty:
        return f"No finding goes with the class by more than chance explains; the closest: {figures}."
    if strength < tables.WEAK:
        return f"No finding goes with the class; the closest: {figures}."
    return f"A finding that goes with the class can give it away: {figures}."


def finding_text(row: Any) -> str:
    """A row of ``Quality.findings`` in words."""
    return row.reason or _written(RULES[row.finding].text, score=row.score, limit=row.limit)


def limit_in_words(finding: str, limit: float) -> str:
    """A limit with its side and unit: ``under 80 of 255 levels``; nothing where there is none."""
    if finding not in RULES or math.isnan(limit):
        return ""
    rule = RULES[finding]
    side = "under" if rule.side == BELOW else "over"
    return f"{side} {_written(rule.unit, limit=limit)}" if rule.unit else MORE_LIKELY


def _written(text: str, **values: float) -> str:
    """A text with its numbers, shares written as everywhere else: ``7.5 %``."""
    return text.format(**values).replace("%", " %")


# Duplicates


def duplicates(pairs: pd.DataFrame) -> str:
    """How many pairs show the same picture."""
    if not len(pairs):
        return "No two images show the same picture."
    exact, conflicts = int((pairs["kind"] == duplicate_pairs.EXACT).sum()), int(pairs["conflict"].sum())
    return (
        f"{plural(len(pairs), 'pair of images shows', 'pairs of images show')} the same picture, "
        f"{count(exact) if exact else 'none'} of them as equal files and {count(conflicts) if conflicts else 'none'} "
        "with two classes."
    )


def pairs(table: pd.DataFrame) -> str:
    """How many pairs there are, of two classes, and across the parts of a split where there is one."""
    conflicts, across = (len(tables.of_kind(table, kind)) for kind in (tables.CONFLICT, tables.ACROSS))
    parts = [plural(len(table), "pair of duplicates", "pairs of duplicates")]
    parts.append(f"{count(conflicts)} with two classes" if conflicts else "each with one class")
    if (table[PARTS[0]] != "").any():
        parts.append(f"{count(across) if across else 'none'} in two parts of the split")
    return f"{', '.join(parts)}."


def shared(other: Dataset, found: Shared) -> str:
    """How many images another data set has as well."""
    if not len(found.pairs):
        return f"No image is in {other.name} as well."
    disagree = len(found.conflicts)
    return (
        f"{plural(found.images, 'image is', 'images are')} in {other.name} as well; "
        f"{plural(disagree, 'pair has', 'pairs have')} another class there."
    )


# Shortcuts


def ladder(given: Ladder) -> Summary:
    """The verdict of a ladder with its figures, and what else the ladder shows."""
    verdict = probe_ladder.verdict(given)
    return Summary(_headline(given, verdict), (*_beside(given), *_not_run(given)))


def _headline(given: Ladder, verdict: probe_ladder.Verdict) -> str:
    full, blind = given.full, given.without_lungs
    if not blind or full is None:
        reason = "the full picture could not be run" if full is None else "no probe without lungs could be run"
        return f"It cannot be said whether the lungs decide: {reason}."
    if verdict.level == probe_ladder.CANNOT_SAY:
        return (
            f"It cannot be said whether the lungs decide: from the full picture this classifier tells the class in "
            f"{in_words(full.accuracy)} of {plural(full.images, 'image')}, and always answering the largest class is "
            f"right in {share(full.majority)}."
        )
    if verdict.level == probe_ladder.NOTHING_FOUND:
        best = max(blind, key=lambda rung: rung.gain)
        return (
            "Nothing outside of the lungs was found that gives the class away: of the probes that are shown no lung, "
            f"the best ({_lower(best.probe.name)}) tells it in {_beside_full(best, full)}."
        )
    strongest = next(rung for rung in blind if rung.probe.key == verdict.by)
    how_much = "Much" if verdict.level == probe_ladder.MUCH_IS_NOT else "Some"
    return (
        f"{strongest.probe.name} alone tell the class in {_beside_full(strongest, full)}. {how_much} of what can be "
        f"learned here is not the lungs: {share(min(given.kept(strongest), 1), 0)} of the full picture's gain over the "
        "largest class."
    )


def _beside_full(rung: Rung, full: Rung) -> str:
    """A figure with the two that it is judged by."""
    whole = f"the full picture reaches {share(full.accuracy.value)} ({_lower(full.probe.name)})"
    return f"{in_words(rung.accuracy)} of images, where the largest class has {share(rung.majority)} and {whole}"


def _beside(given: Ladder) -> list[str]:
    """Greys and the thumbnail, which may hold disease, and the two halves that masks make."""
    in_order = sorted((rung for rung in given.rungs if rung.was_run), key=lambda rung: rung.accuracy.value)
    by = {rung.probe.holds: rung for rung in in_order}
    sentences = []
    if GREYS in by and by[GREYS].p <= ALPHA:
        sentences.append(
            f"{by[GREYS].probe.name}, without any shape, reaches {in_words(by[GREYS].accuracy)}. That may be exposure, "
            "and it may be disease: a dense lung is a bright one."
        )
    if COARSE in by and by[COARSE].p <= ALPHA:
        reached = in_words(by[COARSE].accuracy)
        sentences.append(f"{by[COARSE].probe.name}, in which no doctor reads a lung, reaches {reached}.")
    if LUNGS in by:
        outline = f"; their outline alone, {in_words(by[OUTLINE].accuracy)}" if OUTLINE in by else ""
        sentences.append(f"{by[LUNGS].probe.name} reach {in_words(by[LUNGS].accuracy)}{outline}.")
    return sentences


def _not_run(given: Ladder) -> list[str]:
    """Why some probes could not be run, each reason once."""
    names: dict[str, list[str]] = {}
    for rung in given.rungs:
        if not rung.was_run:
            names.setdefault(rung.reason, []).append(_lower(rung.probe.name))
    return [f"Not run: {', '.join(of)}. {reason}" for reason, of in names.items()]


def _lower(name: str) -> str:
    return name[0].lower() + name[1:]


# Sources


def sources(given: Sources) -> tuple[str, ...]:
    """How source and class go together, each sentence with the figures that it rests on."""
    if not given.known:
        return ("No image has a known source, so it cannot be said whether the source gives the class away.",)
    sentences = [_source_association(given), *(_source_probe(*question) for question in given.questions)]
    if len(given.questions) > 1:
        sentences.append(f"(p is corrected for {len(given.questions)} questions.)")
    return (*sentences, *filter(None, [given.reason]))


def _source_association(given: Sources) -> str:
    images = f"{plural(given.known, 'image')} of {plural(given.names, 'source')}"
    unknown = f"; {count(given.unknown)} have none that is known" if given.unknown else ""
    if math.isnan(given.association):
        return f"Source and class cannot be compared over {images}: one of them has a single value{unknown}."
    figure = f"Cramér's V {number(given.association)} (0 not at all, 1 fully)"
    return f"Source and class go together with {figure} over {images}{unknown}."


def _source_probe(label: str, rung: Rung, p: float) -> str:
    """What a probe of sources reached within a class; ``p`` is corrected."""
    images = plural(rung.images, "image")
    reached = f"{in_words(rung.accuracy)} of {images}, where the largest source has {share(rung.majority)}"
    how = "more" if p <= ALPHA else "no more"
    return (
        f"Within {label}, from {_lower(rung.probe.name)} the source is told in {reached}: {how} than chance explains "
        f"({p_in_words(p)})."
    )


# The map


def neighbours(shown: Map) -> tuple[str, ...]:
    """What an image's neighbours on the map have in common with it, each sentence with the figures it rests on."""
    return tuple(filter(None, [_neighbours_class(shown), _class_or_source(shown)]))


def _purity(one: Purity) -> str:
    return f"{interval(one.share, one.low, one.high)} (by chance {share(one.chance)})"


def _neighbours_class(shown: Map) -> str:
    by_class, by_source = shown.purity("class"), shown.purity("source")
    if not by_class.images:
        return ""
    sentence = (
        f"Of the {outlier_detection.BY_CLASS} images nearest to an image, {_purity(by_class)} are of its class, over "
        f"{plural(by_class.images, 'image')}"
    )
    if by_source.images:
        images = plural(by_source.images, "image")
        sentence += f"; {_purity(by_source)} are of its source, over {images} whose source is known"
    return f"{sentence}."


def _class_or_source(shown: Map) -> str:
    """Disease or source? What is left of the one when the other is the same for all."""
    within, across = shown.purity("class within source"), shown.purity("source within class")
    if not shown.facts["sources"]:
        return "Whether these neighbours share a disease or a source cannot be told: no image has a known source."
    if not within.images and not across.images:
        return (
            "Whether these neighbours share a disease or a source cannot be told: no known source holds two classes, "
            "and no class two known sources."
        )
    first, second = (
        "No known source holds two classes, so the class cannot be looked at with the source held fixed",
        "no class has two known sources, so the source cannot be looked at with the class held fixed",
    )
    if within.images:
        first = (
            f"Among images of one source, {_purity(within)} of the nearest are of the same class "
            f"({plural(within.images, 'image')} of sources with two classes or more)"
        )
    if across.images:
        second = (
            f"among images of one class, {_purity(across)} are of the same source ({plural(across.images, 'image')} of "
            "classes with two sources or more)"
        )
    return f"{first}; {second}."


def map_lines(shown: Map) -> list[str]:
    """A map line by line: neighbours, and the first of the outliers and of the suspicious labels."""
    outliers, suspicious = (table.head(LISTED).itertuples() for table in (shown.outliers, shown.suspicious))
    return [
        *neighbours(shown),
        "",
        f"Outliers: {count(len(shown.outliers))}",
        *(f"{one.outlier_score:8.1f} deviations  {one.image_id}" for one in outliers),
        "",
        f"Suspicious labels: {count(len(shown.suspicious))}",
        *(
            f"{one.label} {one.given_score:.3f}, {one.other} {one.other_score:.3f}  {one.image_id}"
            for one in suspicious
        ),
    ]
