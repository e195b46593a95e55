"""Choices, as frozen models that go to JSON and back. The page builds one, the worker validates it again.

Every limit below protects the machine or the meaning of a number; ``parse`` turns a broken one into a sentence.
"""

import contextlib
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from covid_core.backbones import IMPORTED, Backbone, BackboneFile, backbone_named
from covid_core.errors import InvalidChoice
from covid_core.formatting import in_full

Mode = Literal["frozen", "fine_tune", "full"]
Optimizer = Literal["adam", "adamw", "sgd", "rmsprop", "adagrad", "adadelta"]
Imbalance = Literal["none", "class_weights", "undersample", "oversample"]
Pooling = Literal["mean", "mean_max"]
SplitMethod = Literal["grouped", "stratified", "by_source", "given"]
Labels = Literal["folder", "shifted"]
Region = Literal["whole", "centre", "lungs"]
Intensity = Literal["as_is", "per_image", "equalised"]

DEFAULT_BACKBONE = "mobilenet_v2"
OWN_WEIGHTS = "own"  # of an added backbone: those in its file
LARGEST_SIZE = 512  # px, of the networks that come with the app; an added one has sizes of its own
SPLIT_LABELS: dict[str, str] = {
    "grouped": "Group split",
    "stratified": "Random split",
    "by_source": "External split by source",
    "given": "As given by the authors",
}
MODE_LABELS: dict[str, str] = {
    "frozen": "Frozen: train the head only",
    "fine_tune": "Fine-tune the last layers",
    "full": "Train all layers",
}
OPTIMIZER_LABELS: dict[str, str] = {
    "adam": "Adam",
    "adamw": "AdamW",
    "sgd": "SGD",
    "rmsprop": "RMSprop",
    "adagrad": "Adagrad",
    "adadelta": "Adadelta",
}
IMBALANCE_LABELS: dict[str, str] = {
    "none": "None",
    "class_weights": "Class weights",
    "undersample": "Undersample",
    "oversample": "Oversample",
}
REGION_LABELS: dict[str, str] = {
    "whole": "Whole image",
    "centre": "Middle of the image",
    "lungs": "Box around the lungs",
}
INTENSITY_LABELS: dict[str, str] = {
    "as_is": "As it is",
    "per_image": "Standardised",
    "equalised": "Equalised",
}
LearningRate = Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)]
Epochs = Annotated[int, Field(ge=1, le=1000)]


