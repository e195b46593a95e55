"""The sentences of a course report, made from the runs' numbers and nothing else."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pandas as pd

from covid_core.audit.model import evidence
from covid_core.backbones import Backbone
from covid_core.data import summary
from covid_core.data.summary import SourceSummary
from covid_core.errors import DataError, RunDamaged
from covid_core.evaluation.assessment import beats_majority
from covid_core.evaluation.comparison import Candidate, Ranking, chosen_by_validation
from covid_core.evaluation.measures import MEASURES
from covid_core.formatting import count, decimals, duration, in_full, number, p_in_words, plural, points, share
from covid_core.inference import external_test
from covid_core.presets import STUDY_PRESETS
from covid_core.reports import external_text, run_text
from covid_core.reports.comparison_text import in_words
from covid_core.reports.evidence_text import EvidenceCheck
from covid_core.runs import candidates
from covid_core.runs.store import Evaluation, Run
from covid_core.specs import IMBALANCE_LABELS, OPTIMIZER_LABELS, SPLIT_LABELS, TrainingSpec

BALANCED = 1.05  # largest class against smallest: up to here a data set counts as balanced
LOSS = "sparse categorical cross-entropy"
FEW = 4  # runs whose names have room above and below a small figure
LACKING = {  # by what a section needs: what is missing, and which study makes it
    "imbalance": ("No two of these runs differ only in how they handle class imbalance", "imbalance"),
    "baseline": ("None of these runs is a baseline CNN", "course"),
    "transfer": ("There is no frozen pretrained network beside a baseline among these runs", "course"),
    "finetuning": ("No two of these runs differ only in which layers were trained", "finetuning"),
    "start": ("No two of these runs differ only in their starting weights", "start"),
    "backbones": ("These runs do not compare several pretrained networks", "backbones"),
    "augmentation": ("No two of these runs differ only in augmentation", "augmentation"),
}
DISCUSS = {
    "data": "How do balance and origin of the images limit what a model can learn from them?",
    "baseline": "What does the baseline learn, and when does it begin to overfit?",
    "transfer": "Does pretraining help here, and is fine-tuning worth its time?",
    "networks": "Which properties of the networks explain their order?",
    "comparison": "Which differences matter in practice, and which could be chance?",
    "augmentation": "Which of the changes are plausible for chest X-rays, and did they help?",
    "insights": "Would you use this model, where, and what has to be shown first?",
    "methods": "What would you change if you did the study again?",
}
TO_FIRST = "differences are to the first row, and Holm's correction is for these alone."
PROBES = "Bars: accuracy with its 95 % interval, in cross-validation. Dotted: the majority baseline."
PAIRED = "Exact McNemar test on the same test images, Holm's correction; interval by paired bootstrap."


def lacking(what: str) -> str:
    """Why a section has no run, and which preset makes one."""
    reason, preset = LACKING[what]
    return f"{reason}; the study preset “{STUDY_PRESETS[preset].label}” (study --preset {preset}) makes them."


def data_set(name: str, counts: Mapping[str, int], synthetic: bool) -> str:
    """How many images a data set has, and how balanced its classes are."""
    table = summary.class_table(counts)
    largest = table.loc[table["images"].idxmax()]
    kind = "synthetic chest X-rays" if synthetic else "chest X-rays"
    total = f"{name} holds {count(table['images'].sum())} {kind} of {plural(len(table), 'class', 'classes')}."
    lacking_classes = [label for label, images in counts.items() if not images]
    if lacking_classes:
        return f"{total} There is no image of {' and '.join(lacking_classes)}."
    ratio = summary.imbalance_ratio(counts)
    if ratio <= BALANCED:
        return (
            f"{total} The classes are balanced: always predicting one of them is right for {share(largest['share'])}."
        )
    return (
        f"{total} The largest class has {decimals(ratio, 1)} times as many images as the smallest. Always predicting "
        f"{largest['label']} is right for {share(largest['share'])}."
    )


def sources(origins: SourceSummary) -> list[str]:
    """What the images' sources say about their class."""
    if not origins.with_source:
        return ["The source of the images is unknown, so it is unknown whether it gives the class away."]
    return [
        f"{count(origins.with_source)} images come from {plural(origins.sources, 'known source')}. "
        f"{share(origins.one_class)} of them come from a source that holds one class only.",
        f"The source alone predicts {share(origins.guessed)} correctly (majority baseline {share(origins.majority)}).",
    ]


