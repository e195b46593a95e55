"""The evidence check of a run's model, in the words that stand beside its accuracy wherever that is shown.

An accuracy does not say what it rests on; the audit of the model does (``audit.model.model_audit``, with the rule in
``audit.model.evidence``). So every list and table that has the one has the other, or says that it is not made yet.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from covid_core.audit.model import evidence, model_audit, occlusions
from covid_core.audit.model.evidence import COMPOSING, FEW_IMAGES, FRAME, LUNGS, NO_LUNGS, NO_SKILL, UNKNOWN
from covid_core.audit.model.pictures import Shown
from covid_core.audit.model.randomisation_test import DEPENDS, MEANINGLESS, MapCheck
from covid_core.data.masks import BUILT_IN, OVAL, OWN, Origin
from covid_core.errors import RunDamaged
from covid_core.evaluation.metrics import Measure
from covid_core.formatting import decimals, interval, number, p_in_words, plural, points, share
from covid_core.inference.lungs import LungOutline, Refusal
from covid_core.runs.store import Run

NOT_YET = "not audited yet"
DAMAGED = "its audit is damaged"
NO_MODEL = "no model to audit"  # predictions from a file
HEADING = "Evidence check"
HELP = (
    "The lungs of one test image are put into the frame of another, and the model predicts again. "
    f"**{FRAME.capitalize()}**: the frame alone changes more than {share(evidence.FRAME_FROM, 0)} of the predictions. "
    f"The accuracy is then not about lungs only. **{LUNGS.capitalize()}**: the lungs change more than "
    f"{share(evidence.LUNGS_FROM, 0)}, and the frame fewer than {share(evidence.FRAME_BELOW, 0)}. "
    f"**{UNKNOWN.capitalize()}**: anything else. Whole 95 % intervals count. Lung outlines are the data set's masks, "
    "or come from a segmenter, or a fixed oval stands for them; the column beside the verdict says which."
)
RULE = (
    f"A fixed oval stands for the lungs if a class has fewer than {evidence.LEAST_IMAGES} test images with known "
    f"lungs. Then only *{FRAME}* is possible: if the border alone keeps more than {share(evidence.BORDER_KEPT, 0)} of "
    "the skill, or the image outside the oval changes more than "
    f"{share(evidence.OVAL_FRAME_FROM, 0)} of the predictions.",
    f"*{UNKNOWN.capitalize()}* if the model is no better than chance on its own test images.",
    f"*{UNKNOWN.capitalize()}* if the model is much worse on images composed of two images of the same class than on "
    "original images. Composing itself then changes the predictions.",
    f"*{FRAME.capitalize()}* if the frame alone changes more than {share(evidence.FRAME_FROM, 0)} of the predictions, "
    "with its whole 95 % interval. The model may read the lungs as well.",
    f"*{LUNGS.capitalize()}* if the frame changes fewer than {share(evidence.FRAME_BELOW, 0)} of the predictions and "
    f"the lungs more than {share(evidence.LUNGS_FROM, 0)}, with both whole intervals.",
    f"*{UNKNOWN.capitalize()}* otherwise.",
)
LIMITS_OF_RULE = (
    "Signs of disease outside the masks (heart size, fluid behind the diaphragm) count as frame. A cue inside the "
    "lungs that is no disease (brightness or coding of a source) counts as lungs."
)
REASONS = {
    NO_LUNGS: "an earlier version needed lung masks, and there were none; audit again",
    FEW_IMAGES: f"a class has fewer than {evidence.LEAST_IMAGES} test images",
    NO_SKILL: "the model is no better than chance on its own test images",
    COMPOSING: "composing two images of the same class already changes too many predictions",
}
VERBS = {  # by verdict, of one run and of several, in the order in which they are named
    FRAME: ("reads the frame", "read the frame"),
    LUNGS: ("reads the lungs", "read the lungs"),
    UNKNOWN: ("is inconclusive", "are inconclusive"),
    DAMAGED: ("has a damaged audit", "have damaged audits"),
    NOT_YET: (f"is {NOT_YET}", f"are {NOT_YET}"),
    NO_MODEL: (f"has {NO_MODEL}", f"have {NO_MODEL}"),
}
MOST_NAMED = 4  # runs of one verdict that are called by name


@dataclass(frozen=True)
class EvidenceCheck:
    """A verdict as tables show it.

    ``verdict`` is one of ``audit.model.evidence``, NOT_YET, DAMAGED or NO_MODEL; ``in_words`` a sentence with the
    figures it rests on, or why there is none; ``masks`` whose lung masks they were, in a few words, empty where there
    were none; ``frame_effect`` the share of predictions that another frame turns, where it was measured.
    """

    verdict: str
    in_words: str = ""
    masks: str = ""
    frame_effect: float | None = None

    @property
    def in_passing(self) -> str:
        """The verdict where nothing around it says what it is about: behind a name and an accuracy."""
        alone = {UNKNOWN: f"evidence check {UNKNOWN}", NOT_YET: "no evidence check yet"}
        return alone.get(self.verdict, self.verdict)

    @property
    def in_short(self) -> str:
        """Verdict and masks: ``reads the frame (own masks)``."""
        return f"{self.verdict} ({self.masks})" if self.masks else self.verdict

    @property
    def note(self) -> str:
        """Verdict and masks as a sentence, or why there is no verdict."""
        return self.in_words if self.verdict in (NOT_YET, DAMAGED, NO_MODEL) else f"Evidence check: {self.in_short}."

    @property
    def in_full(self) -> str:
        """The note, and of a verdict the sentence with the figures."""
        return self.note if self.note == self.in_words else f"{self.note} {self.in_words}"


def of(run: Run) -> EvidenceCheck:
    """The verdict on a run's model as far as it is known. A damaged audit takes nothing else from the run."""
    if not run.has_network:
        return EvidenceCheck(NO_MODEL, "Imported predictions have no model to audit.")
    try:
        audit = model_audit.stored(run)
    except RunDamaged as error:
        return EvidenceCheck(DAMAGED, str(error))
    if audit is None:
        return EvidenceCheck(NOT_YET, "The evidence check of this model is not made yet.")
    effects = audit.get("effects")  # none in audits of the first version, or without lungs
    frame_effect = effects["frame"]["value"] if effects else None
    return EvidenceCheck(audit["verdict"], conclusion(audit), lungs_in_short(audit), frame_effect)


