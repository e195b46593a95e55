"""The audit that a data set has: the one that is kept, the one that is being made, and the button that starts one."""

import contextlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import streamlit as st

from covid_core.audit import dataset_audit, tables
from covid_core.audit.dataset_audit import DatasetAudit
from covid_core.audit.duplicates.duplicate_pairs import with_labels
from covid_core.audit.quality.findings import UNREADABLE
from covid_core.data import decisions, duplicates
from covid_core.data.dataset import KEY_LENGTH, Dataset
from covid_core.formatting import duration, plural
from covid_core.jobs import queue
from covid_core.jobs.kinds import AuditRequest
from covid_core.reports import audit_text
from pages.shared import job_panel, shell

WHAT_IT_DOES = (
    "The audit measures every image: exposure, sharpness, borders, letters, orientation and more. It searches for "
    "duplicates. It also trains classifiers on parts of each image, such as its border. Nothing is changed."
)


@dataclass(frozen=True, eq=False)
class Audited:
    """A data set as it is now, with the audit that there is of it.

    ``audit`` is None where there is none. ``is_current`` says whether it is of this version of the data set;
    ``changes`` counts the decisions that its images have seen since, where it is not.
    """

    dataset: Dataset
    audit: DatasetAudit | None
    is_current: bool = True
    changes: int = 0

    @cached_property
    def labels(self) -> dict[str, str]:
        """Present class of every image that is in use."""
        return dict(zip(self.dataset.images["image_id"], self.dataset.images["label"], strict=True))

    @cached_property
    def findings(self) -> pd.DataFrame:
        """Findings of files that could not be read, and of images in use; with a column dismissed."""
        table = self.audit.quality.findings
        valid = table[table["image_id"].isin(self.labels) | (table["finding"] == UNREADABLE)]
        dismissed = decisions.dismissed(self.dataset.decisions)
        keys = zip(valid["image_id"], valid["finding"], strict=True)
        return valid.assign(dismissed=np.array([(*one, "") in dismissed for one in keys], bool))

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """Pairs whose images are both in use, with their present classes; with a column dismissed."""
        images = self.dataset.images
        return tables.with_dismissed(with_labels(self.audit.pairs, images, images), self.dataset.decisions)


def latest(dataset: Dataset) -> Audited:
    """The data set with its audit; where this version has none, with that of the last version that has one."""
    audit = _opened(dataset)
    if audit is None:
        for version, number in sorted(dataset.versions.items(), key=lambda one: -one[1]):
            earlier = None if version == dataset.version else _opened(dataset.at(version))
            if earlier is not None:
                return Audited(dataset, earlier, False, len(dataset.decisions) - number)
    return Audited(dataset, audit)


@st.cache_data(max_entries=4, show_spinner="Grouping duplicates and patients")
def grouped(_dataset: Dataset, version: str) -> pd.DataFrame:
    """The images of a version with the column ``group`` that its group splits follow."""
    return duplicates.with_groups(shell.workspace(), _dataset)


def _opened(dataset: Dataset) -> DatasetAudit | None:
    """The audit that is kept of a version, read again only when one of its files is another one."""
    files = []
    for path in shell.workspace().tables.glob(f"{dataset.version[:KEY_LENGTH]}-*"):
        with contextlib.suppress(FileNotFoundError):  # the cache made room at this moment
            status = path.stat()
            files.append(f"{path.name} {status.st_ino} {status.st_size}")
    return _read(str(shell.workspace().root), dataset.id, dataset.version, "\n".join(sorted(files)), dataset)


@st.cache_resource(max_entries=4, show_spinner="Opening the audit")
def _read(root: str, identifier: str, version: str, stamp: str, _dataset: Dataset) -> DatasetAudit | None:
    return dataset_audit.stored(shell.workspace(), _dataset)


# Jobs


def panel(dataset: Dataset) -> bool:
    """Audits of a data set that are at work, or ended without a result. Returns whether one is at work."""
    return job_panel.panel(lambda: queue.jobs(shell.workspace(), AuditRequest, dataset=dataset.id))


@st.fragment(run_every=job_panel.POLL)
def progress(dataset: Dataset) -> None:
    """How far the audit is, in the place of its result; ``panel`` runs the page anew when it ends."""
    for job in queue.jobs(shell.workspace(), AuditRequest, dataset=dataset.id):
        if job.is_active:
            expected = job_panel.expected(job.request)
            left = f"It takes about {expected}." if expected else ""
            if job.status.seconds_left is not None:
                left = f"About {duration(job.status.seconds_left)} are left."
            st.markdown(f"**The audit is running.** {left} This tab fills when it is ready.")
            st.progress(min(max(job.status.progress, 0.0), 1.0), text=shell.plain(job.status.message or "Starting"))


def offer(dataset: Dataset, label: str = "Audit the images", key: str = "audit-start", primary: bool = True) -> None:
    """The button that starts an audit."""
    kind = "primary" if primary else "secondary"
    job_panel.start_button(label, AuditRequest(dataset=dataset.id), key=key, icon=":material/fact_check:", type=kind)


# In words


def is_outdated(audited: Audited, at_work: bool) -> None:
    """Say what has changed since the audit, with the button that makes it anew unless that is at work."""
    reason = "" if audited.audit is None else audit_text.OUTDATED[audited.audit.outdated]
    if not audited.is_current:
        reason = (
            f"**This audit is older than {plural(audited.changes, 'decision')}.** Images left out since are hidden. "
            "Images added since are not measured. Classes are the current ones; limits, probes and sources are those "
            "of the audit."
        )
    if not reason:
        return
    with st.container(border=True, key="audit-outdated"):
        st.markdown(f":material/history: {reason}")
        if not at_work:
            offer(audited.dataset, "Audit the images again", "audit-again", primary=False)
