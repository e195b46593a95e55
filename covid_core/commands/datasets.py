"""Verbs about data sets: make, list, describe, audit, map and delete them, and decide about their images."""

import argparse
import getpass
from pathlib import Path
from typing import Any

from covid_core import presets
from covid_core.audit import dataset_audit, tables
from covid_core.audit.duplicates.duplicate_pairs import with_labels
from covid_core.commands.verbs import NAME, SEED, option, progress, verb
from covid_core.data import dataset as data
from covid_core.data import decisions, duplicates
from covid_core.data.decisions import DISMISS, GROUP, LEAVE_OUT, RELABEL, Decision
from covid_core.data.imports import archives
from covid_core.errors import InvalidChoice
from covid_core.formatting import count, plural
from covid_core.jobs import kinds
from covid_core.jobs.kinds import ImportRequest, KaggleRequest, MergeRequest, PhantomRequest, Request
from covid_core.reports import audit_text, layout_text
from covid_core.reports.encode import encode
from covid_core.specs import LayoutSpec, MergeSpec, parse
from covid_core.synthetic.phantom import PLANTS
from covid_core.workspace import Workspace

CLASSES = option("--classes", nargs="+", help="class folders to keep; all but Lung_Opacity by default")
PLANT = option("--plant", action="append", metavar="NAME", choices=PLANTS, help=f"{', '.join(PLANTS)}; may be repeated")
AGAINST = option("--against", metavar="OTHER", help="another data set: shared images, and classes that disagree")
ACTIONS = {action.replace(" ", "-"): action for action in (LEAVE_OUT, RELABEL, GROUP, DISMISS)}
NOTE = option("--note", default="", help="why, in a line")
AUTHOR = option("--author", default="", help="who decides; the user of this computer by default")


