"""The section on what follows: which run and why, what it rests on, its limits, and who benefits."""

from covid_core.audit.model import model_audit
from covid_core.figures import evidence as figures
from covid_core.reports import evidence_text
from covid_core.reports.course import course_text
from covid_core.reports.course.document import Block, Bullets, Chart, Discussion, Paragraph, call
from covid_core.reports.course.subject import Subject
from covid_core.reports.evidence_text import DAMAGED
from covid_core.runs import test_set_access


def blocks(subject: Subject) -> list[Block]:
    run = subject.run_of(subject.chosen)
    check = evidence_text.of(run)
    views = len(test_set_access.of(one for one, _ in subject.compared))  # of the images, by whichever run
    parts: list[Block] = [
        Paragraph(course_text.choice(subject.ranking, subject.chosen)),
        Bullets(tuple(course_text.reasons(subject.ranking, subject.chosen))),
        Paragraph(check.in_full),
        *_effects(subject),
        Paragraph("What these numbers do not show:"),
        Bullets(tuple(course_text.limits(run, subject.chosen, check, views))),
        Paragraph("Who could benefit:"),
        Bullets(tuple(course_text.benefit(subject.chosen, check))),
        Discussion(course_text.DISCUSS["insights"]),
    ]
    return parts


def _effects(subject: Subject) -> list[Block]:
    """What the frame and the lungs change, of the runs whose check measured it."""
    checked = [one for one in subject.ranking.order if evidence_text.of(subject.run_of(one)).verdict != DAMAGED]
    stored = {one.name: model_audit.stored(subject.run_of(one)) for one in checked}
    audits = {name: audit for name, audit in stored.items() if audit and audit.get("effects")}
    if not audits:
        return []
    title = "Share of predictions that follow the frame, and the lungs"
    alt = " ".join(f"{name}: {figures.effects_in_words(audit)}" for name, audit in audits.items())
    figure = figures.effects_of_runs(list(audits), list(audits.values()))
    return [Chart("evidence", title, evidence_text.LIMITS_OF_RULE, alt, figure, recipe=call("effects"))]
