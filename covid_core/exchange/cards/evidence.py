"""What the files of a run and of its data set show, each with where it stands: nothing is ticked by anything else.

To add evidence, add a function with ``@of_run`` or ``@of_data``; its name is what ``checklists.toml`` calls it.
"""

from collections.abc import Callable
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
        return one.reader(self) if there else None


@dataclass(frozen=True)
class Evidence:
    """A row of EVIDENCE: whether it is of a run or of a data set, and what reads it."""

    is_of_run: bool
    reader: Callable[[Subject], Shown | None]


EVIDENCE: dict[str, Evidence] = {}


def of_run(reader: Callable[[Subject], Shown | None]) -> Callable[[Subject], Shown | None]:
    """Enter the decorated function as evidence from a run's files."""
    EVIDENCE[reader.__name__] = Evidence(True, reader)
    return reader


def of_data(reader: Callable[[Subject], Shown | None]) -> Callable[[Subject], Shown | None]:
    """Enter the decorated function as evidence from a data set's files."""
    EVIDENCE[reader.__name__] = Evidence(False, reader)
    return reader


def _trained(subject: Subject) -> bool:
    return subject.the_run.has_network


# The run: what it is, and how it was trained


@of_run
def use(subject: Subject) -> Shown | None:
    return Shown("Research and teaching. Not a medical device.", "README.md of the app")


@of_run
def note(subject: Subject) -> Shown | None:
    text = subject.the_run.spec.note
    return Shown(text, "spec.json: spec.note") if text else None


@of_run
def network(subject: Subject) -> Shown | None:
    spec = subject.the_run.spec
    return (
        Shown(f"{spec.network.label}: {spec.strategy}.", "spec.json: spec.backbone, mode")
        if _trained(subject)
        else None
    )


@of_run
def parameters(subject: Subject) -> Shown | None:
    result = subject.the_run.result
    if not result.get("parameters"):
        return None
    trained = f"{count(result['parameters_trained'])} of {count(result['parameters'])} parameters were trained."
    return Shown(trained, "result.json: parameters, parameters_trained; the layers stand in model.keras")


@of_run
def weights(subject: Subject) -> Shown | None:
    origin = subject.the_run.result.get("weights") or {}
    if origin.get("origin") not in ("imagenet", "random", "file"):
        return None
    of_file = f": {origin['file']}, SHA-256 {origin['sha256'][:12]}" if "sha256" in origin else ""
    return Shown(f"Starting weights: {origin['origin']}{of_file}.", "result.json: weights")


@of_run
def seeds(subject: Subject) -> Shown | None:
    spec = subject.the_run.spec
    words = f"Seed {spec.seed}; seed of the split {spec.split.seed}."
    return Shown(words, "spec.json: spec.seed, split.seed") if _trained(subject) else None


@of_run
def versions(subject: Subject) -> Shown | None:
    installed = subject.the_run.result.get("versions")
    if not installed:
        return None
    return Shown(", ".join(f"{name} {number}" for name, number in sorted(installed.items())), "result.json: versions")


@of_run
def preprocessing(subject: Subject) -> Shown | None:
    spec = subject.the_run.spec
    if not _trained(subject):
        return None
    shown = spec.input.in_words or "whole image"
    words = f"8-bit grey, squashed to {spec.pixels} x {spec.pixels} px; shown to the network: {shown}."
    return Shown(words, "spec.json: spec.image_size, input; the scaling stands in model.keras")


@of_run
def training(subject: Subject) -> Shown | None:
    spec, result = subject.the_run.spec, subject.the_run.result
    if not _trained(subject) or "epochs_done" not in result:
        return None
    words = (
        f"{OPTIMIZER_LABELS[spec.optimizer]}, learning rate {in_full(spec.learning_rate)}, batches of "
        f"{spec.batch_size}, {count(result['epochs_done'])} of at most {plural(spec.total_epochs, 'epoch')}; loss: "
        f"{course_text.loss(spec)}; dropout {spec.head.dropout:g}."
    )
    return Shown(words, "spec.json: spec; result.json: epochs_done; each epoch stands in history.csv")


