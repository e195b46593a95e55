"""What the files of a run and of its data set show, each with where it stands: nothing is ticked by anything else.

To add evidence, add a function with ``@of_run`` or ``@of_data``, which names the file and field, and what has to be
there; the function's name is what ``checklists.toml`` calls it. It returns the words, with ``Shown.is_whole`` beside
them where they may be of some images only, or nothing where the files do not show it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from covid_core.audit import dataset_audit
from covid_core.audit.dataset_audit import DatasetAudit
from covid_core.audit.model import heatmap_sanity, model_audit
from covid_core.data import decisions, summary
from covid_core.data.dataset import Dataset
from covid_core.data.split import PARTS
from covid_core.errors import DataError
from covid_core.evaluation.comparison import Candidate
from covid_core.evaluation.measures import MEASURES
from covid_core.formatting import count, day, in_full, p_in_words, plural, share
from covid_core.inference import external_test, robustness
from covid_core.reports import audit_text, comparison_text, evidence_text, external_text, run_text
from covid_core.reports.comparison_text import in_words
from covid_core.reports.course import course_text
from covid_core.runs import candidates, pinned_dataset, prediction_sets, store, temperature_scaling
from covid_core.runs.store import Run
from covid_core.specs import IMBALANCE_LABELS, OPTIMIZER_LABELS
from covid_core.workspace import Workspace

FACTS = ("sex", "age")  # without these there is no demography
KINDS = {
    "folder": "a folder",
    "archive": "an archive",
    "kaggle": "Kaggle",
    "phantom": "drawn images",
    "merged": "data sets",
}


@dataclass(frozen=True)
class Shown:
    """What files show, in words, and the file and field that it is from. ``is_whole``: of every image that it is about;
    what is known of some only does not tick an item."""

    text: str
    where: str
    is_whole: bool = True


@dataclass(frozen=True)
class Subject:
    """What a card is about: a finished run with its data set as it was then, or a data set alone.

    ``dataset`` is None where it is not here any more.
    """

    workspace: Workspace
    run: Run | None
    dataset: Dataset | None

    @cached_property
    def candidate(self) -> Candidate:
        """The run's figures with their intervals."""
        return candidates.candidate(self.the_run)

    @property
    def the_run(self) -> Run:
        if self.run is None:
            raise ValueError("this card is about a data set")
        return self.run

    @property
    def the_dataset(self) -> Dataset:
        if self.dataset is None:
            raise ValueError("the data set is not here")
        return self.dataset

    @cached_property
    def audit(self) -> DatasetAudit | None:
        """The audit of the data set that is kept, if any."""
        return None if self.dataset is None else dataset_audit.stored(self.workspace, self.dataset)

    @cached_property
    def images(self) -> pd.DataFrame:
        """The images that the card is about: those of the run's split, or all."""
        images = self.the_dataset.images
        return images if self.run is None else images[images["image_id"].isin(self.run.split()["image_id"])]

    def shown(self, name: str) -> Shown | None:
        """The evidence of that name; None where the files do not show it."""
        one = EVIDENCE[name]
        there = self.run is not None if one.is_of_run else self.dataset is not None
        words = one.reader(self) if there and all(is_there(self) for is_there in one.needs) else None
        if not words or isinstance(words, Shown):
            return words or None
        return Shown(words, one.where) if isinstance(words, str) else Shown(words[0], one.where, words[1])


Words = str | tuple[str, bool] | Shown | None
Reader = Callable[[Subject], Words]
Need = Callable[[Subject], bool]


@dataclass(frozen=True)
class Evidence:
    """A row of EVIDENCE: whether it is of a run or of a data set, the file and field, what has to be there, and what
    reads it."""

    is_of_run: bool
    where: str
    needs: Sequence[Need]
    reader: Reader


EVIDENCE: dict[str, Evidence] = {}


def of_run(where: str, *needs: Need) -> Callable[[Reader], Reader]:
    """Enter the decorated function as evidence from a run's files."""
    return _entered(True, where, needs)


def of_data(where: str, *needs: Need) -> Callable[[Reader], Reader]:
    """Enter the decorated function as evidence from a data set's files."""
    return _entered(False, where, needs)


def _entered(is_of_run: bool, where: str, needs: Sequence[Need]) -> Callable[[Reader], Reader]:
    def enter(reader: Reader) -> Reader:
        EVIDENCE[reader.__name__.strip("_")] = Evidence(is_of_run, where, needs, reader)
        return reader

    return enter