def counted(checks: Iterable[EvidenceCheck]) -> str:
    """The verdicts of several runs of one training: ``reads the frame`` of all, or how many have each."""
    times = Counter(one.verdict for one in checks)
    if len(times) < 2:
        return next(iter(times), "")
    return ", ".join(f"{verdict} ({n} of {times.total()})" for verdict, n in times.most_common())


def sentence(names: Sequence[str], checks: Sequence[EvidenceCheck]) -> str:
    """The verdicts on some runs in one sentence; nothing for no runs."""
    if {one.verdict for one in checks} <= {NOT_YET}:
        models = "this model" if len(checks) == 1 else "these models"
        return f"The evidence check of {models} is not made yet." if checks else ""
    parts = []
    for verdict, (of_one, of_several) in VERBS.items():
        some = [_with_effect(name, one) for name, one in zip(names, checks, strict=True) if one.verdict == verdict]
        if some:
            parts.append(f"{_listed(some)} {of_one if len(some) == 1 else of_several}")
    return f"Evidence check: {'; '.join(parts)}."


def _with_effect(name: str, one: EvidenceCheck) -> str:
    """The name; of a model that reads the frame with how much: two of them can be far apart."""
    if one.verdict != FRAME or one.frame_effect is None:
        return name
    return f"{name} (frame effect {share(one.frame_effect, 0)})"


def _listed(names: Sequence[str]) -> str:
    if len(names) > MOST_NAMED:
        names = [*names[:MOST_NAMED], f"{len(names) - MOST_NAMED} more"]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


# An audit as it is stored: an earlier version stored its sentences


def conclusion(audit: Mapping[str, Any]) -> str:
    """The verdict of an audit with its figures, or why it is inconclusive."""
    if "why" not in audit:
        return str(audit["in_words"])
    if audit["why"] in REASONS:
        return f"The evidence check is inconclusive: {REASONS[audit['why']]}."
    frame, lungs = (_interval(audit["effects"][part]) for part in ("frame", "lungs"))
    if (audit.get("lungs_from") or {}).get("kind") == OVAL:
        return _by_oval(audit, frame)
    if audit["verdict"] == LUNGS:
        return f"The lungs change {lungs} of the predictions, the frame around them {frame}."
    if audit["verdict"] == UNKNOWN:
        return f"The evidence check is inconclusive: the frame changes {frame} of the predictions, the lungs {lungs}."
    reads_both = audit["effects"]["lungs"]["low"] > evidence.FRAME_FROM
    also = f" The model reads the lungs as well: they change {lungs}." if reads_both else ""
    return f"The frame around the lungs alone changes {frame} of the predictions.{also}"


