"""The section on methods: how all of it was done, written from the files of the runs."""

import pandas as pd

from covid_core.evaluation.assessment import PARTS
from covid_core.formatting import count, duration
from covid_core.reports import run_text
from covid_core.reports.course import course_text
from covid_core.reports.course.document import Block, Bullets, Discussion, Paragraph, Table, call
from covid_core.reports.course.subject import Subject
from covid_core.runs import candidates


def blocks(subject: Subject) -> list[Block]:
    trained = [run for run in subject.runs if run.has_network]  # how the others were is unknown
    return [
        Paragraph(course_text.split_in_words(subject.run_of(subject.best))),
        Bullets((*(course_text.training(trained) if trained else ()), *course_text.statistics(subject.best))),
        Table("record", "What each run recorded of itself", _record(subject), recipe=call("records")),
        Bullets(tuple(course_text.environment(trained))),
        Discussion(course_text.DISCUSS["methods"]),
    ]


def _record(subject: Subject) -> pd.DataFrame:
    rows = []
    for run, one in zip(subject.runs, subject.candidates, strict=True):
        parts = run.split()["part"].value_counts()
        rows.append(
            {
                "Run": one.name,
                "Id": run.id,
                "Split": run.split_hash[:8],
                "Train / validation / test": " / ".join(count(parts.get(part, 0)) for part in PARTS),
                "Seed": str(run.spec.seed),
                "Split seed": str(run.spec.split.seed),
                "Hardware": run_text.device(str(run.result.get("device", "–"))),
                "Training time": duration(candidates.training_seconds(run)),
            }
        )
    return pd.DataFrame(rows)