@of_run
def augmentation(subject: Subject) -> Shown | None:
    words = subject.the_run.spec.augmentation.in_words or "none"
    return Shown(f"Augmentation: {words}.", "spec.json: spec.augmentation") if _trained(subject) else None


@of_run
def imbalance(subject: Subject) -> Shown | None:
    way = IMBALANCE_LABELS[subject.the_run.spec.imbalance]
    return Shown(f"Class imbalance: {way.lower()}.", "spec.json: spec.imbalance") if _trained(subject) else None


@of_run
def selection(subject: Subject) -> Shown | None:
    run = subject.the_run
    if not run.result.get("best_epoch"):
        return None
    rule = "with the lowest validation loss" if run.spec.keep == "best" else "last"
    words = (
        f"Weights of epoch {run.result['best_epoch']}, the one {rule}." if run.spec.keep == "best" else "Last epoch."
    )
    return Shown(words, "spec.json: spec.keep; result.json: best_epoch")


@of_run
def output(subject: Subject) -> Shown | None:
    words = f"A score for each of {', '.join(subject.the_run.classes)}; the highest is the prediction."
    return Shown(words, "spec.json: spec.classes")


@of_run
def model_file(subject: Subject) -> Shown | None:
    digest = subject.the_run.result.get("model_sha256")
    if not digest:
        return None
    return Shown(
        f"A Keras file that takes grey images, SHA-256 {digest[:12]}.", "model.keras; result.json: model_sha256"
    )


@of_run
def settings(subject: Subject) -> Shown | None:
    if not _trained(subject):
        return None
    return Shown("Every setting of the training is kept as JSON.", "spec.json: spec")


@of_run
def without_outline(subject: Subject) -> Shown | None:
    words = run_text.region(subject.the_run)
    return Shown(words, "result.json: without_outline") if words else None


@of_run
def gate(subject: Subject) -> Shown | None:
    if not subject.the_run.has_reference:
        return None
    words = (
        "Files that cannot be read exactly, and images unlike frontal chest X-rays or its training images, are refused."
    )
    return Shown(words, "reference.npz; result.json: reference_sha256")


# The run: parts


@of_run
def partition(subject: Subject) -> Shown | None:
    unknown = "" if _trained(subject) else " Whether the model was trained on this split is unknown."
    words = f"{course_text.split_of(subject.the_run)}{unknown}"
    return Shown(words, "spec.json: spec.split; split.parquet: part", _trained(subject))


@of_run
def subset(subject: Subject) -> Shown | None:
    per_class = subject.the_run.spec.split.images_per_class
    if not _trained(subject):
        return None
    words = f"A balanced subset of {count(per_class)} per class was drawn." if per_class else "No subset was drawn."
    return Shown(words, "spec.json: spec.split.images_per_class")


@of_run
def sizes(subject: Subject) -> Shown | None:
    table = pd.crosstab(subject.the_run.split()["part"], subject.the_run.split()["label"])
    of_parts = [
        f"{part} {count(table.loc[part].sum())} "
        f"({', '.join(f'{label} {count(n)}' for label, n in table.loc[part].items())})"
        for part in PARTS
        if part in table.index
    ]
    return Shown(f"Images: {'; '.join(of_parts)}.", "split.parquet: part, label")


@of_run
def disjoint(subject: Subject) -> Shown | None:
    split = subject.the_run.split()
    crossing = int((split.groupby("group")["part"].nunique() > 1).sum())
    if crossing or subject.the_run.spec.split.method == "stratified":
        return Shown(
            "By image: duplicates and images of one patient may lie in several parts.", "spec.json: spec.split.method"
        )
    if subject.dataset is None:
        return None
    patients = subject.images[["image_id", "patient_id"]].merge(split[["image_id", "part"]])
    with_fact = patients[patients["patient_id"] != ""]
    crossing = int((with_fact.groupby("patient_id")["part"].nunique() > 1).sum())
    if crossing:
        return Shown(
            f"{plural(crossing, 'patient')} in several parts.", "split.parquet: part; manifest.parquet: patient_id"
        )
    whole = len(with_fact) == len(split) and _trained(subject)
    without = len(split) - len(with_fact)
    unknown = f" Of {plural(without, 'image')} the patient is unknown." if without else ""
    words = f"Near-duplicates{' and patients' if len(with_fact) else ''} lie in one part each.{unknown}"
    return Shown(words, "split.parquet: group, part; manifest.parquet: patient_id", whole)


