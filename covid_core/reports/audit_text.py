"""The audit and the map of a data set in plain English, made from their numbers and nothing else."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from covid_core.audit import tables
from covid_core.audit.dataset_audit import DatasetAudit, Outdated
from covid_core.audit.duplicates.duplicate_pairs import PARTS, Shared
from covid_core.audit.duplicates.threshold import Limits
from covid_core.audit.embedding import outlier_detection
from covid_core.audit.embedding.embedding_map import Map
from covid_core.audit.embedding.outlier_detection import Purity
from covid_core.audit.quality.findings import BELOW, RULES, UNREADABLE, Quality
from covid_core.audit.shortcuts import probe_ladder
from covid_core.audit.shortcuts.probe_ladder import COARSE, GREYS, LUNGS, OUTLINE, Ladder, Reason, Rung, Sources, Why
from covid_core.data import decisions
from covid_core.data import duplicates as duplicates_of_version
from covid_core.data.dataset import Dataset
from covid_core.data.decisions import Decision
from covid_core.data.masks import NoLungs
from covid_core.evaluation.assessment import ALPHA
from covid_core.formatting import Written, count, decimals, interval, number, p_in_words, plural, share
from covid_core.reports import evidence_text
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
OUTDATED: dict[Outdated, str] = {
    "": "",
    "images": "The probes and the sources were measured before images were left out or got another class or group. "
    "Audit again to measure them on the current images.",
    "lungs": "Lungs can be outlined since this audit. Audit again to run the probes that need them.",
    "features": "A network's features of all images exist since this audit. Audit again for a better full picture.",
}
REASONS: dict[Why | NoLungs, str] = {
    "no masks": "It needs lung masks, no image here has one, and no segmenter outlined them.",
    "no usable mask": "It needs lung masks, which this data set has, but none of these images has one that can be "
    "used. Outlines by a segmenter are not mixed with them: which images have a mask may go with their class.",
    "none outlined": "It needs the lungs, and the segmenter outlined them in no image here.",
    "damaged": "It needs the lungs. {error}",
    "few outlined": "Too few images have known lungs: {each}.",
    "one group outlined": "All images with known lungs belong together of {labels_and}.",
    "some outlined": "On the {images} of {of} whose lungs are known.",
    "not frozen": "No training has stored a frozen network's features of all images. The full picture is a simple "
    "classifier of 64 x 64 pixels. A network may reach more.",
    "small class": "Left out, with fewer than {least} images: {labels}.",
    "single group": "Left out, as all its images belong together: {labels}.",
    "sample": "Measured on {images} of {of}, drawn by class.",
    "no two sources": "Sources within a class cannot be compared: no class has two sources of {least} images that do "
    "not all belong together.",
    "no two classes": "Labels can be checked where two classes have {least} images or more that do not all belong "
    "together.",
    "not checked": "Not checked: {labels} (fewer than {least} images, or all in one group).",
}
PIXELS = "the images themselves, 64 x 64 pixels, each pixel standardised over all images"
ONE_CLUSTER = "the same picture, equal files, one patient, or your decision"
LISTED = 12  # outliers and suspicious labels in the lines of a map


def audit_lines(audit: DatasetAudit) -> list[str]:
    """An audit line by line."""
    lines = [*(findings(audit.quality) or ["No image is a finding."]), duplicates(audit.pairs), ""]
    if audit.ladder is None:
        lines.append(f"No probes: {audit.ladder_reason}")
    else:
        verdict, rungs = ladder(audit.ladder), audit.ladder.rungs
        lines += _rung_lines([rung for rung in rungs if rung.was_run])
        lines += [note for note in dict.fromkeys([*map(rung_note, rungs), ladder_note(audit.ladder)]) if note]
        lines += ["", verdict.headline, *verdict.details]
    return [*lines, *sources(audit.sources), *filter(None, [OUTDATED[audit.outdated]])]


def reason(one: Reason | str) -> str:
    """Why something was not measured, or on which images it was."""
    if isinstance(one, str):
        return one
    each = ", ".join(f"{count(images)} of {label}" for label, images in zip(one.labels, one.counts, strict=False))
    numbers = {"images": count(one.images), "of": plural(one.of, "image"), "least": one.least, "error": one.error}
    labels = {"labels": ", ".join(one.labels), "labels_and": " and of ".join(one.labels)}
    return REASONS[one.why].format(each=each, **numbers, **labels)


def rung_note(rung: Rung) -> str:
    """On which images a probe was run, and what their lungs rest on."""
    lungs = rung.lungs_from and f"With {evidence_text.of_lungs(rung.lungs_from)}."
    return " ".join(filter(None, [lungs, reason(rung.note)]))


def ladder_note(climbed: Ladder) -> str:
    """On which images a ladder was climbed, where they are not all of the data set."""
    return climbed.note if isinstance(climbed.note, str) else " ".join(map(reason, climbed.note))


def _rung_lines(rungs: Sequence[Rung]) -> list[str]:
    wide = max((len(rung.probe.name) for rung in rungs), default=0)
    return [
        f"{rung.probe.name:{wide}}  {in_words(rung.accuracy)}  majority baseline {share(rung.majority)}, "
        f"{p_in_words(rung.p)}"
        for rung in rungs
    ]


# Findings


def findings(quality: Quality) -> list[str]:
    """One sentence per kind of finding that there is, the most frequent first; a common one says so."""
    sentences = []
    for row in quality.summary.sort_values("images", ascending=False, kind="stable").itertuples():
        if row.images:
            usual = "; so common that it is a property of the data set" if row.common else ""
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
    left_out = plural(unread, "file was", "files were")
    return f"{text}; {left_out} left out." if unread else f"{text}."


def association(table: pd.DataFrame) -> str:
    """The finding of ``audit.tables.findings_by_class`` that goes most with the class, with its figures; empty without
    findings."""
    if table.empty:
        return ""
    sure = table[table["p"] <= ALPHA]
    of_one = table[table["finding"] == (table if sure.empty else sure)["finding"].iat[0]]
    by_share = of_one.sort_values("share", ascending=False)
    most, least, strength = by_share.iloc[0], by_share.iloc[-1], by_share["association"].iat[0]
    if math.isnan(strength):
        alone = table["label"].nunique() < 2
        reason = "there is a single class" if alone else f"every image has “{most['finding']}”"
        return f"No finding can go with the class: {reason}."
    figures = (
        f"“{most['finding']}”, in {share(most['share'])} of the {most['label']} images and {share(least['share'])} of "
        f"the {least['label']} images (Cramér's V {decimals(strength, 2)}, {p_in_words(most['p'])})"
    )
    corrected = (
        f"p is corrected for {plural(table['finding'].nunique(), 'finding')}. V is 0 without association, 1 at most."
    )
    if sure.empty or strength < tables.WEAK:
        least_sure = " significantly" if sure.empty else ""
        return f"No finding goes with the class{least_sure}. The closest is {figures}. {corrected}"
    return f"A finding goes with the class and may be a shortcut: {figures}. {corrected}"


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
    return text.format(**{name: Written(value) for name, value in values.items()})


# Duplicates


def duplicates(pairs: pd.DataFrame) -> str:
    """How many pairs show the same picture and, where the parts of a split are known, how many of them cross it."""
    if not len(pairs):
        return "No two images show the same picture."
    kinds = {"as equal files": tables.EQUAL, "with two classes": tables.CONFLICT}
    if (pairs[PARTS[0]] != "").any():
        kinds["in two parts of the split"] = tables.ACROSS
    counts = {words: len(tables.of_kind(pairs, kind)) for words, kind in kinds.items()}
    parts = [f"{count(n) if n else 'none'} {words}" for words, n in counts.items()]
    return f"{plural(len(pairs), 'pair of images shows', 'pairs of images show')} the same picture: {', '.join(parts)}."


def clusters(images: pd.DataFrame) -> str:
    """How many clusters a group split keeps whole; ``images`` has a column ``group``."""
    sizes = duplicates_of_version.clusters(images)
    if not len(sizes):
        return f"No two images form a cluster ({ONE_CLUSTER})."
    of = f"{plural(len(sizes), 'cluster')} of {plural(int(sizes.sum()), 'image')}"
    return f"A group split keeps {of} in one part ({ONE_CLUSTER})."


def patients(contradicting: pd.DataFrame) -> str:
    """How many patients have images of several classes (``tables.contradicting_patients``), and what that means."""
    if not len(contradicting):
        return "No patient has images of several classes."
    return (
        f"{plural(len(contradicting), 'patient has', 'patients have')} images of several classes. The class of a "
        "patient may change over time; otherwise a label is wrong."
    )


def leakage(crossing: int, ungrouped: int, method: str) -> str:
    """How many duplicates cross the parts of a split, why, and what to do.

    Args:
        crossing: pairs whose images are in two parts.
        ungrouped: those of them that no cluster of the present version holds.
        method: of the split.
    """
    lead = f"**Data leakage: {plural(crossing, 'pair crosses', 'pairs cross')} the parts of this split.**"
    if method == "stratified":
        why = "A random split ignores clusters: choose a group split."
    else:
        why = "Its clusters come from its version of the data set, not from the audit."
    if not ungrouped:
        return f"{lead} {why} The clusters of the present version hold every pair."
    pairs = (
        "this pair"
        if ungrouped == crossing == 1
        else f"{'these ' if ungrouped == crossing else ''}{count(ungrouped)} pairs"
    )
    return f"{lead} {why} Keep {pairs} together: new group splits follow the new version."


def limit_of_duplicates(limits: Limits) -> str:
    """The similarity from which two images are duplicates, and what it rests on."""
    if math.isnan(limits.read):
        return f"There are too few images to calibrate a limit, so it is the usual one: {number(limits.limit)}."
    drawn = f"{len(limits.different):,} images, each with its most similar ones of {limits.others:,} others"
    text = f"From {drawn}: one false pair in {limits.compared:,} comparisons is expected above {number(limits.read)}."
    if limits.read < limits.limit:
        return f"{text} The limit is {number(limits.limit)}, since two images of one patient can reach as much."
    if limits.read > limits.limit:
        return f"{text} The limit is only {number(limits.limit)}, since changed copies begin not far above."
    return f"{text} This is the limit."


def shared(other: Dataset, overlap: Shared) -> str:
    """How many images another data set has as well."""
    if not len(overlap.pairs):
        return f"No image is in {other.name} as well."
    disagree = len(overlap.conflicts)
    return (
        f"{plural(overlap.images, 'image is', 'images are')} in {other.name} as well, in "
        f"{plural(len(overlap.pairs), 'pair')}; {plural(disagree, 'pair has', 'pairs have')} another class there."
    )


# Shortcuts


def ladder(climbed: Ladder) -> Summary:
    """The verdict of a ladder with its figures, and what else the ladder shows."""
    verdict = probe_ladder.verdict(climbed)
    return Summary(_headline(climbed, verdict), (*_beside(climbed), *_not_run(climbed)))


def _headline(climbed: Ladder, verdict: probe_ladder.Verdict) -> str:
    full, blind = climbed.full, climbed.without_lungs
    if not blind or full is None:
        reason = (
            "the full picture could not be measured" if full is None else "no probe without lungs could be measured"
        )
        return f"Shortcut learning: inconclusive, because {reason}."
    if verdict.level == probe_ladder.INCONCLUSIVE:
        return (
            f"Shortcut learning: inconclusive. The full picture has an accuracy of {in_words(full.accuracy)} on "
            f"{plural(full.images, 'image')}, which is no better than the majority baseline of {share(full.majority)}."
        )
    if verdict.level == probe_ladder.NO_SHORTCUT:
        best = max(blind, key=lambda rung: rung.gain)
        return (
            "No shortcut outside the lungs was found. The best probe without lungs is "
            f"“{_lower(best.probe.name)}” {_beside_full(best, full)}."
        )
    strongest = next(rung for rung in blind if rung.probe.key == verdict.by)
    how_much = "Much" if verdict.level == probe_ladder.MUCH_IS_NOT else "Some"
    return (
        f"{how_much} of what can be learned here is not the lungs. {strongest.probe.name} alone reach "
        f"{share(min(climbed.share_of_gain(strongest), 1), 0)} of the full picture's gain over the majority baseline, "
        f"{_beside_full(strongest, full)}."
    )


def _beside_full(rung: Rung, full: Rung) -> str:
    """A figure with the two that it is judged by."""
    whole = f"full picture, which is {_lower(full.probe.name)}, {share(full.accuracy.value)}"
    outlined = " whose lungs are known" if rung.lungs_from else ""
    of = f" on the {plural(rung.images, 'image')}{outlined}" if rung.images < full.images else ""
    return f"with an accuracy of {in_words(rung.accuracy)}{of} (majority baseline {share(rung.majority)}; {whole})"


def _beside(climbed: Ladder) -> list[str]:
    """Greys and the thumbnail, which may hold disease, and the two halves that masks make."""
    in_order = sorted((rung for rung in climbed.rungs if rung.was_run), key=lambda rung: rung.accuracy.value)
    by = {rung.probe.holds: rung for rung in in_order}
    remarks = {
        GREYS: "This may be exposure or disease: a dense lung is a bright one.",
        COARSE: "No doctor can read a lung in it.",
    }
    sentences = [
        f"{by[holds].probe.name}: accuracy {in_words(by[holds].accuracy)}. {remark}"
        for holds, remark in remarks.items()
        if holds in by and by[holds].p <= ALPHA
    ]
    if LUNGS in by:
        outline = f", their outline alone {in_words(by[OUTLINE].accuracy)}" if OUTLINE in by else ""
        sentences.append(f"{by[LUNGS].probe.name}: accuracy {in_words(by[LUNGS].accuracy)}{outline}.")
    return sentences


def _not_run(climbed: Ladder) -> list[str]:
    """Why some probes could not be run, each reason once."""
    names: dict[str, list[str]] = {}
    for rung in climbed.rungs:
        if not rung.was_run:
            names.setdefault(reason(rung.reason), []).append(_lower(rung.probe.name))
    return [f"Not measured: {', '.join(of)}. {reason}" for reason, of in names.items()]


def _lower(name: str) -> str:
    return name[0].lower() + name[1:]


# Sources


def sources(measured: Sources) -> tuple[str, ...]:
    """How source and class go together, each sentence with the figures that it rests on."""
    if not measured.with_source:
        return ("No image has a known source, so the source cannot be compared with the class.",)
    sentences = [_source_association(measured), *(_source_probe(*question) for question in measured.questions)]
    if len(measured.questions) > 1:
        sentences.append(f"(p is corrected for {len(measured.questions)} comparisons.)")
    return (*sentences, *filter(None, [reason(measured.reason)]))


def _source_association(measured: Sources) -> str:
    images = f"{plural(measured.with_source, 'image')} of {plural(measured.names, 'source')}"
    unknown = f"; {count(measured.unknown)} have no known source" if measured.unknown else ""
    if math.isnan(measured.association):
        return f"Source and class cannot be compared on {images}: one of them has a single value{unknown}."
    figure = f"Cramér's V is {number(measured.association)}, from 0 for no association to 1"
    return f"Association of source and class: {figure}, on {images}{unknown}."


def _source_probe(label: str, rung: Rung, p: float) -> str:
    """The accuracy of a probe of sources within a class; ``p`` is corrected."""
    is_better = "better" if p <= ALPHA else "not better"
    return (
        f"Within {label}, {_lower(rung.probe.name)} predict the source with an accuracy of {in_words(rung.accuracy)} "
        f"on {plural(rung.images, 'image')}: {is_better} than the majority baseline of {share(rung.majority)} "
        f"({p_in_words(p)})."
    )


# Decisions


def decision(one: Decision, in_force: bool) -> str:
    """A decision on an image in one line."""
    what = {
        decisions.RELABEL: f"{one.image_id}: {one.before} -> {one.after}",
        decisions.GROUP: f"{one.image_id} with {one.after}",
        decisions.DISMISS: f"{one.image_id}: {' '.join(filter(None, (one.finding, one.after)))}",
        decisions.ADD: one.after,
        decisions.TAKE_BACK: f"number {one.after}" + (f" ({one.image_id})" if one.image_id else ""),
    }.get(one.action, one.image_id)
    back = "" if in_force or one.action == decisions.TAKE_BACK else "  (taken back)"
    note = f"  {one.note}" if one.note else ""
    return f"{one.number:>4}  {one.when[:16].replace('T', ' ')}  {one.author}  {one.action} {what}{note}{back}"


# The map


def described_by(shown: Map) -> str:
    """What describes the images of a map."""
    of = shown.features
    if isinstance(of, str):
        return of
    return f"{count(of.width)} features per image of the frozen network {of.network}" if of.network else PIXELS


def neighbours(shown: Map) -> tuple[str, ...]:
    """What an image's neighbours on the map have in common with it, each sentence with the figures it rests on."""
    return tuple(filter(None, [_neighbours_class(shown), _class_or_source(shown), _drawn(shown)]))