class Spec(BaseModel):
    """Base of all choices: immutable, nothing unknown accepted."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LayoutSpec(Spec):
    """What a person knows of a tree of images that the names of its folders do not say, or say otherwise.

    ``classes`` are the folders that are classes, whatever else their names may mean; None takes what is proposed.
    ``parts`` maps folders' names to "train", "validation" or "test", in place of the usual names. ``patients`` is a
    regular expression that is searched in an image's path, and whose groups, or else the whole, are the patient; ""
    says that nothing names patients. ``anew`` says whether patients' numbers start anew in each class.

    ``tables`` are files that label the images, ``columns`` say which of their columns is what (path, label, patient,
    source, part, sex, age, view, reader). Of an image with several labels, "leave_out" takes none, "chosen" the one
    that is a chosen class.

    ``encoding`` is how names in an archive are written where they are not marked as UTF-8; "" takes the likeliest.
    """

    classes: tuple[str, ...] | None = None
    parts: dict[str, Literal["train", "validation", "test"]] | None = None
    patients: str | None = Field(default=None, max_length=500)
    anew: bool | None = None
    tables: tuple[str, ...] = ()
    columns: dict[str, str] = {}
    several: Literal["leave_out", "chosen"] = "leave_out"
    encoding: str = ""

    @field_validator("patients")
    @classmethod
    def _is_pattern(cls, patients: str | None) -> str | None:
        try:
            re.compile(patients or "")
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"{patients!r} is no regular expression: {error}") from error
        return patients


class MergeSpec(Spec):
    """Data sets that become one: their ids, and of each what its classes are called there, "" for those left out; a
    class without a name here stays what it is. Of shared images those of ``prefer`` count, and its classes; without it
    those of the first, and where classes differ none."""

    members: tuple[str, ...]
    classes: dict[str, dict[str, str]] = {}
    prefer: str = ""


class SplitSpec(Spec):
    """Who goes where. All parts are alike in their classes, as far as groups and sources allow.

    ``method`` "grouped" keeps duplicates, and images of one patient where that is known, in one part, "stratified"
    draws image by image, "by_source" keeps groups together as well and tests on the sources ``held_out``. "given" takes
    the parts that the authors of the images made; ``validation`` then counts only where they made no such part.
    ``images_per_class`` draws a balanced subset before the split, as the course study did. With ``folds`` above 1 the
    images are dealt into that many parts; ``fold`` (from 0) says which of them is tested on, in place of the share
    ``test``.
    """

    method: SplitMethod = "grouped"
    held_out: tuple[str, ...] = ()
    validation: float = Field(default=0.16, ge=0.02, le=0.6)
    test: float = Field(default=0.16, ge=0.02, le=0.6)
    folds: int = Field(default=1, ge=1, le=20)
    fold: int = Field(default=0, ge=0)
    images_per_class: int | None = Field(
        default=None, ge=3, validation_alias=AliasChoices("images_per_class", "films_per_class")
    )
    seed: int = Field(default=1987, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _fits_together(self) -> "SplitSpec":
        if self.fold >= self.folds:
            raise ValueError(f"fold must be below folds, which is {self.folds}")
        if self.method == "by_source" and not self.held_out:
            raise ValueError("a split by source needs at least one source to hold out")
        if self.held_out and self.method != "by_source":
            raise ValueError("held_out belongs to method by_source")
        if self.folds > 1 and self.method in ("by_source", "given"):
            raise ValueError("folds do not go together with held-out sources or a given split: choose one")
        if self.train < 0.099:
            raise ValueError("validation and test together must leave at least 10 % for training")
        return self

    @property
    def train(self) -> float:
        """Share of the training part."""
        return 1 - self.validation - self.tested

    @property
    def tested(self) -> float:
        """Share of the test part: one fold's where there are folds."""
        return 1 / self.folds if self.folds > 1 else self.test


def _amount(title: str, unit: Literal["°", "%"], largest: float, help: str) -> Any:
    """A field of AugmentationSpec: the largest change in either direction, in degrees or as a share."""
    extra: dict[str, Any] = {"unit": unit, "largest": largest}
    return Field(default=0, ge=0, le=largest, title=title, description=help, json_schema_extra=extra)


def _switch(title: str, help: str) -> Any:
    """A field of AugmentationSpec: a change of one half of the images."""
    return Field(default=False, title=title, description=help, json_schema_extra={"unit": "", "largest": 1})


class AugmentationSpec(Spec):
    """Random changes of a training image, 0 or False is off. A new field comes last, so that each of the others draws
    what it drew before; ``data.augmentation`` needs a step for it."""

    rotation: float = _amount("Rotation", "°", 45, "Turns around the middle of the image.")
    shift_x: float = _amount("Shift across", "%", 0.3, "Share of the image's width.")
    shift_y: float = _amount("Shift up and down", "%", 0.3, "Share of the image's height.")
    zoom: float = _amount("Zoom", "%", 0.3, "Larger or smaller around the middle of the image.")
    flip: bool = _switch(
        "Horizontal flip (p = 0.5)", "Mirrors each image with probability 0.5: the heart changes sides."
    )
    contrast: float = _amount("Contrast", "%", 0.5, "Greys spread around the image's mean.")
    brightness: float = _amount("Brightness", "%", 0.5, "Share of the grey range.")

    crop: float = _amount("Cut off each side", "%", 0.3, "Each side loses its own share; the rest is stretched.")
    gamma: float = _amount("Gamma", "%", 0.5, "Midtones become lighter or darker; black and white stay.")
    blur: float = _amount("Blur", "%", 0.02, "Gaussian; its standard deviation as a share of the image's width.")
    noise: float = _amount("Noise", "%", 0.2, "Gaussian; its standard deviation as a share of the grey range.")
    speckle: float = _amount("Speckle", "%", 0.5, "Noise that grows with the grey; a share of it.")
    poisson: float = _amount("Poisson noise", "%", 0.2, "Noise of few photons; a share of the grey range at white.")
    salt: float = _amount("Salt and pepper", "%", 0.1, "Share of pixels that become black or white.")
    jpeg: float = _amount("JPEG", "%", 0.9, "Loss of quality: 0 % is quality 100, 90 % is quality 10.")

    frames: bool = _switch(
        "Frame exchange (p = 0.5)",
        "Puts the lungs of an image into the frame of another training image.",
    )

    @property
    def is_off(self) -> bool:
        """Whether nothing would change."""
        return self == AugmentationSpec()

    @property
    def only_flips(self) -> bool:
        """Whether mirroring is all that may change: an image then has two views in all."""
        return self == AugmentationSpec(flip=True)

    @property
    def in_words(self) -> str:
        """``rotation 15°, shift across 10 %``; empty where nothing would change."""
        return ", ".join(
            AUGMENTATIONS[name].in_words(amount) for name, amount in self.model_dump(exclude_defaults=True).items()
        )