@verb(
    "import",
    "path",
    NAME,
    CLASSES,
    option(
        "--parts", nargs="*", metavar="FOLDER=PART", help="folders that are train, validation or test; none: no parts"
    ),
    option("--table", action="append", metavar="FILE", help="CSV, TSV or XLSX with labels; repeated tables are joined"),
    option(
        "--columns",
        metavar="ROLE=COLUMN,...",
        help="roles: path, label, patient, source, part, sex, age, birth, date, view, device, spacing, reader",
    ),
    option("--several", choices=("leave_out", "chosen"), default="leave_out", help="images with several labels"),
    option("--patients", metavar="PATTERN", help="regular expression that names the patient in a path; '' for none"),
    option("--patients-anew", choices=("yes", "no"), help="whether patients' numbers start anew in each class"),
    option("--into", default="", metavar="DATASET", help="add the images to this data set; its versions stay"),
    option(
        "--encoding", choices=archives.ENCODINGS, default="", help="of names in the archive; the likeliest by default"
    ),
    option("--dry-run", action="store_true", help="only say what would be imported"),
)
def do_import(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Make a data set of a folder or a zip archive: classes, parts, patients and masks are read from the names."""
    from covid_core.data.imports import importing

    spec = _layout_of(options)
    layout = importing.proposal(Path(options.path), spec)
    if options.dry_run:
        return {**encode(layout), "text": "\n".join(layout_text.layout_lines(layout))}
    to = {"source": options.path, "name": options.name, "dataset": options.into}
    made = _made(workspace, ImportRequest(**to, **spec.model_dump()))
    doubts = layout_text.doubts(data.open_dataset(workspace, made["dataset"]))
    return {**made, "text": "\n".join([made["text"], *layout_text.layout_notes(layout), *doubts])}


def _layout_of(options: argparse.Namespace) -> LayoutSpec:
    parts = None if options.parts is None else presets.parse_assignments(options.parts)
    anew = None if options.patients_anew is None else options.patients_anew == "yes"
    names = ("classes", "patients", "several", "encoding")
    fields = {name: getattr(options, name) for name in names} | {"parts": parts, "anew": anew}
    columns = presets.parse_assignments(options.columns.split(",")) if options.columns else {}
    return parse(LayoutSpec, {**fields, "tables": options.table or (), "columns": columns})


@verb(
    "merge",
    option("datasets", nargs="+", metavar="DATASET", help="ids of data sets, two at least; the first wins"),
    NAME,
    option("--map", action="append", metavar="DATASET:LABEL=CLASS", help="another name of a class; may be repeated"),
    option("--drop", action="append", metavar="DATASET:LABEL", help="a class to leave out; may be repeated"),
    option("--prefer", default="", metavar="DATASET", help="whose classes count where shared images contradict"),
    option("--dry-run", action="store_true", help="only say what would be merged"),
)
def do_merge(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Make one data set of several: shared images count once, contradicting classes are left out and listed."""
    from covid_core.data.imports import merging

    classes: dict[str, dict[str, str]] = {}
    for text in [*(options.map or ()), *(f"{one}=" for one in options.drop or ())]:
        member, _, names = text.partition(":")
        label, equals, into = names.rpartition("=")
        if not label or not equals or text in (options.map or ()) and not into.strip():
            raise InvalidChoice(f"A class is written DATASET:LABEL, a map DATASET:LABEL=CLASS, received: {text!r}.")
        classes.setdefault(member, {})[label] = into.strip()
    spec = parse(MergeSpec, {"members": options.datasets, "classes": classes, "prefer": options.prefer})
    merge = merging.planned(workspace, spec)
    notes = [*layout_text.merge_notes(merge), *layout_text.merge_warnings(merge)]
    if options.dry_run:
        lines = [f"{row.Class}: {plural(row.Images, 'image')}" for row in layout_text.merge_table(merge).itertuples()]
        return {**encode(merge), "notes": notes, "text": "\n".join([*lines, *notes])}
    made = _made(workspace, MergeRequest(name=options.name, **spec.model_dump()))
    opened = data.open_dataset(workspace, made["dataset"])
    facts = {key: opened.info[key] for key in ("members", "shared", "conflicts")}
    text = "\n".join(
        filter(None, [made["text"], layout_text.left_out(opened), layout_text.shared_sources(opened), *notes])
    )
    return {**made, **facts, "notes": notes, "text": text}


@verb("demo", option("--images", type=int, default=600, help="how many; 600 by default"), SEED, PLANT, NAME)
def do_demo(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Draw synthetic images."""
    request = {"images": options.images, "seed": options.seed, "plant": options.plant or (), "name": options.name}
    return _made(workspace, PhantomRequest(**request))


@verb("kaggle", NAME, CLASSES)
def do_kaggle(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Download the COVID-19 Radiography Database from Kaggle."""
    return _made(workspace, KaggleRequest(name=options.name, classes=options.classes))


def _made(workspace: Workspace, request: Request) -> dict[str, Any]:
    """The data set that a job of this kind makes, made in this process."""
    made = kinds.of(request).work(workspace, request, progress())
    return _dataset_answer(data.open_dataset(workspace, made["dataset"]))


@verb("datasets")
def do_datasets(workspace: Workspace, _options: argparse.Namespace) -> dict[str, Any]:
    """List data sets."""
    listed = data.list_datasets(workspace)
    lines = [f"{info['id']}  {count(sum(info['counts'].values()))} images  {info['name']}" for info in listed]
    columns = ("id", "name", "counts", "created", "damaged")
    rows = [{key: info[key] for key in columns if key in info} for info in listed]
    return {"datasets": rows, "text": "\n".join(lines) or "No data set yet: try demo or import."}


@verb("summary", "dataset")
def do_summary(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """What is in a data set."""
    from covid_core.data import summary

    opened = data.open_dataset(workspace, options.dataset)
    return {
        **_dataset_answer(opened),
        "imbalance_ratio": summary.imbalance_ratio(opened.counts),
        "class_weights": summary.class_weights(opened.counts),
        "ways_out": summary.resampling_table(opened.counts),
        "sizes": summary.format_table(opened.images, "width", "height"),
        "sources": summary.source_table(opened.images, opened.classes).to_dict("index"),
    }


@verb("audit", "dataset", AGAINST)
def do_audit(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Audit a data set: findings, duplicates, shortcut learning, and images shared with another data set."""
    opened = data.open_dataset(workspace, options.dataset)
    other = data.open_dataset(workspace, options.against) if options.against else None
    audit = dataset_audit.make(workspace, opened, other, progress())
    answer = {"dataset": opened.id, "version": opened.version, "images": len(opened.images), **encode(audit)}
    lines = [f"{opened.name}: {plural(len(opened.images), 'image')}", *audit_text.audit_lines(audit)]
    answer["contradicting_patients"] = encode(contradicting := tables.contradicting_patients(opened.images))
    if (opened.images["patient_id"] != "").any():
        lines.append(audit_text.patients(contradicting))
    if other is not None:
        shared = dataset_audit.shared(workspace, opened, other)
        answer["against"] = {"dataset": other.id, "version": other.version, **encode(shared)}
        lines.append(audit_text.shared(other, shared))
    return {**answer, "text": "\n".join(lines)}


@verb("map", "dataset")
def do_map(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """The map of a data set: neighbours of images, outliers, and suspicious labels."""
    from covid_core.audit.embedding import embedding_map
    from covid_core.runs import frozen_features

    opened = data.open_dataset(workspace, options.dataset)
    frozen = frozen_features.best(workspace, opened)
    made = embedding_map.make(workspace, opened, progress(), frozen=frozen)
    text = "\n".join(audit_text.map_lines(made))
    return {"dataset": opened.id, "version": opened.version, **encode(made), "text": text}


@verb("delete-dataset", "dataset")
def do_delete_dataset(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Remove a data set; images that were only referred to stay."""
    data.delete_dataset(workspace, options.dataset)
    return {"dataset": options.dataset, "deleted": True}


def _dataset_answer(opened: data.Dataset) -> dict[str, Any]:
    parts = ", ".join(f"{label} {count(n)}" for label, n in opened.counts.items())
    left_out = [f"left out: {row.path}: {row.reason}" for row in opened.left_out.itertuples()]
    return {**encode(opened), "text": "\n".join([f"{opened.id}  {parts}", *left_out])}


@verb(
    "decide",
    "dataset",
    option("action", choices=ACTIONS, help="what is decided"),
    option("images", nargs="+", metavar="IMAGE_ID", help="ids of images, such as COVID/COVID-1.png"),
    option("--to", default="", metavar="CLASS", help="the new class, for relabel"),
    option("--finding", default="", help="which finding, for dismiss; the audit names them"),
    NOTE,
    AUTHOR,
)
def do_decide(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Leave images out, relabel or group them, or dismiss a finding; files are never changed."""
    opened = data.decide(workspace, options.dataset, _wanted(options), options.author or getpass.getuser())
    return _decisions_answer(opened, decisions.latest(opened.decisions))


@verb("group-duplicates", "dataset", NOTE, AUTHOR)
def do_group_duplicates(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Group each pair of the audit that no cluster holds yet: cropped, rotated and mirrored duplicates."""
    opened = data.open_dataset(workspace, options.dataset)
    audit = dataset_audit.stored(workspace, opened)
    if audit is None:
        raise InvalidChoice(f"{opened.name} has no audit of this version. Start one: audit {opened.id}.")
    used = with_labels(audit.pairs, opened.images, opened.images)
    pairs = tables.with_dismissed(used, opened.decisions)
    pairs = tables.ungrouped(pairs[~pairs["dismissed"]], duplicates.with_groups(workspace, opened))
    if not len(pairs):
        raise InvalidChoice(f"No pair of the audit is left to group: clusters hold all of {opened.name}.")
    ids = zip(pairs["first"], pairs["second"], strict=True)
    wanted = [one for pair in ids for one in decisions.together(pair, options.note)]
    opened = data.decide(workspace, opened.id, wanted, options.author or getpass.getuser())
    return _decisions_answer(opened, decisions.latest(opened.decisions))


@verb(
    "take-back",
    "dataset",
    option("numbers", nargs="+", type=int, metavar="NUMBER", help="of decisions, as decisions lists them"),
    NOTE,
    AUTHOR,
)
def do_take_back(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Take decisions back, by their numbers."""
    author = options.author or getpass.getuser()
    opened = data.take_back(workspace, options.dataset, options.numbers, author, options.note)
    return _decisions_answer(opened, decisions.latest(opened.decisions))


@verb("decisions", "dataset")
def do_decisions(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """All decisions on images of a data set, and its version after each."""
    opened = data.open_dataset(workspace, options.dataset)
    return {**_decisions_answer(opened, opened.decisions), "versions": opened.versions}


def _wanted(options: argparse.Namespace) -> list[Decision]:
    action = ACTIONS[options.action]
    if action == GROUP:
        if len(options.images) < 2:
            raise InvalidChoice("A group needs two images at least.")
        return decisions.together(options.images, options.note)
    return [
        Decision(action, image, options.to if action == RELABEL else "", options.finding, options.note)
        for image in options.images
    ]


def _decisions_answer(opened: data.Dataset, listed: tuple[Decision, ...]) -> dict[str, Any]:
    valid = {one.number for one in decisions.in_force(opened.decisions)}
    lines = [audit_text.decision(one, one.number in valid) for one in listed] or ["No decision yet: try decide."]
    lines.append(f"{opened.name}: {plural(len(opened.images), 'image')} in use, version {opened.version[:12]}")
    return {
        "dataset": opened.id,
        "images": len(opened.images),
        "counts": opened.counts,
        "version": opened.version,
        "decisions": [{**encode(one), "in_force": one.number in valid} for one in listed],
        "text": "\n".join(lines),
    }