# The run: figures


def _has_test(subject: Subject) -> bool:
    return subject.candidate.assessment.test.is_defined


@of_run
def measures(subject: Subject) -> Shown | None:
    if not _has_test(subject):
        return None
    test = subject.candidate.assessment.test
    further = ", ".join(row.title for key, row in MEASURES.items() if key != "accuracy")
    words = f"Test accuracy {in_words(test)} of {plural(test.n, 'image')}; under Figures also {further}."
    return Shown(words, "predictions.parquet: score of each class, part, label")


@of_run
def per_class(subject: Subject) -> Shown | None:
    if not _has_test(subject):
        return None
    return Shown(
        "Sensitivity, specificity, PPV, NPV and AUROC of each class: see Figures.", "predictions.parquet: scores"
    )


@of_run
def intervals(subject: Subject) -> Shown | None:
    if not _has_test(subject):
        return None
    return Shown(
        " ".join([*course_text.statistics(subject.candidate)][:1]), "predictions.parquet; split.parquet: group"
    )


@of_run
def test_of_baseline(subject: Subject) -> Shown | None:
    figures = subject.candidate.assessment
    if not _has_test(subject):
        return None
    baseline = f"{share(figures.majority['test'].value)} (always {figures.majority_label})"
    return Shown(
        f"Against the majority baseline, {baseline}: {p_in_words(figures.p_majority)}.", "predictions.parquet: scores"
    )


@of_run
def all_parts(subject: Subject) -> Shown | None:
    accuracy = subject.candidate.assessment.accuracy
    words = "; ".join(f"{part} {in_words(one)}" for part, one in accuracy.items() if one.is_defined)
    return Shown(f"Accuracy: {words}.", "predictions.parquet: part", all(one.is_defined for one in accuracy.values()))


@of_run
def confusion(subject: Subject) -> Shown | None:
    if not _has_test(subject):
        return None
    wrong = int((~subject.candidate.assessment.right).sum())
    return Shown(
        f"{plural(wrong, 'test image')} predicted wrongly; confusion matrix: see Figures.",
        "predictions.parquet: scores",
    )


@of_run
def calibration(subject: Subject) -> Shown | None:
    calibrated = temperature_scaling.of(subject.the_run)
    if not calibrated.is_defined:
        return None
    return Shown(run_text.scale(subject.the_run, calibrated), "result.json: calibration")


@of_run
def sets(subject: Subject) -> Shown | None:
    if not temperature_scaling.of(subject.the_run).is_defined or not _has_test(subject):
        return None
    return Shown(run_text.prediction_sets(prediction_sets.report(subject.the_run)), "predictions.parquet: scores")


@of_run
def subgroups(subject: Subject) -> Shown | None:
    if subject.dataset is None or not _has_test(subject):
        return None
    measured = candidates.subgroups(subject.the_run, subject.the_dataset.images)
    if not measured.rows:
        return None
    with_fact = {row.fact for row in measured.rows}
    words = " ".join(run_text.subgroups(measured))
    where = "predictions.parquet; manifest.parquet: sex, age, view, source, device"
    return Shown(words, where, is_whole=bool(with_fact & set(FACTS)))


@of_run
def clusters(subject: Subject) -> Shown | None:
    if subject.dataset is None or not _has_test(subject):
        return None
    measured = candidates.subgroups(subject.the_run, subject.the_dataset.images)
    of_source = [row for row in measured.rows if row.fact == "source"]
    return Shown(" ".join(run_text.subgroups(measured)), "manifest.parquet: source") if len(of_source) > 1 else None


