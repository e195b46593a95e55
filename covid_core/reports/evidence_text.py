"""What a run's model reads, in the few words that stand beside its accuracy wherever that is shown.

An accuracy does not say what it rests on; the audit of the model does (``audit.model.model_audit``, with the rule in
``audit.model.evidence``). So every list and table that has the one has the other, or says that it was not asked for
yet.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from covid_core.audit.model import evidence, model_audit
from covid_core.errors import RunDamaged
from covid_core.formatting import interval, plural, points, share
from covid_core.runs.store import Run

NOT_YET = "not audited yet"
DAMAGED = "its audit is damaged"
HEADING = "What it reads"
HELP = (
    "Two test images are put together, the lungs of one in the frame of the other, and the model is asked again. "
    f"**{evidence.FRAME.capitalize()}**: the frame alone turns more than {share(evidence.FRAME_FROM, 0)} of its "
    "answers, so its accuracy is not about lungs only, whatever else it reads. "
    f"**{evidence.LUNGS.capitalize()}**: the lungs turn more than {share(evidence.LUNGS_FROM, 0)} of them, and the "
    f"frame fewer than {share(evidence.FRAME_BELOW, 0)}. **{evidence.UNKNOWN.capitalize()}**: anything else, or no "
    "lung masks. Whole 95 % intervals count. Where the lungs are is told by the data set's own masks or by a "
    "segmenter's outlines; which of them stands beside the verdict."
)
READERS = {evidence.LUNGS: "lungs", evidence.FRAME: "frame"}  # what the sentence of several runs says that they read


@dataclass(frozen=True)
class Told:
    """A verdict as tables show it.

    ``verdict`` is one of ``audit.model.evidence``, NOT_YET or DAMAGED; ``in_words`` a sentence with the figures it
    rests on, or why there is none; ``masks`` whose lung masks they were, in a few words, empty where there were none.
    """

    verdict: str
    in_words: str = ""
    masks: str = ""

    @property
    def in_passing(self) -> str:
        """The verdict where nothing around it says what it is about: behind a name and an accuracy."""
        return f"audit {self.verdict}" if self.verdict == evidence.UNKNOWN else self.verdict

    @property
    def in_short(self) -> str:
        """Verdict and masks: ``reads the frame (own masks)``."""
        return f"{self.verdict} ({self.masks})" if self.masks else self.verdict

    @property
    def in_full(self) -> str:
        """Verdict, masks and the sentence with the figures, or why there is no verdict."""
        if self.verdict in (NOT_YET, DAMAGED):
            return self.in_words
        return f"Verdict of its audit: {self.in_short}. {self.in_words}"


def of(run: Run) -> Told:
    """The verdict on a run's model as far as it is known. A damaged audit takes nothing else from the run."""
    try:
        found = model_audit.known(run)
    except RunDamaged as error:
        return Told(DAMAGED, str(error))
    if found is None:
        return Told(NOT_YET, "What the model reads has not been asked yet.")
    return Told(found["verdict"], found["in_words"], model_audit.masks_in_short(found))


def counted(told: Iterable[Told]) -> str:
    """The verdicts of several runs of one training: ``reads the frame`` of all, or how often each was given."""
    found = Counter(one.verdict for one in told)
    if len(found) < 2:
        return next(iter(found), "")
    return ", ".join(f"{verdict} ({times} of {found.total()})" for verdict, times in found.most_common())


def sentence(names: Sequence[str], told: Sequence[Told]) -> str:
    """What some runs read, in one sentence; nothing for no runs."""
    by_verdict: dict[str, list[str]] = {}
    for name, one in zip(names, told, strict=True):
        by_verdict.setdefault(one.verdict, []).append(name)
    if set(by_verdict) <= {NOT_YET}:
        return "What these models read has not been asked yet: none of them is audited." if by_verdict else ""
    parts = [
        f"{_listed(by_verdict[verdict])} {_verb(verdict, len(by_verdict[verdict]))}"
        for verdict in (evidence.FRAME, evidence.LUNGS, evidence.UNKNOWN, DAMAGED, NOT_YET)
        if verdict in by_verdict
    ]
    return f"What they read: {'; '.join(parts)}."


MOST_NAMED = 4  # runs of one verdict that are called by name


def _listed(names: Sequence[str]) -> str:
    if len(names) > MOST_NAMED:
        return f"{', '.join(names[:MOST_NAMED])} and {len(names) - MOST_NAMED} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _verb(verdict: str, runs: int) -> str:
    one = runs == 1
    if verdict in READERS:
        return f"{'reads' if one else 'read'} the {READERS[verdict]}"
    if verdict == evidence.UNKNOWN:
        return "was audited, which could not say" if one else "were audited, which could not say"
    if verdict == DAMAGED:
        return "has a damaged audit" if one else "have damaged audits"
    return f"{'is' if one else 'are'} {NOT_YET}"


def lines(found: Mapping[str, Any]) -> list[str]:
    """An audit for people, line by line, the verdict first."""
    some = "" if found["images"] == found["of_all"] else f" of {found['of_all']:,}, drawn at random"
    lines = [
        f"{found['verdict']}: {found['in_words']}",
        f"{plural(found['images'], 'test image')}{some}; lungs known of {found['with_lungs']:,} ({found['masks']})",
    ]
    for row in found["covers"]:
        if "note" in row:
            lines.append(f"{row['name']:18} {row['note']}")
            continue
        accuracy, drop, same = row["accuracy"], row["drop"], row["same_answer"]["value"]
        lines.append(
            f"{row['name']:18} accuracy {interval(accuracy['value'], accuracy['low'], accuracy['high'])}, "
            f"drop {points(drop['value'], drop['low'], drop['high'])}, same answer {share(same, 0)}"
        )
    return [*lines, found["heat_in_words"], found["worst_in_words"]]