def loss(spec: TrainingSpec) -> str:
    """The loss function of a run."""
    return f"{LOSS}, weighted by class" if spec.imbalance == "class_weights" else LOSS


TRAINED = {
    "frozen": "frozen, only the head is trained",
    "fine_tune": "the last layers are fine-tuned",
    "full": "all layers are trained",
}


def trained(run: Run, candidate: Candidate) -> str:
    """How a run was trained, and what it reaches."""
    spec, test = run.spec, candidate.assessment.test
    network = spec.network
    done = run.result.get("epochs_done")
    epochs = (
        plural(spec.total_epochs, "epoch") if done is None else f"{count(done)} of {plural(spec.total_epochs, 'epoch')}"
    )
    subject = (
        f"{candidate.name} is trained" if candidate.name == network.label else f"{candidate.name} is a {network.label}"
    )
    return (
        f"{subject} ({TRAINED[spec.mode]}) on images of {spec.image_size} px. "
        f"Its loss is {loss(spec)}; {OPTIMIZER_LABELS[spec.optimizer]} minimises it with a learning rate of "
        f"{in_full(spec.learning_rate)} in batches of {spec.batch_size}, for {epochs}. Training took "
        f"{duration(candidates.training_seconds(run))}. It reaches {in_words(test)} of {plural(test.n, 'test image')}, "
        f"against {share(candidate.assessment.majority['test'].value)} of the majority baseline "
        f"({p_in_words(candidate.assessment.p_majority)})."
    )


def layers_caption(run: Run, layers: pd.DataFrame) -> str:
    """What the table of layers adds up to."""
    learned = run.result.get("parameters_trained")
    of_all = f"{count(layers['parameters'].sum())} parameters"
    words = of_all if learned is None else f"{of_all}, of which {count(learned)} were trained"
    return f"Layers of {run.name}, from the image to the scores: {words}."


WHILE_TRAINING = (
    "These figures are measured while training: with dropout, and on the half of the validation images that chooses "
    "the epoch, where there is one. The tables count all images after training, so they may differ."
)


def curve(history: pd.DataFrame, quantity: str, weights_from: int) -> str:
    """What a learning curve ends with, which epoch's weights the model has, and why tables may differ."""
    written = share if quantity == "accuracy" else number
    row = history.iloc[weights_from]
    return (
        f"The model has the weights of epoch {weights_from + 1} of {len(history)}: "
        f"{written(row[quantity])} on training images, {written(row[f'val_{quantity}'])} on validation images. "
        f"{WHILE_TRAINING}"
    )


def networks(used: Sequence[Backbone]) -> str:
    """Which pretrained networks there are, and what each is for."""
    described = " ".join(f"{one.label}: {one.good_at}" for one in used)
    return f"These runs use {plural(len(used), 'pretrained network')}. {described}"


def augmentation(spec: TrainingSpec) -> str:
    """What is changed in training images, and how often."""
    copies = (
        f"{plural(spec.views, 'augmented copy', 'augmented copies')} per image"
        if spec.views
        else "a new copy per epoch"
    )
    return f"Augmentation changes training images at random ({copies}): {spec.augmentation.in_words}."


def performance_caption(one: Candidate) -> str:
    """On which images a table of accuracies rests, and what is highlighted."""
    best = " Highlighted: the highest test accuracy." if beats_majority(one.assessment) else ""
    return f"Accuracy on {plural(one.assessment.test.n, 'test image')}, the best first, and the two references.{best}"