@dataclass(frozen=True)
class Augmentation:
    """What a field of AugmentationSpec is called and measured in; ``unit`` is empty for a switch."""

    title: str
    help: str
    unit: str
    largest: float

    @property
    def scale(self) -> int:
        """How much of the unit 1 of the spec is."""
        return 100 if self.unit == "%" else 1

    @property
    def step(self) -> float:
        """By how much of the unit the amount is usually changed."""
        return 1.0 if self.scale * self.largest >= 10 else 0.1

    def in_words(self, amount: float) -> str:
        """``zoom 10 %``; only the name of a switch."""
        space = " " if self.unit == "%" else ""
        name = self.title if self.title.startswith(("JPEG", "Poisson")) else self.title.lower()
        return name + (f" {self.scale * amount:g}{space}{self.unit}" if self.unit else "")


AUGMENTATIONS = {  # a field that neither _amount nor _switch made is a TypeError
    name: Augmentation(str(field.title), str(field.description), **cast(dict[str, Any], field.json_schema_extra))
    for name, field in AugmentationSpec.model_fields.items()
}


class InputSpec(Spec):
    """What a network is shown of an image; it is part of the saved model, in Keras's own layers.

    ``region`` "centre" cuts the middle out, ``share`` of width and height. "lungs" is the box around the outlined
    lungs, which is cut out before the model (``inference.region``). ``intensity`` "per_image" gives every image
    one mean and one standard deviation, "equalised" spreads its greys evenly (see ``nets.model``); both count inside
    the region alone.
    """

    region: Region = "whole"
    share: float = Field(default=0.6, ge=0.3, lt=1)
    intensity: Intensity = "as_is"

    @property
    def in_words(self) -> str:
        """``middle 60 % of the image, greys equalised``; empty for the whole image as it is."""
        words = {f"middle {100 * self.share:g} % of the image": self.region == "centre"}
        words["box around the lungs"] = self.region == "lungs"
        words[f"greys {INTENSITY_LABELS[self.intensity].lower()}"] = self.intensity != "as_is"
        return ", ".join(name for name, holds in words.items() if holds)


class HeadSpec(Spec):
    """What is trained on top of the pooled maps: dense relu layers of ``units``, dropout after each, then softmax.

    ``standardize`` trains on features of mean 0 that vary alike (none is scaled up; only with a frozen backbone); the
    scale is folded into the first layer afterwards, so the saved model has no further layer.
    """

    units: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(default=(256,), max_length=4)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    pooling: Pooling = "mean"
    standardize: bool = True


class FineTuning(Spec):
    """The second stage: the last ``layers`` layers of the backbone learn as well, at their own pace."""

    layers: int = Field(default=10, ge=1, le=1000)
    learning_rate: LearningRate = 1e-5
    epochs: Epochs = 5