# What has to be there


def trained(subject: Subject) -> bool:
    """The run was trained here, or where its bundle was made; its predictions are not from a file."""
    return subject.the_run.has_network


def tested(subject: Subject) -> bool:
    """A test image has a prediction."""
    return subject.candidate.assessment.test.is_defined


def with_data(subject: Subject) -> bool:
    """The run's data set is here."""
    return subject.dataset is not None


def calibrated(subject: Subject) -> bool:
    """The run has a temperature."""
    return temperature_scaling.of(subject.the_run).is_defined


# The run: what it is, and how it was trained


@of_run("README.md of the app")
def use(_subject: Subject) -> Words:
    return "Research and teaching. Not a medical device."


@of_run("spec.json: spec.note")
def note(subject: Subject) -> Words:
    return subject.the_run.spec.note


@of_run("spec.json: spec.backbone, mode", trained)
def network(subject: Subject) -> Words:
    spec = subject.the_run.spec
    return f"{spec.network.label}: {spec.strategy}."


@of_run("result.json: parameters, parameters_trained; the layers stand in model.keras")
def parameters(subject: Subject) -> Words:
    result = subject.the_run.result
    if not result.get("parameters") or "parameters_trained" not in result:
        return None
    return f"{count(result['parameters_trained'])} of {count(result['parameters'])} parameters were trained."


@of_run("result.json: weights")
def weights(subject: Subject) -> Words:
    origin = subject.the_run.result.get("weights") or {}
    if origin.get("origin") not in ("imagenet", "random", "file"):
        return None
    of_file = f": {origin['file']}, SHA-256 {origin['sha256'][:12]}" if "sha256" in origin else ""
    return f"Starting weights: {origin['origin']}{of_file}."


@of_run("spec.json: spec.seed, split.seed", trained)
def seeds(subject: Subject) -> Words:
    spec = subject.the_run.spec
    return f"Seed {spec.seed}; seed of the split {spec.split.seed}."


@of_run("result.json: versions")
def versions(subject: Subject) -> Words:
    installed = subject.the_run.result.get("versions") or {}
    return ", ".join(f"{name} {number}" for name, number in sorted(installed.items()))


@of_run("spec.json: spec.image_size, input; the scaling stands in model.keras", trained)
def preprocessing(subject: Subject) -> Words:
    spec = subject.the_run.spec
    shown = spec.input.in_words or "whole image"
    return f"8-bit grey, squashed to {spec.pixels} x {spec.pixels} px; shown to the network: {shown}."


@of_run("spec.json: spec; result.json: epochs_done; each epoch stands in history.csv", trained)
def training(subject: Subject) -> Words:
    spec, result = subject.the_run.spec, subject.the_run.result
    if "epochs_done" not in result:
        return None
    return (
        f"{OPTIMIZER_LABELS[spec.optimizer]}, learning rate {in_full(spec.learning_rate)}, batches of "
        f"{spec.batch_size}, {count(result['epochs_done'])} of at most {plural(spec.total_epochs, 'epoch')}; loss: "
        f"{course_text.loss(spec)}; dropout {spec.head.dropout:g}."
    )


@of_run("spec.json: spec.augmentation", trained)
def augmentation(subject: Subject) -> Words:
    return f"Augmentation: {subject.the_run.spec.augmentation.in_words or 'none'}."


@of_run("spec.json: spec.imbalance", trained)
def imbalance(subject: Subject) -> Words:
    return f"Class imbalance: {IMBALANCE_LABELS[subject.the_run.spec.imbalance].lower()}."


@of_run("spec.json: spec.keep; result.json: best_epoch")
def selection(subject: Subject) -> Words:
    epoch = subject.the_run.result.get("best_epoch")
    if not epoch:
        return None
    is_best = subject.the_run.spec.keep == "best"
    return f"Weights of epoch {epoch}, the one with the lowest validation loss." if is_best else "Last epoch."


@of_run("spec.json: spec.classes")
def output(subject: Subject) -> Words:
    return f"A score for each of {', '.join(subject.the_run.classes)}; the highest is the prediction."


@of_run("model.keras; result.json: model_sha256")
def model_file(subject: Subject) -> Words:
    digest = subject.the_run.result.get("model_sha256")
    return f"A Keras file that takes grey images, SHA-256 {digest[:12]}." if digest else None