def _by_oval(audit: Mapping[str, Any], frame: str) -> str:
    """The verdict where a fixed oval stood for the lungs."""
    whole, border = (
        _interval(next(row["balanced"] for row in audit["covers"] if row["name"] == name))
        for name in (occlusions.AS_THEY_ARE, model_audit.BORDER)
    )
    figures = (
        f"The border alone gives a balanced accuracy of {border}, the whole image {whole}. The image outside a fixed "
        f"oval changes {frame} of the predictions."
    )
    if audit["verdict"] == FRAME:
        return f"{figures} The lungs were not outlined."
    return f"No shortcut shows in the frame, and without outlines of the lungs no more can be said. {figures}"


def heat(audit: Mapping[str, Any]) -> str:
    """Where the heat maps of an audit lie."""
    if "why" not in audit:
        return str(audit["heat_in_words"])
    one = audit["heat"]
    if not one["images"]:
        return "No image has both a heat map and known lungs."
    return (
        f"{_interval({**one, 'value': one['share']})} of the heat lies inside the lungs (mean of "
        f"{plural(one['images'], 'image')}). The lungs fill {share(one['chance'])} of the picture: "
        f"{decimals(one['share'] / one['chance'], 1)} times chance."
    )


def worst_subgroup(audit: Mapping[str, Any]) -> str:
    """The worst subgroup of an audit against all others."""
    if "why" not in audit:
        return str(audit["worst_in_words"])
    if not audit["subgroups"]:
        return (
            f"No subgroup by source, size or brightness has {evidence.LEAST_SUBGROUP} test images and as many others."
        )
    one, of_all = audit["subgroups"][0], len(audit["subgroups"])
    comparisons = plural(of_all, "comparison")
    clusters = " Images of one cluster count for fewer." if audit["grouped"] else ""
    return (
        f"The worst of {plural(of_all, 'subgroup')} is {one['by']}: {one['name']}, with an accuracy of "
        f"{_interval(one['accuracy'])} on {plural(one['accuracy']['n'], 'image')}. That is "
        f"{'worse than' if one['is_worse'] else 'not significantly different from'} {_interval(one['others'])} of the "
        f"others ({p_in_words(one['p'])}, corrected for {comparisons}). Classes may be mixed differently "
        f"there.{clusters}"
    )


def with_words(audit: Mapping[str, Any]) -> dict[str, Any]:
    """An audit with its sentences, as programs read it."""
    sentences = {"in_words": conclusion, "heat_in_words": heat, "worst_in_words": worst_subgroup}
    masks = {"masks": lungs_from(audit), "masks_in_short": lungs_in_short(audit)}
    covers = [{**row, **cover_note(row)} for row in audit["covers"]]
    return {**audit, "covers": covers, **masks, **{key: words(audit) for key, words in sentences.items()}}


def lines(audit: Mapping[str, Any]) -> list[str]:
    """An audit for people, line by line, the verdict first."""
    some = "" if audit["images"] == audit["of_all"] else f" of {audit['of_all']:,}, drawn at random"
    lines = [
        f"{audit['verdict']}: {conclusion(audit)}",
        f"{plural(audit['images'], 'test image')}{some}; lungs known of {audit['with_lungs']:,} ({lungs_from(audit)})",
    ]
    for row in audit["covers"]:
        figures = cover_note(row).get("note") or (
            f"accuracy {_interval(row['accuracy'])}, drop {points(*_bounds(row['drop']))}, "
            f"same prediction {share(row['same_answer']['value'], 0)}"
        )
        lines.append(f"{row['name']:18} {figures}")
    return [*lines, heat(audit), worst_subgroup(audit)]


def cover_note(row: Mapping[str, Any]) -> dict[str, str]:
    """Why a cover has no figures, as its ``note``; empty where it has."""
    return {} if row.get("accuracy") else {"note": row.get("note", "cannot be measured without outlines of the lungs")}


def picture(shown: Shown) -> str:
    """What was done to the image of a picture."""
    if shown.lungs_of:
        return f"The frame of this {shown.label} image with the lungs of an image of {shown.lungs_of}"
    if shown.cover:
        return f"Gone: {shown.cover.destroys}"
    return f"A test image of the class {shown.label}, as the model sees it"


_bounds = itemgetter("value", "low", "high")  # of a stored measure


def _interval(value: Mapping[str, Any]) -> str:
    return interval(*_bounds(value))


# Outlines of lungs