def _drawn(shown: Map) -> str:
    if not shown.facts.get("drawn_from"):
        return ""
    return (
        f"The map has {count(len(shown.images))} of {plural(shown.facts['drawn_from'], 'image')}: each class gives its "
        "share. The others are not checked for outliers and suspicious labels."
    )


def _purity(one: Purity) -> str:
    return f"{interval(one.share, one.low, one.high)} (by chance {share(one.chance)})"


def _neighbours_class(shown: Map) -> str:
    by_class, by_source = shown.purity("class"), shown.purity("source")
    if not by_class.images:
        return ""
    nearest = outlier_detection.BY_CLASS
    text = f"Of the {nearest} images nearest to an image, {_purity(by_class)} have its class"
    text += f", on {plural(by_class.images, 'image')}"
    if by_source.images:
        text += f"; {_purity(by_source)} have its source, on {plural(by_source.images, 'image')} with a known source"
    return f"{text}."


def _class_or_source(shown: Map) -> str:
    """Disease or source? What is left of the one when the other is the same for all."""
    within, across = shown.purity("class within source"), shown.purity("source within class")
    if not within.images and not across.images:
        reason = "no known source has two classes, and no class has two known sources"
        if not shown.facts["sources"]:
            reason = "no image has a known source"
        return f"Disease or source cannot be distinguished: {reason}."
    first, second = "No known source has two classes", "No class has two known sources"
    if within.images:
        images = f"{plural(within.images, 'image')} of sources with two classes or more"
        first = f"Within one source, {_purity(within)} of the nearest images have the same class ({images})"
    if across.images:
        images = f"{plural(across.images, 'image')} of classes with two sources or more"
        second = f"Within one class, {_purity(across)} have the same source ({images})"
    return f"{first}. {second}."


def map_lines(shown: Map) -> list[str]:
    """A map line by line: neighbours, and the first of the outliers and of the suspicious labels."""
    outliers, suspicious = (table.head(LISTED).itertuples() for table in (shown.outliers, shown.suspicious))
    return [
        *neighbours(shown),
        "",
        f"Outliers: {count(len(shown.outliers))}",
        *(f"{decimals(one.outlier_score, 1):>8} deviations  {one.image_id}" for one in outliers),
        "",
        f"Suspicious labels: {count(len(shown.suspicious))}",
        *(
            f"{one.label} {number(one.given_score)}, {one.other} {number(one.other_score)}  {one.image_id}"
            for one in suspicious
        ),
    ]