@of_run("spec.json: spec", trained)
def settings(_subject: Subject) -> Words:
    return "Every setting of the training is kept as JSON."


@of_run("result.json: without_outline")
def without_outline(subject: Subject) -> Words:
    return run_text.region(subject.the_run)


@of_run("reference.npz; result.json: reference_sha256")
def gate(subject: Subject) -> Words:
    what = "Files that cannot be read exactly, and images unlike frontal chest X-rays or its training images"
    return f"{what}, are refused." if subject.the_run.has_reference else None


# The run: parts


@of_run("spec.json: spec.split; split.parquet: part")
def partition(subject: Subject) -> Words:
    unknown = "" if trained(subject) else " Whether the model was trained on this split is unknown."
    return f"{course_text.split_of(subject.the_run)}{unknown}", trained(subject)


@of_run("spec.json: spec.split.images_per_class", trained)
def subset(subject: Subject) -> Words:
    per_class = subject.the_run.spec.split.images_per_class
    return f"A balanced subset of {count(per_class)} per class was drawn." if per_class else "No subset was drawn."


@of_run("split.parquet: part, label")
def sizes(subject: Subject) -> Words:
    table = pd.crosstab(subject.the_run.split()["part"], subject.the_run.split()["label"])
    of_parts = [
        f"{part} {count(table.loc[part].sum())} "
        f"({', '.join(f'{label} {count(n)}' for label, n in table.loc[part].items())})"
        for part in PARTS
        if part in table.index
    ]
    return f"Images: {'; '.join(of_parts)}."


@of_run("split.parquet: group, part; manifest.parquet: patient_id")
def disjoint(subject: Subject) -> Words:
    split = subject.the_run.split()
    crossing = int((split.groupby("group")["part"].nunique() > 1).sum())
    if crossing or subject.the_run.spec.split.method == "stratified":
        words = "By image: duplicates and images of one patient may lie in several parts."
        return Shown(words, "spec.json: spec.split.method")
    if subject.dataset is None:
        return None
    patients = subject.images[["image_id", "patient_id"]].merge(split[["image_id", "part"]])
    with_fact = patients[patients["patient_id"] != ""]
    crossing = int((with_fact.groupby("patient_id")["part"].nunique() > 1).sum())
    if crossing:
        where = "split.parquet: part; manifest.parquet: patient_id"
        return Shown(f"{plural(crossing, 'patient')} in several parts.", where)
    without = len(split) - len(with_fact)
    unknown = f" Of {plural(without, 'image')} the patient is unknown." if without else ""
    words = f"Near-duplicates{' and patients' if len(with_fact) else ''} lie in one part each.{unknown}"
    return words, len(with_fact) == len(split) and trained(subject)


# The run: figures


@of_run("predictions.parquet: score of each class, part, label", tested)
def measures(subject: Subject) -> Words:
    test = subject.candidate.assessment.test
    further = ", ".join(row.title for key, row in MEASURES.items() if key != "accuracy")
    return f"Test accuracy {in_words(test)} of {plural(test.n, 'image')}; under Figures also {further}."


@of_run("predictions.parquet: scores", tested)
def per_class(_subject: Subject) -> Words:
    return "Sensitivity, specificity, PPV, NPV and AUROC of each class: see Figures."


@of_run("predictions.parquet; split.parquet: group", tested)
def intervals(subject: Subject) -> Words:
    return next(iter(course_text.statistics(subject.candidate)))


@of_run("predictions.parquet: scores", tested)
def test_of_baseline(subject: Subject) -> Words:
    figures = subject.candidate.assessment
    baseline = f"{share(figures.majority['test'].value)} (always {figures.majority_label})"
    return f"Against the majority baseline, {baseline}: {p_in_words(figures.p_majority)}."


@of_run("predictions.parquet: part")
def all_parts(subject: Subject) -> Words:
    accuracy = subject.candidate.assessment.accuracy
    words = "; ".join(f"{part} {in_words(one)}" for part, one in accuracy.items() if one.is_defined)
    return f"Accuracy: {words}.", all(one.is_defined for one in accuracy.values())


@of_run("predictions.parquet: scores", tested)
def confusion(subject: Subject) -> Words:
    wrong = int((~subject.candidate.assessment.right).sum())
    return f"{plural(wrong, 'test image')} predicted wrongly; confusion matrix: see Figures."


