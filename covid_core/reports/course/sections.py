"""The sections of a course report, in their order: to add one, add a row."""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from covid_core.reports.course import comparing, data_set, insights, methods, networks
from covid_core.reports.course.document import Block, Document, Section
from covid_core.reports.course.subject import Subject
from covid_core.work import Progress, silent


class Row(NamedTuple):
    """A section: its anchor, its title, and what makes its blocks; without any it is left out."""

    key: str
    title: str
    blocks: Callable[[Subject], list[Block]]


SECTIONS = (
    Row("summary", "Summary", comparing.summary),
    Row("data", "Data set", data_set.blocks),
    Row("baseline", "Baseline", networks.baseline),
    Row("transfer", "Transfer learning and fine-tuning", networks.transfer),
    Row("networks", "Further networks", networks.further),
    Row("comparison", "Comparison", comparing.blocks),
    Row("subgroups", "Subgroups", comparing.subgroups),
    Row("augmentation", "Augmentation", networks.augmentation),
    Row("insights", "Insights", insights.blocks),
    Row("methods", "Methods", methods.blocks),
)


def document_of(subject: Subject, progress: Progress = silent) -> Document:
    """The report of runs that are measured already. Raises RunDamaged and DataError."""
    sections = []
    for place, row in enumerate(SECTIONS):
        progress(place / len(SECTIONS), f"Writing {row.title}")
        if blocks := tuple(row.blocks(subject)):
            sections.append(Section(row.key, row.title, blocks))
    return Document(subject.title, datetime.now().astimezone(), tuple(sections))
