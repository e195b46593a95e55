"""The audit that a data set has: the one that is kept, the one that is being made, and the button that starts one."""

import contextlib
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
import streamlit as st

from covid_core.audit import dataset_audit, tables
from covid_core.audit.dataset_audit import Found
from covid_core.audit.duplicates.duplicate_pairs import with_labels
from covid_core.audit.quality.findings import UNREADABLE
from covid_core.data import decisions
from covid_core.data.dataset import KEY_LENGTH, Dataset
from covid_core.formatting import plural
from covid_core.jobs import queue
from covid_core.jobs.kinds import AuditRequest
from pages.shared import job_panel, shell

WHAT_IT_DOES = (
    "It measures every image (exposure, sharpness, borders, letters, orientation and more), looks for images that show "
    "the same picture, and asks what classifiers reach that see only some of each image, such as its border. "
    "Nothing is changed; what it finds is kept."
)


@dataclass(frozen=True, eq=False)
class Audited:
    """A data set as it is now, with the audit that there is of it.

    ``found`` is None where there is none. ``is_current`` says whether it is of this version of the data set;
    ``changes`` counts the decisions that its images have seen since, where it is not.
    """

    dataset: Dataset
    found: Found | None
    is_current: bool = True
    changes: int = 0

    @cached_property
    def labels(self) -> dict[str, str]:
        """Present class of every image that is in use."""
        return dict(zip(self.dataset.images["image_id"], self.dataset.images["label"], strict=True))

    @cached_property
    def dismissed(self) -> frozenset[tuple[str, str, str]]:
        """What somebody dismissed: image id, finding, and the other image of a pair or nothing."""
        return decisions.dismissed(self.dataset.decisions)

    @cached_property
    def findings(self) -> pd.DataFrame:
        """Findings of files that could not be read, and of images in use; with a column dismissed."""
        table = self.found.audit.findings
        known = table["image_id"].isin(self.labels) | (table["finding"] == UNREADABLE)
        kept = table[known]
        gone = [(row.image_id, row.finding, "") in self.dismissed for row in kept.itertuples()]
        return kept.assign(dismissed=pd.array(gone, dtype=bool))

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """Pairs whose images are both in use, with their present classes; with a column dismissed."""
        kept = with_labels(self.found.pairs, self.dataset.images, self.dataset.images)
        gone = [(row.first, tables.SAME_PICTURE, row.second) in self.dismissed for row in kept.itertuples()]
        return kept.assign(dismissed=pd.array(gone, dtype=bool))


def latest(dataset: Dataset) -> Audited:
    """The data set with its audit; where this version has none, with that of the last version that has one."""
    found = _known(dataset)
    if found is not None or not dataset.decisions:
        return Audited(dataset, found)
    for version, number in sorted(dataset.versions.items(), key=lambda one: -one[1]):
        found = None if version == dataset.version else _known(dataset.at(version))
        if found is not None:
            return Audited(dataset, found, False, len(dataset.decisions) - number)
    return Audited(dataset, None)


def _known(dataset: Dataset) -> Found | None:
    """The audit that is kept of a version, read again only when one of its files is another one."""
    found = shell.workspace().tables.glob(f"{dataset.version[:KEY_LENGTH]}-*")
    kept = []
    for path in found:
        with contextlib.suppress(FileNotFoundError):  # the cache made room at this moment
            status = path.stat()
            kept.append(f"{path.name} {status.st_ino} {status.st_size}")
    return _read(str(shell.workspace().root), dataset.id, dataset.version, "\n".join(sorted(kept)), dataset)


@st.cache_resource(max_entries=4, show_spinner="Opening the audit")
def _read(root: str, identifier: str, version: str, stamp: str, _dataset: Dataset) -> Found | None:
    return dataset_audit.known(shell.workspace(), _dataset)


# Jobs


def panel(dataset: Dataset) -> bool:
    """Audits of a data set that are at work, or ended without a result. Returns whether one is at work."""
    return job_panel.panel(lambda: queue.jobs(shell.workspace(), AuditRequest, dataset=dataset.id))


def offer(dataset: Dataset, label: str = "Audit the images", key: str = "audit-start", primary: bool = True) -> None:
    """The button that starts an audit."""
    kind = "primary" if primary else "secondary"
    job_panel.start_button(label, AuditRequest(dataset=dataset.id), key=key, icon=":material/fact_check:", type=kind)


# In words


def is_outdated(audited: Audited, at_work: bool) -> None:
    """Say what has changed since the audit, with the button that makes it anew unless that is at work."""
    told = "" if audited.found is None else audited.found.outdated
    if not audited.is_current:
        told = (
            f"**This audit is of the data set before {plural(audited.changes, 'decision')}.** Below, images that were "
            "left out since are hidden and classes are those of now; limits, the ladder and sources are as they were."
        )
    if not told:
        return
    row = st.container(border=True, key="audit-outdated")
    row.markdown(f":material/history: {told}")
    if not at_work:
        with row:
            offer(audited.dataset, "Audit the images again", "audit-again", primary=False)