@of_run("result.json: calibration", calibrated)
def calibration(subject: Subject) -> Words:
    return run_text.scale(subject.the_run, temperature_scaling.of(subject.the_run))


@of_run("predictions.parquet: scores", calibrated, tested)
def sets(subject: Subject) -> Words:
    return run_text.prediction_sets(prediction_sets.report(subject.the_run))


@of_run("predictions.parquet; manifest.parquet: sex, age, view, source, device", with_data, tested)
def subgroups(subject: Subject) -> Words:
    measured = candidates.subgroups(subject.the_run, subject.the_dataset.images)
    with_fact = {row.fact for row in measured.rows}
    return (" ".join(run_text.subgroups(measured)), bool(with_fact & set(FACTS))) if with_fact else None


@of_run("manifest.parquet: source", with_data, tested)
def clusters(subject: Subject) -> Words:
    measured = candidates.subgroups(subject.the_run, subject.the_dataset.images)
    of_source = [row for row in measured.rows if row.fact == "source"]
    return " ".join(run_text.subgroups(measured)) if len(of_source) > 1 else None


@of_run("audits/model.json: verdict, effects")
def evidence(subject: Subject) -> Words:
    run = subject.the_run
    return evidence_text.of(run).in_full if model_audit.stored(run) else None


@of_run("audits/heat-map.json")
def heatmaps(subject: Subject) -> Words:
    made = heatmap_sanity.stored(subject.the_run)
    return evidence_text.map_check(made) if made else None


@of_run("audits/robustness.json: changes")
def _robustness(subject: Subject) -> Words:
    curve = robustness.stored(subject.the_run)
    return " ".join(run_text.robustness(curve)) if curve else None


@of_run("evaluations: the newest tests of this run")
def external(subject: Subject) -> Words:
    run, words = subject.the_run, []
    for evaluation in run.evaluations():
        report = external_test.report(run, evaluation)
        if report.origin.kind == external_test.EXTERNAL:
            words.append(f"{external_text.origin(report.origin)} {external_text.conclusion(run, evaluation, report)}")
    return " ".join(words)


@of_run("result.json, predictions.parquet and split.parquet")
def marks(subject: Subject) -> Words:
    words = comparison_text.marks(subject.candidate)
    return f"{'; '.join(words)}." if words else None


@of_run("annotation.json: licence")
def licence(subject: Subject) -> Words:
    """As stated with the run, or else with others on its data set."""
    return _stated_licence(subject.the_run) or _licence_of_others(subject, subject.the_run.dataset.id)


def _stated_licence(run: Run) -> Shown | None:
    """As somebody stated it here with the run, or else as the sender of its bundle did."""
    if run.annotation.licence:
        return Shown(f"Licence of the data: {run.licence}, as stated in this workspace.", "annotation.json: licence")
    if not run.bundle or not run.licence:
        return None
    sender = f"the sender of its bundle of {day(run.bundle.created)}"
    return Shown(f"Licence of the data: {run.licence}, as stated by {sender}.", "spec.json: bundle.licence")


def _licence_of_others(subject: Subject, dataset: str) -> Shown | None:
    """As stated with any run on a data set."""
    runs, _ = store.list_runs(subject.workspace)
    stated = [shown for run in runs if run.dataset.id == dataset and (shown := _stated_licence(run))]
    if not stated:
        return None
    text = " ".join(dict.fromkeys(one.text for one in stated))
    return Shown(text, f"{stated[0].where}, of runs on the data set")


@of_run("predictions.parquet; openings.csv")
def stored_outputs(subject: Subject) -> Words:
    rows = len(subject.the_run.predictions())
    views = len(subject.the_run.openings())
    return f"The scores of {plural(rows, 'image')} are kept; {plural(views, 'view')} of the test images noted."


# The data set


@of_data("import.json: kind")
def origin(subject: Subject) -> Words:
    kind = subject.the_dataset.info["kind"]
    return f"{subject.the_dataset.name}, imported from {KINDS.get(kind, kind)}."


@of_data("annotation.json: licence")
def data_licence(subject: Subject) -> Words:
    """As stated with any run on the data set; on the card of a run, ``licence`` says it."""
    return None if subject.run else _licence_of_others(subject, subject.the_dataset.id)