def compared(ranking: Ranking[Candidate]) -> str:
    """How many runs are compared on how many images, and how many pairs of them differ significantly."""
    order, images = ranking.order, plural(ranking.order[0].assessment.test.n, "test image")
    if len(order) < 2:
        return f"One run was tested, on {images}."
    different = sum(
        not ranking.pairs.of(i, j).could_be_chance for i in range(len(order)) for j in range(i + 1, len(order))
    )
    beating = sum(beats_majority(one.assessment) for one in order)
    beat = "All of them beat" if beating == len(order) else f"{_number(beating)} of them beat{'s' * (beating == 1)}"
    differ = f"{_number(different).lower()} of {plural(ranking.pairs.compared, 'pair')} differ{'s' * (different <= 1)}"
    return (
        f"{count(len(order))} runs were tested on the same {images}. {beat} the majority baseline, and {differ} "
        "significantly."
    )


def _number(value: int) -> str:
    return count(value) if value else "None"


def areas(of_runs: Mapping[str, float]) -> str:
    """The areas under some ROC curves: one by one, or the lowest and the highest of many."""
    if len(of_runs) <= FEW:
        return f"AUROC: {', '.join(f'{name} {share(area)}' for name, area in of_runs.items())}."
    return f"AUROC of {count(len(of_runs))} runs: {share(min(of_runs.values()))} to {share(max(of_runs.values()))}."


def calibrated(one: Candidate) -> str:
    """How far scores are from shares, of a run."""
    error = one.assessment.tested.overall["expected_calibration_error"]
    return f"Share of correct predictions by score, with 95 % intervals. Expected calibration error: {in_words(error)}."


def confusion(one: Candidate) -> str:
    """The largest confusion of a run."""
    counts = one.assessment.tested.confusion
    cells = [
        (int(counts.at[label, predicted]), label, predicted)
        for label in counts.index
        for predicted in counts.columns
        if label != predicted
    ]
    number, label, predicted = max(cells)
    right = sum(int(counts.at[name, name]) for name in counts.index)
    if not one.assessment.test.n:
        return "There is no test image."
    if not number:
        return f"All {count(right)} test images are predicted correctly."
    return (
        f"{count(right)} of {count(one.assessment.test.n)} test images are predicted correctly. Most frequent error: "
        f"{plural(number, 'image')} of {label} predicted as {predicted}."
    )


def other_images(run: Run, ranking: Ranking[Candidate]) -> str:
    """Which runs cannot be ranked with the others, and why."""
    number = plural(len(ranking.order), "further run")
    verb = "was" if len(ranking.order) == 1 else "were"
    images = run_text.images(candidates.image_choice(run))
    return f"{number} {verb} tested on other images and cannot be ranked with those above: {images}."


def choice(ranking: Ranking[Candidate], chosen: Candidate) -> str:
    """Which run to use, first of all."""
    test = chosen.assessment.test
    if not test.n:
        return f"No run can be recommended: {chosen.name} was tested on no image."
    if not beats_majority(chosen.assessment):
        return f"No run can be recommended: {chosen.name} does not beat the majority baseline ({in_words(test)})."
    by = "it has the highest accuracy on the validation images" if chosen_by_validation(ranking.order) else "it leads"
    return f"Use {chosen.name}: {by}. On {plural(test.n, 'test image')} it reaches {in_words(test)}."


