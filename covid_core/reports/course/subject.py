"""What a course report is about: runs, measured and ranked, with the data sets that they were made on."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from covid_core.data.dataset import Dataset
from covid_core.errors import CovidCoreError, InvalidChoice
from covid_core.evaluation import comparison
from covid_core.evaluation.comparison import Candidate, Ranking
from covid_core.reports import study_text
from covid_core.reports.study_text import Conclusion
from covid_core.runs import candidates as measuring
from covid_core.runs import pinned_dataset
from covid_core.runs.store import Run, Study
from covid_core.specs import TrainingSpec
from covid_core.work import Progress, silent
from covid_core.workspace import Workspace

IDENTITY = {"name", "note"}  # fields of a spec that decide nothing


@dataclass(frozen=True)
class Subject:
    """Finished runs, each with its candidate under the same position; ``left_out`` says which others are not in it."""

    workspace: Workspace
    runs: tuple[Run, ...]
    candidates: tuple[Candidate, ...]
    study: Study | None = None
    left_out: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What the report is called."""
        return self.study.name if self.study else f"Chest X-ray models on {self.runs[0].dataset.name}"

    @cached_property
    def rankings(self) -> tuple[Ranking[Candidate], ...]:
        """One per set of test images, that of most runs first."""
        return tuple(comparison.ranking(group) for group in comparison.grouped(self.candidates))

    @property
    def ranking(self) -> Ranking[Candidate]:
        """That of the set of test images on which most runs were tested; all comparisons are made in it."""
        return self.rankings[0]

    @property
    def best(self) -> Candidate:
        return self.ranking.order[0]

    @property
    def chosen(self) -> Candidate:
        """The run to use: validation's choice, where validation can choose."""
        return comparison.chosen_by_validation(self.ranking.order) or self.best

    def run_of(self, candidate: Candidate) -> Run:
        return next(run for run in self.runs if run.id == candidate.id)

    def name_of(self, run: Run) -> str:
        """What a run is called here."""
        return next(one.name for one in self.candidates if one.id == run.id)

    @cached_property
    def compared(self) -> tuple[tuple[Run, Candidate], ...]:
        """Runs and candidates of ``ranking``, in the order in which they were chosen."""
        ids = {one.id for one in self.ranking.order}
        return tuple((run, one) for run, one in zip(self.runs, self.candidates, strict=True) if run.id in ids)

    def where(self, holds: Callable[[TrainingSpec], bool]) -> list[Candidate]:
        """Those of ``compared`` whose spec is such."""
        return [one for run, one in self.compared if holds(run.spec)]

    @cached_property
    def datasets(self) -> tuple[tuple[Run, Dataset | str], ...]:
        """A run of each data set with the data set as that run used it, or with why it cannot be opened."""
        first = {run.dataset.id: run for run in reversed(self.runs)}
        return tuple((run, self.dataset_of(run)) for run in self.runs if first[run.dataset.id] is run)

    def dataset_of(self, run: Run) -> Dataset | str:
        """The data set as the run used it, or why it cannot be opened."""
        try:
            return pinned_dataset.dataset_of(self.workspace, run)
        except CovidCoreError as error:
            return str(error)

    def families(
        self,
        varied: Sequence[str],
        place: Callable[[TrainingSpec], object],
        among: Callable[[TrainingSpec], bool] = lambda spec: True,
    ) -> Iterator[tuple[list[Candidate], Conclusion]]:
        """Runs that differ in nothing but the fields ``varied``, with what they show against the first of them.

        Args:
            varied: fields of the spec.
            place: puts the values in order, the reference first; runs of equal place count once.
            among: which runs are meant.
        """
        families: dict[str, dict[object, Candidate]] = {}
        for run, candidate in self.compared:
            if among(run.spec):
                same = run.spec.model_dump_json(exclude=IDENTITY | set(varied))
                families.setdefault(same, {}).setdefault(place(run.spec), candidate)
        for family in families.values():
            order = [family[key] for key in sorted(family, key=lambda key: (str(type(key)), key))]
            concluded = study_text.conclusion(order)
            if concluded:
                yield order, concluded


def is_baseline(spec: TrainingSpec) -> bool:
    """Whether its network has no pretrained part."""
    return not (spec.network.pretrained or spec.is_imported)


def subject_of(
    workspace: Workspace,
    runs: Sequence[Run],
    study: Study | None = None,
    measured: Callable[[Run, str], Candidate] = measuring.candidate,
    progress: Progress = silent,
) -> Subject:
    """Measure the runs of a report.

    Args:
        workspace: of the runs.
        runs: in the order in which the report lists them; those without a result are named in it and left out.
        study: that they belong to, where they are one.
        measured: makes a candidate of a run and its name.
        progress: told after each run.

    Raises InvalidChoice where no run can be measured.
    """
    runs = measuring.on_common_images(runs)
    whole, candidates, left_out = [], [], []
    for place, (run, name) in enumerate(zip(runs, measuring.unique_names(runs), strict=True)):
        progress(place / len(runs), f"Measuring {name}")
        try:
            if not run.result:
                left_out.append(f"{name} has no result.")
                continue
            candidates.append(measured(run, name))
            whole.append(run)
        except CovidCoreError as error:
            left_out.append(f"{name} is left out: {error}")
    if not whole:
        raise InvalidChoice("A report needs a finished run.")
    return Subject(workspace, tuple(whole), tuple(candidates), study, tuple(left_out))