def _share_with(subject: Subject, fact: str) -> float:
    """Share of the images of which a fact is known."""
    return float((subject.images[fact] != "").mean())


@of_data("manifest.parquet: source")
def sources(subject: Subject) -> Words:
    if not (with_fact := _share_with(subject, "source")):
        return None
    table = summary.source_table(subject.images, subject.the_dataset.classes)
    return f"{plural(len(table), 'source')}; known of {share(with_fact)} of the images.", with_fact == 1


@of_data("manifest.parquet: patient_id")
def patients(subject: Subject) -> Words:
    with_fact = subject.images.loc[subject.images["patient_id"] != "", "patient_id"]
    images = f"{plural(len(with_fact), 'image')} of {count(len(subject.images))}"
    words = f"{plural(with_fact.nunique(), 'patient')} in {images}."
    return None if with_fact.empty else (words, len(with_fact) == len(subject.images))


@of_data("manifest.parquet and decisions.csv")
def included(subject: Subject) -> Words:
    return f"{plural(len(subject.images), 'image')} used."


@of_data("import.json: left_out")
def left_out(subject: Subject) -> Words:
    reasons = subject.the_dataset.left_out["reason"].value_counts()
    words = "; ".join(f"{reason.rstrip('.')}: {count(n)}" for reason, n in reasons.head(6).items())
    return f"Files left out by import: {words or 'none'}."


@of_data("decisions.csv: action")
def _decisions(subject: Subject) -> Words:
    made = decisions.in_force(subject.the_dataset.decisions)
    actions = pd.Series([one.action for one in made]).value_counts()
    words = ", ".join(f"{action} {count(n)}" for action, n in actions.items()) or "none"
    return f"Decisions of people in force: {words}."


@of_data("decisions.csv: relabel, author")
def relabelled(subject: Subject) -> Words:
    made = [one for one in decisions.in_force(subject.the_dataset.decisions) if one.action == decisions.RELABEL]
    authors = plural(len({one.author for one in made}), "person", "people")
    return f"{plural(len(made), 'label')} changed by {authors}." if made else None


@of_data("manifest.parquet: label")
def labels(subject: Subject) -> Words:
    return f"Classes as in the folders or tables of the import: {', '.join(subject.the_dataset.classes)}."


@of_data("manifest.parquet: sex, age")
def demography(subject: Subject) -> Words:
    with_fact = {fact: _share_with(subject, fact) for fact in FACTS}
    words = ", ".join(f"{fact} of {share(part)}" for fact, part in with_fact.items())
    text = f"Known: {words} of the images; by part: see Data."
    return (text, min(with_fact.values()) == 1) if any(with_fact.values()) else None


@of_data("manifest.parquet")
def missing_facts(subject: Subject) -> Words:
    of_facts = {summary.RECORDED[name]: (subject.images[name] == "").mean() for name in summary.RECORDED}
    words = ", ".join(f"{name.lower()} {share(part)}" for name, part in of_facts.items())
    return f"Missing of the images: {words}."


@of_data("manifest.parquet: view, device, spacing")
def acquisition(subject: Subject) -> Words:
    with_fact = {name: _share_with(subject, name) for name in ("view", "device", "spacing")}
    words = ", ".join(f"{name} of {share(part)}" for name, part in with_fact.items())
    return (f"Known: {words} of the images.", min(with_fact.values()) == 1) if any(with_fact.values()) else None


@of_data("manifest.parquet: width, height")
def formats(subject: Subject) -> Words:
    table = summary.format_table(subject.images, "width", "height").groupby(["width", "height"])["images"].sum()
    largest = table.sort_values(ascending=False)
    (width, height), images = largest.index[0], largest.iloc[0]
    return f"{plural(len(table), 'size')}; the most frequent is {width} x {height} px ({plural(images, 'image')})."


@of_data("the kept audit of this version")
def audit(subject: Subject) -> Words:
    if subject.audit is None:
        return None
    texts = [*audit_text.findings(subject.audit.quality), audit_text.duplicates(subject.audit.pairs)]
    return "; ".join(text.rstrip(".") for text in texts) + "."


def dataset_of(workspace: Workspace, run: Run) -> Dataset | None:
    """The run's data set as it was; None where that is not here."""
    try:
        return pinned_dataset.dataset_of(workspace, run)
    except DataError:
        return None