def reasons(ranking: Ranking[Candidate], chosen: Candidate) -> Iterator[str]:
    """Why, from the numbers: against the others, the majority, class by class, and in time."""
    reached = chosen.assessment
    if not reached.test.n:
        return
    place = [one.id for one in ranking.order].index(chosen.id)
    for other, one in enumerate(ranking.order):
        if other in (0 if place else 1, len(ranking.order) - 1) and other != place:
            pair = ranking.pairs.of(place, other)
            verdict = "could be chance" if pair.could_be_chance else "is more than chance"
            yield (
                f"Against {one.name} the difference is {points(pair.difference, pair.low, pair.high)}; it {verdict} "
                f"({p_in_words(pair.p_holm)}, McNemar and Holm for {plural(ranking.pairs.compared, 'pair')})."
            )
    above = reached.test.value - reached.majority["test"].value
    yield f"It is {points(above)} above the majority baseline ({p_in_words(reached.p_majority)})."
    classes = {label: measures["sensitivity"] for label, measures in reached.tested.per_class.items()}
    defined = {label: one for label, one in classes.items() if one.is_defined}
    if defined:
        lowest = min(defined, key=lambda label: defined[label].value)
        images = plural(defined[lowest].n, "image")
        yield f"Its weakest class is {lowest}: {in_words(defined[lowest])} of its {images} are predicted correctly."
    yield confusion(chosen)
    auroc = reached.tested.overall["macro_auroc"]
    if auroc.is_defined:
        yield f"{MEASURES['macro_auroc'].title}: {in_words(auroc)}."
    if chosen.seconds >= 0:
        yield f"Training took {duration(chosen.seconds)}."


def limits(run: Run, chosen: Candidate, check: EvidenceCheck, views: int) -> Iterator[str]:
    """What the numbers do not show."""
    if run.dataset.synthetic:
        yield "The images are synthetic: nothing here holds for patients."
    method = run.spec.split.method
    if method == "stratified":
        yield "The split is random, so duplicates and images of one patient may stand on both sides of it."
    if method != "by_source":
        yield "Training and test images come from the same sources; on images from elsewhere accuracy is often lower."
    if check.verdict == evidence.FRAME:
        yield "The model reads the frame around the lungs, so its accuracy is not about disease alone."
    elif check.verdict != evidence.LUNGS:
        yield "It is not established that the model reads the lungs."
    if not run.evaluations():
        yield "No test on images from elsewhere was made."
    for one in run.evaluations():
        yield _outside(run, one)
    if views:
        yield f"Its test set was viewed {plural(views, 'time')}; each view makes a later choice less honest."
    classes = ", ".join(chosen.assessment.classes)
    yield f"The model knows {classes} and no other disease; every image gets one of them."


def _outside(run: Run, evaluation: Evaluation) -> str:
    """What a run keeps of its accuracy on images from elsewhere."""
    name = evaluation.record.dataset.name
    try:
        tested = external_test.report(run, evaluation)
    except (DataError, RunDamaged) as error:
        return f"The test on {name} cannot be read: {error}"
    outside, inside = tested.figures.overall["accuracy"], tested.inside.overall["accuracy"]
    return (
        f"On {plural(tested.figures.n, 'image')} of {name} the accuracy is {in_words(outside)} instead of "
        f"{in_words(inside)} on its own images. {external_text.origin(tested.origin)}"
    )


def benefit(chosen: Candidate, check: EvidenceCheck) -> Iterator[str]:
    """Who could gain from such a model, and what stands between."""
    if not beats_majority(chosen.assessment):
        yield "Nobody benefits from a model that does not beat the majority baseline."
        return
    yield "Triage: images with a high score could be reported first where radiologists are scarce."
    yield "Second opinion: a disagreement with the first reading could prompt another one."
    yield "Surveillance: shares of predicted classes over time could show a wave of infections early."
    first = "a test on images of the hospital that will use it"
    if check.verdict != evidence.LUNGS:
        first = f"the verdict “{evidence.LUNGS}” of an evidence check, and {first}"
    yield f"Before any of these: {first}. Until then it is for teaching."


def split_in_words(run: Run) -> str:
    """How the images of a comparison were split."""
    return f"{split_of(run)} Every run of one comparison has the same test images."