@of_run
def evidence(subject: Subject) -> Shown | None:
    audit = model_audit.stored(subject.the_run)
    return Shown(evidence_text.of(subject.the_run).in_full, "audits/model.json: verdict, effects") if audit else None


@of_run
def heatmaps(subject: Subject) -> Shown | None:
    made = heatmap_sanity.stored(subject.the_run)
    return Shown(evidence_text.map_check(made), "audits/heat-map.json") if made else None


@of_run
def robustness_curve(subject: Subject) -> Shown | None:
    curve = robustness.stored(subject.the_run)
    return Shown(" ".join(run_text.robustness(curve)), "audits/robustness.json: changes") if curve else None


EVIDENCE["robustness"] = EVIDENCE.pop(robustness_curve.__name__)


@of_run
def external(subject: Subject) -> Shown | None:
    run, words = subject.the_run, []
    for evaluation in run.evaluations():
        report = external_test.report(run, evaluation)
        if report.origin.kind == external_test.EXTERNAL:
            words.append(f"{external_text.origin(report.origin)} {external_text.conclusion(run, evaluation, report)}")
    return Shown(" ".join(words), "evaluations: the newest tests of this run") if words else None


@of_run
def marks(subject: Subject) -> Shown | None:
    words = comparison_text.marks(subject.candidate)
    return Shown(f"{'; '.join(words)}.", "result.json, predictions.parquet and split.parquet") if words else None


@of_run
def licence(subject: Subject) -> Shown | None:
    return _stated_licence(subject.the_run)


def _stated_licence(run: Run) -> Shown | None:
    """As somebody stated it here with the run, or else as the sender of its bundle did."""
    if run.annotation.licence:
        return Shown(f"Licence of the data: {run.licence}, as stated here with {run.name}.", "annotation.json: licence")
    if not run.bundle or not run.licence:
        return None
    sender = f"the sender of its bundle of {day(run.bundle.created)}"
    return Shown(f"Licence of the data: {run.licence}, as stated by {sender}.", "spec.json: bundle.licence")


@of_run
def stored_outputs(subject: Subject) -> Shown | None:
    rows = len(subject.the_run.predictions())
    views = len(subject.the_run.openings())
    words = f"The scores of {plural(rows, 'image')} are kept; {plural(views, 'view')} of the test images noted."
    return Shown(words, "predictions.parquet; openings.csv")


# The data set


@of_data
def origin(subject: Subject) -> Shown | None:
    info = subject.the_dataset.info
    return Shown(
        f"{subject.the_dataset.name}, imported from {KINDS.get(info['kind'], info['kind'])}.", "import.json: kind"
    )


@of_data
def data_licence(subject: Subject) -> Shown | None:
    """As stated with any run on the data set."""
    runs, _ = store.list_runs(subject.workspace)
    of_data = [run for run in runs if run.dataset.id == subject.the_dataset.id and run.licence]
    if subject.run or not (stated := [shown for run in of_data if (shown := _stated_licence(run))]):
        return None
    return Shown(" ".join(dict.fromkeys(one.text for one in stated)), f"{stated[0].where}, of runs on it")


@of_data
def sources(subject: Subject) -> Shown | None:
    with_fact = int((subject.images["source"] != "").sum())
    if not with_fact:
        return None
    table = summary.source_table(subject.images, subject.the_dataset.classes)
    words = f"{plural(len(table), 'source')}; known of {share(with_fact / len(subject.images))} of the images."
    return Shown(words, "manifest.parquet: source", with_fact == len(subject.images))


@of_data
def patients(subject: Subject) -> Shown | None:
    with_fact = subject.images.loc[subject.images["patient_id"] != "", "patient_id"]
    if with_fact.empty:
        return None
    images = f"{plural(len(with_fact), 'image')} of {count(len(subject.images))}"
    words = f"{plural(with_fact.nunique(), 'patient')} in {images}."
    return Shown(words, "manifest.parquet: patient_id", len(with_fact) == len(subject.images))