RELIABLE, DOUBTFUL = 0.90, ", which are doubtful"  # Dice on real images below which a verdict is marked
OWN_MASKS, OUTLINED = "the data set's own lung masks", "lungs outlined by a segmenter"
REFUSALS = {  # by the figure of ``lungs.Shape`` that lies outside its limits
    "": "nothing in it looks like a lung",
    "area": "what looks like lungs covers {value} of it, and lungs cover {low} to {high}",
    "balance": "only one side looks like a lung",
    "tilt": "what looks like lungs does not lie side by side",
    "ragged": "what looks like lungs has no clear edge",
    "unsure": "the segmenter is unsure of too much of the outline",
    "cut": "what looks like lungs is cut off by the image's border",
    "box": "what looks like lungs is {value} of its width or height, and {low} is the least",
}


def outline(one: LungOutline) -> str:
    """What the outline of an image rests on, or why there is none."""
    if one.refusal is not None:
        return no_outline(one.refusal)
    return one.error or (outline_by(one.origin) if one.origin else "")


def no_outline(refusal: Refusal) -> str:
    """Why the lungs of an image are not outlined."""
    low, high = (share(value, 0) for value in (refusal.low, refusal.high))
    reason = REFUSALS[refusal.figure].format(value=share(refusal.value), low=low, high=high)
    return f"No lungs were found in this image: {reason}."


def outline_by(origin: Origin) -> str:
    """What outlines rest on, and how far to trust them."""
    if origin.kind == OWN:
        return "The lung mask is the data set's own."
    if origin.kind == OVAL:
        return "A fixed oval stands for the lungs."
    if origin.kind == BUILT_IN:
        real = f"{dice(origin)} on {plural(origin.dice.n, 'real image')}" if origin.dice else "not measured"
        learned = plural(origin.images, "synthetic image")
        return f"Outline by the built-in segmenter, trained on {learned}. Its Dice is {real}: check it first."
    kind, doubtful = ("synthetic image", "a real image") if origin.synthetic else ("image", "other images")
    tested = f"Its Dice on {plural(origin.dice.n, 'test image')} there is {dice(origin)}. " if origin.dice else ""
    return (
        f"Outline by a segmenter trained on {plural(origin.images, kind)} of {origin.dataset}. {tested}"
        f"It may be wrong on {doubtful}: check it first."
    )


def dice(origin: Origin) -> str:
    """Mean Dice of a segmenter's outlines on test images, whether or not it would show the outline."""
    return number(origin.dice.value, origin.dice.low, origin.dice.high) if origin.dice else "not measured"


def of_lungs(origin: Origin, short: bool = False) -> str:
    """Whose the lungs of several images are, in words or in few."""
    if origin.kind == OWN:
        return "own masks" if short else OWN_MASKS
    if origin.kind == OVAL:
        return "fixed oval" if short else "too few; a fixed oval stands for them"
    if short and origin.kind == BUILT_IN:
        return f"outlines by the built-in segmenter{DOUBTFUL if origin.dice and origin.dice.value < RELIABLE else ''}"
    if short:
        return f"outlines learned from {origin.dataset}{' (synthetic)' if origin.synthetic else ''}"
    return outline_by(origin).replace("Outline", "outlines", 1).rstrip(".")


def lungs_from(audit: Mapping[str, Any]) -> str:
    """What the lungs of an audit rest on; an earlier version stored the words."""
    if "lungs_from" not in audit:
        return str(audit.get("masks", "none"))
    return of_lungs(_origin(audit["lungs_from"])) if audit["lungs_from"] else "none"


def lungs_in_short(audit: Mapping[str, Any]) -> str:
    """The same in a few words; nothing without lungs."""
    if audit.get("lungs_from"):
        return of_lungs(_origin(audit["lungs_from"]), short=True)
    if "masks_in_short" in audit:
        return str(audit["masks_in_short"])
    phrases = ((OWN_MASKS, "own masks"), (OUTLINED, "outlines by a segmenter"))
    return " and ".join(short for words, short in phrases if words in str(audit.get("masks", "")))


def _origin(stored: Mapping[str, Any]) -> Origin:
    return Origin(**{**stored, "dice": stored["dice"] and Measure(**stored["dice"])})


# The heat map


def map_check(check: MapCheck) -> str:
    """Whether a run's heat map depends on what was learned, with its figures, in one sentence."""
    if check.why or not (check.whole.is_defined and check.head.is_defined):
        return f"The test of the heat map is inconclusive: {check.why or 'most maps are the same everywhere'}."
    figures = (
        f"its similarity to the heat map of a randomised network is {decimals(check.whole.correlation, 2)}, of a "
        f"randomised head {decimals(check.head.correlation, 2)} (low is good)"
    )
    if check.verdict == DEPENDS:
        return f"The heat map depends on what was learned: {figures}."
    if check.verdict == MEANINGLESS:
        return f"The heat map means nothing, for it hardly depends on what was learned: {figures}."
    return f"The test of the heat map is inconclusive: {figures}."
