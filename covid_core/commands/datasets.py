"""Verbs about data sets: make, list, describe, audit, map and delete them."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from covid_core.audit import dataset_audit
from covid_core.commands.progress import progress
from covid_core.data import dataset as data
from covid_core.formatting import count, plural
from covid_core.reports import audit_text
from covid_core.reports.encode import encode
from covid_core.synthetic.phantom import PLANTS
from covid_core.workspace import Workspace


def do_import(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Make a data set of a folder or a zip archive."""
    from covid_core.data import importing

    opened = importing.import_path(workspace, Path(options.path), options.name, options.classes, progress())
    return _dataset_answer(opened)


def do_demo(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Draw synthetic images."""
    from covid_core.data import importing

    plant = tuple(options.plant or ())
    return _dataset_answer(
        importing.import_phantom(workspace, options.images, options.seed, plant, options.name, progress())
    )


def do_kaggle(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Download the COVID-19 Radiography Database from Kaggle."""
    from covid_core.data import importing

    return _dataset_answer(importing.import_kaggle(workspace, options.name, options.classes, progress()))


def do_datasets(workspace: Workspace, _options: argparse.Namespace) -> dict[str, Any]:
    """List data sets."""
    listed = data.list_datasets(workspace)
    lines = [f"{info['id']}  {count(sum(info['counts'].values()))} images  {info['name']}" for info in listed]
    kept = ("id", "name", "counts", "created", "damaged")
    rows = [{key: info[key] for key in kept if key in info} for info in listed]
    return {"datasets": rows, "text": "\n".join(lines) or "No data set yet: try demo or import."}


def do_summary(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """What is in a data set."""
    from covid_core.data import summary

    opened = data.open_dataset(workspace, options.dataset)
    return {
        **_dataset_answer(opened),
        "imbalance_ratio": summary.imbalance_ratio(opened.counts),
        "class_weights": summary.class_weights(opened.counts),
        "ways_out": summary.resampling_table(opened.counts),
        "sizes": summary.size_table(opened.images),
        "sources": summary.source_table(opened.images, opened.classes).to_dict("index"),
    }


def do_audit(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Audit a data set: findings, duplicates, shortcut learning, and images shared with another data set."""
    opened = data.open_dataset(workspace, options.dataset)
    other = data.open_dataset(workspace, options.against) if options.against else None
    found = dataset_audit.make(workspace, opened, other, progress())
    answer = {"dataset": opened.id, "version": opened.version, "images": len(opened.images), **encode(found)}
    lines = [f"{opened.name}: {plural(len(opened.images), 'image')}", *audit_text.audit_lines(found)]
    if other is not None:
        shared = dataset_audit.shared(workspace, opened, other)
        answer["against"] = {"dataset": other.id, "version": other.version, **encode(shared)}
        lines.append(audit_text.shared(other, shared))
    return {**answer, "text": "\n".join(lines)}


def do_map(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """The map of a data set: neighbours of images, outliers, and suspicious labels."""
    from covid_core.audit.embedding import embedding_map
    from covid_core.runs import frozen_features

    opened = data.open_dataset(workspace, options.dataset)
    frozen = frozen_features.best(workspace, opened)
    made = embedding_map.make(workspace, opened, progress(), frozen=frozen)
    text = "\n".join(audit_text.map_lines(made))
    return {"dataset": opened.id, "version": opened.version, **encode(made), "text": text}


def do_delete_dataset(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Remove a data set; images that were only referred to stay."""
    data.delete_dataset(workspace, options.dataset)
    return {"dataset": options.dataset, "deleted": True}


def _dataset_answer(opened: data.Dataset) -> dict[str, Any]:
    parts = ", ".join(f"{label} {count(n)}" for label, n in opened.counts.items())
    left_out = [f"left out: {row.path}: {row.reason}" for row in opened.left_out.itertuples()]
    return {**encode(opened), "text": "\n".join([f"{opened.id}  {parts}", *left_out])}


def add(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Enter these verbs."""
    for name, work, arguments in (("import", do_import, ("path",)), ("kaggle", do_kaggle, ())):
        added = verb(name, work, *arguments)
        added.add_argument("--name", default="")
        added.add_argument("--classes", nargs="+", help="class folders to keep; all but Lung_Opacity by default")
    demo = verb("demo", do_demo)
    demo.add_argument("--images", type=int, default=600)
    demo.add_argument("--seed", type=int, default=0)
    demo.add_argument(
        "--plant", action="append", metavar="NAME", choices=PLANTS, help=f"{', '.join(PLANTS)}; may be repeated"
    )
    demo.add_argument("--name", default="")
    verb("datasets", do_datasets)
    verb("summary", do_summary, "dataset")
    audited = verb("audit", do_audit, "dataset")
    audited.add_argument(
        "--against", metavar="OTHER", help="another data set: shared images, and classes that disagree"
    )
    verb("map", do_map, "dataset")
    verb("delete-dataset", do_delete_dataset, "dataset")