class TrainingSpec(Spec):
    """Everything that decides a run. Equal specs on equal data give equal runs, up to the order of float sums.

    ``keep`` says which epoch's weights count: that with the lowest validation loss, or the last.
    ``backbone_file`` describes an added backbone, which is found by its hash; ``backbone`` is then its name.
    ``views`` is how many augmented copies of each image the head sees in turn (default: one per epoch, as in an
    ordinary fit); with ``originals`` the images as they are take their turn as well. ``test_time_flip`` answers with
    the mean logits of an image and its mirror image.

    ``labels`` are those of the images' folders, or "shifted": a mistake made on purpose, that of the course study (see
    ``data.label_shift``). It stands here and not in the split because it decides what is learned, not who goes where;
    the split table holds both labels, and the split is stratified by those that are learned, as the course's was.
    """

    dataset: str
    classes: tuple[str, ...] = Field(min_length=2, max_length=20)
    name: str = Field(default="", max_length=80)
    note: str = Field(default="", max_length=2000)
    split: SplitSpec = SplitSpec()
    labels: Labels = "folder"
    backbone_file: BackboneFile | None = None
    backbone: str = DEFAULT_BACKBONE
    weights: str = "imagenet"
    mode: Mode = "frozen"
    taps: Literal["default", "last"] = "default"
    input: InputSpec = InputSpec()
    head: HeadSpec = HeadSpec()
    fine_tuning: FineTuning | None = None
    image_size: int = Field(default=224, ge=32)
    optimizer: Optimizer = "adamw"
    learning_rate: LearningRate = 1e-3
    batch_size: int = Field(default=32, ge=1, le=1024)
    epochs: Epochs = 60
    patience: int = Field(default=10, ge=0, le=1000)
    keep: Literal["best", "last"] = "best"
    imbalance: Imbalance = "class_weights"
    augmentation: AugmentationSpec = AugmentationSpec()
    views: int | None = Field(default=None, ge=1, le=1000)
    originals: bool = False
    test_time_flip: bool = False
    seed: int = Field(default=0, ge=0, lt=2**32)

    @field_validator("backbone")
    @classmethod
    def _backbone_exists(cls, value: str, info: ValidationInfo) -> str:
        file = info.data.get("backbone_file")
        return file.name if file else backbone_named(value).name

    @field_validator("image_size")
    @classmethod
    def _size_is_usual(cls, value: int, info: ValidationInfo) -> int:
        if value > LARGEST_SIZE and not info.data.get("backbone_file"):
            raise ValueError(f"must be at most {LARGEST_SIZE}")
        return value

    @field_validator("weights")
    @classmethod
    def _weights_are_named(cls, value: str) -> str:
        if value in ("imagenet", "random", OWN_WEIGHTS) or value.startswith("file:"):
            return value
        raise ValueError("weights must be imagenet, random or file:PATH")

    @field_validator("classes")
    @classmethod
    def _classes_differ(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("classes must not repeat")
        return value

    @model_validator(mode="before")
    @classmethod
    def _baseline_learns_everything(cls, data: Any) -> Any:
        """The baseline CNN has no pretrained part: one mode and one kind of weights fit it, however it is spelt. An
        added backbone has the weights in its file, and one output."""
        if isinstance(data, dict) and data.get("backbone_file"):
            file = data["backbone_file"]
            name = file.get("name") if isinstance(file, dict) else getattr(file, "name", None)
            if data.get("backbone", name) == name:
                return {**data, "backbone": name, "weights": OWN_WEIGHTS, "taps": "last"}
            data = {key: value for key, value in data.items() if key != "backbone_file"}  # another one was chosen since
        if isinstance(data, dict) and data.get("weights") == OWN_WEIGHTS:
            data = {key: value for key, value in data.items() if key != "weights"}
        with contextlib.suppress(InvalidChoice):  # the field's own check names the backbones that there are
            if isinstance(data, dict) and not backbone_named(str(data.get("backbone", DEFAULT_BACKBONE))).pretrained:
                data = {**data, "mode": "full", "weights": "random", "taps": "last"}
        return data

    @model_validator(mode="after")
    def _fits_together(self) -> "TrainingSpec":
        if (self.mode == "fine_tune") != (self.fine_tuning is not None):
            raise ValueError("fine_tuning belongs to mode fine_tune, and only to it")
        if self.mode != "frozen" and self.taps != "last":
            raise ValueError("taps other than the last layer need mode frozen")
        if self.views is not None and (self.mode != "frozen" or self.augmentation.is_off):
            raise ValueError("views belongs to augmentation with a frozen backbone")
        if self.originals and (self.mode != "frozen" or self.augmentation.is_off):
            raise ValueError("originals belongs to augmentation with a frozen backbone")
        if self.test_time_flip and self.mode != "frozen":
            raise ValueError("test_time_flip needs mode frozen")
        if self.labels == "shifted" and self.split.images_per_class is None:
            raise ValueError(
                "shifted labels need split.images_per_class, as the course had 1344: a list that is not cut is right"
            )
        if self.backbone_file:
            self._fits_file(self.backbone_file)
            return self
        minimum = self.network.minimum_size
        if self.image_size < minimum:
            raise ValueError(f"{self.backbone} needs an image_size of at least {minimum}")
        return self

    def _fits_file(self, file: BackboneFile) -> None:
        if self.mode != "frozen":
            raise ValueError(f"{file.name} is an added backbone, which can only be frozen: mode must be frozen")
        if self.image_size not in file.sizes:
            sizes = " or ".join(map(str, file.sizes))
            raise ValueError(f"{file.name} takes images of {sizes} px: image_size must be {sizes}")

    @property
    def network(self) -> Backbone:
        """What the app knows of the backbone, built in or added."""
        return self.backbone_file.backbone if self.backbone_file else backbone_named(self.backbone)

    def without_folders(self) -> "TrainingSpec":
        """The same, with the name alone of a file of starting weights: for who is not at this computer."""
        scheme, _, path = self.weights.partition(":")
        name = re.split(r"[/\\]", path)[-1]
        return self.model_copy(update={"weights": f"{scheme}:{name}"}) if path else self

    @property
    def is_imported(self) -> bool:
        """Whether the run holds predictions from a file: the settings of their training are unknown."""
        return self.backbone == IMPORTED.name

    @property
    def has_maps(self) -> bool:
        """Whether the backbone gives maps; an added one may give a vector, which has no Grad-CAM."""
        measured = self.backbone_file.measured if self.backbone_file else None
        return not (measured and measured.is_vector)

    @property
    def pixels(self) -> int:
        """Side of the squares that the model takes: it cuts its middle of ``image_size`` pixels out of them."""
        return round(self.image_size / self.shown)

    @property
    def shown(self) -> float:
        """Share of width and height of those squares that the network is shown, in the middle."""
        return self.input.share if self.input.region == "centre" else 1

    @property
    def whole(self) -> int:
        """Side of the squares that a predictor takes: all that the image shows, before any cut."""
        return 2 * self.image_size if self.input.region == "lungs" else self.pixels

    @property
    def total_epochs(self) -> int:
        """Epochs of all stages together, if none stops early."""
        return self.epochs + (self.fine_tuning.epochs if self.fine_tuning else 0)

    @property
    def strategy(self) -> str:
        """What is special about the run, in words, for the hyper-parameter table."""
        if self.is_imported:
            return "trained elsewhere"
        if self.fine_tuning:
            first = f"last {self.fine_tuning.layers} layers fine-tuned at {in_full(self.fine_tuning.learning_rate)}"
        elif self.mode == "full":
            first = "trained from scratch" if self.backbone == "baseline_cnn" else "all layers trained"
        else:
            first = "frozen backbone" if self.taps == "last" else "frozen backbone, middle layers"
        further = {
            self.input.in_words: bool(self.input.in_words),
            "random start": self.weights == "random" and self.backbone != "baseline_cnn",
            "weights from a file": self.weights.startswith("file:"),
            "augmentation": not self.augmentation.is_off,
            "last epoch kept": self.keep == "last",
            "mirrored copy at test": self.test_time_flip,
            IMBALANCE_LABELS[self.imbalance].lower(): self.imbalance != "none",
            "labels of other images": self.labels == "shifted",
        }
        return ", ".join([first, *(words for words, holds in further.items() if holds)])


class StudySpec(Spec):
    """Several runs that belong together and are compared together."""

    name: str = Field(max_length=80)
    preset: str = ""
    runs: tuple[TrainingSpec, ...] = Field(min_length=1, max_length=100)


SpecType = TypeVar("SpecType", bound=BaseModel)

REASONS = {  # of rules of one field, by pydantic's name
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be below {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "literal_error": "must be one of {expected}",
}


def parse(kind: type[SpecType], data: Any) -> SpecType:
    """Validate ``data`` (a dict or JSON text) as a spec. Raises InvalidChoice with the first broken rule."""
    try:
        return kind.model_validate_json(data) if isinstance(data, str | bytes) else kind.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        rule = REASONS.get(first["type"])
        reason = rule.format(**first.get("ctx", {})) if rule else first["msg"].removeprefix("Value error, ")
        whole = isinstance(first["input"], dict)  # a rule about several fields: all of them would be no help
        received = f", received: {str(first['input'])[:80]!r}" if field and not whole else ""
        raise InvalidChoice(f"{field + ': ' if field else ''}{reason}{received}.") from error