@of_data
def included(subject: Subject) -> Shown | None:
    return Shown(f"{plural(len(subject.images), 'image')} used.", "manifest.parquet and decisions.csv")


@of_data
def left_out(subject: Subject) -> Shown | None:
    reasons = subject.the_dataset.left_out["reason"].value_counts()
    words = "; ".join(f"{reason.rstrip('.')}: {count(n)}" for reason, n in reasons.head(6).items())
    return Shown(f"Files left out by import: {words or 'none'}.", "import.json: left_out")


@of_data
def decided(subject: Subject) -> Shown | None:
    made = decisions.in_force(subject.the_dataset.decisions)
    actions = pd.Series([one.action for one in made]).value_counts()
    words = ", ".join(f"{action} {count(n)}" for action, n in actions.items()) or "none"
    return Shown(f"Decisions of people in force: {words}.", "decisions.csv: action")


EVIDENCE["decisions"] = EVIDENCE.pop(decided.__name__)


@of_data
def relabelled(subject: Subject) -> Shown | None:
    made = [one for one in decisions.in_force(subject.the_dataset.decisions) if one.action == decisions.RELABEL]
    authors = len({one.author for one in made})
    if not made:
        return None
    return Shown(
        f"{plural(len(made), 'label')} changed by {plural(authors, 'person', 'people')}.",
        "decisions.csv: relabel, author",
    )


@of_data
def labels(subject: Subject) -> Shown | None:
    words = f"Classes as in the folders or tables of the import: {', '.join(subject.the_dataset.classes)}."
    return Shown(words, "manifest.parquet: label")


@of_data
def demography(subject: Subject) -> Shown | None:
    with_fact = {fact: share((subject.images[fact] != "").mean()) for fact in FACTS}
    if not any((subject.images[fact] != "").any() for fact in FACTS):
        return None
    words = ", ".join(f"{fact} of {part}" for fact, part in with_fact.items())
    whole = all((subject.images[fact] != "").all() for fact in FACTS)
    return Shown(f"Known: {words} of the images; by part: see Data.", "manifest.parquet: sex, age", whole)


@of_data
def missing_facts(subject: Subject) -> Shown | None:
    of_facts = {summary.RECORDED[name]: (subject.images[name] == "").mean() for name in summary.RECORDED}
    words = ", ".join(f"{name.lower()} {share(part)}" for name, part in of_facts.items())
    return Shown(f"Missing of the images: {words}.", "manifest.parquet")


@of_data
def acquisition(subject: Subject) -> Shown | None:
    with_fact = {name: (subject.images[name] != "").mean() for name in ("view", "device", "spacing")}
    if not any(with_fact.values()):
        return None
    words = ", ".join(f"{name} of {share(part)}" for name, part in with_fact.items())
    return Shown(
        f"Known: {words} of the images.", "manifest.parquet: view, device, spacing", min(with_fact.values()) == 1
    )


@of_data
def formats(subject: Subject) -> Shown | None:
    table = summary.format_table(subject.images, "width", "height").groupby(["width", "height"])["images"].sum()
    largest = table.sort_values(ascending=False)
    (width, height), images = largest.index[0], largest.iloc[0]
    words = f"{plural(len(table), 'size')}; the most frequent is {width} x {height} px ({plural(images, 'image')})."
    return Shown(words, "manifest.parquet: width, height")


@of_data
def audit(subject: Subject) -> Shown | None:
    if subject.audit is None:
        return None
    texts = [*audit_text.findings(subject.audit.quality), audit_text.duplicates(subject.audit.pairs)]
    return Shown("; ".join(text.rstrip(".") for text in texts) + ".", "the kept audit of this version")


def dataset_of(workspace: Workspace, run: Run) -> Dataset | None:
    """The run's data set as it was; None where that is not here."""
    try:
        return pinned_dataset.dataset_of(workspace, run)
    except DataError:
        return None