def split_of(run: Run) -> str:
    """How the images were split."""
    split, spec = run.split(), run.spec.split
    parts = split["part"].value_counts()
    sizes = ", ".join(f"{count(parts.get(part, 0))} for {part}" for part in ("train", "validation", "test"))
    subset = (
        f" A balanced subset of {count(spec.images_per_class)} per class was drawn first."
        if spec.images_per_class
        else ""
    )
    groups = " Images that belong together stay in one part." if spec.method != "stratified" else ""
    halved = " One half of the validation images chose the epoch, the other half calibrated." if run.is_halved else ""
    return (
        f"{SPLIT_LABELS[spec.method]} of {count(len(split))} images, stratified by class, seed {spec.seed}: {sizes}."
        f"{subset}{groups}{halved}"
    )


def training(runs: Sequence[Run]) -> Iterator[str]:
    """What happens to an image, and how every run was trained."""
    specs = [run.spec for run in runs]
    sizes = sorted({spec.image_size for spec in specs})
    yield (
        f"Images are decoded to 8-bit grey and resized to squares of {_either(map(str, sizes))} px. Each saved model "
        "scales them to the range that its network was trained on."
    )
    weighted = sum(spec.imbalance == "class_weights" for spec in specs)
    of_all = (
        loss(specs[0]) if weighted in (0, len(specs)) else f"{LOSS}, weighted by class in {plural(weighted, 'run')}"
    )
    optimizers = dict.fromkeys(OPTIMIZER_LABELS[spec.optimizer] for spec in specs)
    yield f"The loss is {of_all}; the optimizer is {_either(optimizers)}."
    best = sum(spec.keep == "best" for spec in specs)
    if best:
        yield f"The weights of the epoch with the lowest validation loss are used ({plural(best, 'run')})."
    if best < len(specs):
        yield f"The weights of the last epoch are used ({plural(len(specs) - best, 'run')})."
    stopping = Counter(f"{plural(spec.patience, 'epoch')}" for spec in specs if spec.patience)
    if stopping:
        yield f"Training stops early without a lower validation loss for {_runs_of(stopping)}."


def _either(words: Iterable[str]) -> str:
    """``Adam``, ``Adam or AdamW``, ``96, 128 or 224``."""
    *first, last = words
    return " or ".join(filter(None, [", ".join(first), last]))


def statistics(one: Candidate) -> Iterator[str]:
    """Which intervals and tests the report uses."""
    yield "Shares of images have 95 % Wilson intervals; other measures have bootstrap intervals of 2,000 draws."
    yield "Two runs are compared by the exact McNemar test on the same test images, with Holm's correction."
    yield "A table of differences to its first row corrects for the comparisons with that row alone."
    yield "A run beats the majority baseline if a one-sided exact binomial test at 5 % says so."
    if one.assessment.groups is not None:
        yield "Images of one cluster (duplicates, one patient) count for fewer in intervals and tests."
    yield "Validation images choose between runs and epochs; test images only report."


def environment(runs: Sequence[Run]) -> Iterator[str]:
    """On what, and with which versions, the runs were made."""
    devices = Counter(run_text.device(str(run.result.get("device", "unknown"))) for run in runs)
    yield f"Hardware: {_runs_of(devices)}."
    versions = Counter(
        ", ".join(f"{name} {number}" for name, number in sorted((run.result.get("versions") or {}).items()))
        for run in runs
    )
    for words, n in versions.items():
        yield f"Versions of {plural(n, 'run')}: {words or 'not recorded'}."
    seconds = [taken for run in runs if (taken := candidates.training_seconds(run)) >= 0]
    if seconds:
        yield f"Training time of all runs together: {duration(sum(seconds))}."
    origins = Counter(str((run.result.get("weights") or {}).get("origin", run.spec.weights)) for run in runs)
    yield f"Starting weights: {_runs_of(origins)}."
    strategies = Counter(IMBALANCE_LABELS[run.spec.imbalance] for run in runs)
    yield f"Handling of class imbalance: {_runs_of(strategies)}."


def _runs_of(times: Counter[str]) -> str:
    return ", ".join(f"{name} ({plural(n, 'run')})" for name, n in times.items())
