"""Verbs about lung segmenters."""

import argparse
from collections.abc import Callable
from typing import Any

from covid_core.commands.progress import followed
from covid_core.data.dataset import open_dataset
from covid_core.formatting import number, plural, share
from covid_core.jobs import queue
from covid_core.jobs.kinds import SegmenterRequest
from covid_core.reports.encode import encode
from covid_core.runs import segmenters, store
from covid_core.workspace import Workspace


def do_segment(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Learn to outline lungs from a data set's masks."""
    name = open_dataset(workspace, options.dataset).name
    job = queue.submit(workspace, SegmenterRequest(dataset=options.dataset, seed=options.seed, name=name))
    status = followed(job, "segmenter") if options.wait else job.status()
    answer = {"job": job.id, "dataset": options.dataset, "state": status.state, "reason": status.reason}
    if status.state != store.COMPLETED:
        return {**answer, "text": f"{job.id}  {status.state} {status.reason}".rstrip()}
    made = segmenters.open_segmenter(workspace, job.result["segmenter"])
    return {**answer, **encode(made), "text": f"{made.id}  {made.in_words}"}


def do_segmenters(workspace: Workspace, _options: argparse.Namespace) -> dict[str, Any]:
    """List the segmenters that outline lungs, damaged ones with their reason, and those that learn now."""
    found, broken = segmenters.list_segmenters(workspace)
    learning = [job for job in queue.jobs(workspace, SegmenterRequest) if job.is_active]
    lines = [f"{one.id}  {_dice_text(one)}  {one.dataset.name}" for one in found]
    lines += [f"{entry.id}  damaged: {entry.reason}" for entry in broken]
    lines += [f"{job.id}  {job.status.state} {share(job.status.progress, 0)}" for job in learning]
    return {
        "segmenters": found,
        "damaged": [{"segmenter": entry.id, "reason": entry.reason} for entry in broken],
        "jobs": [{"job": job.id, "dataset": job.request.dataset, **encode(job.status)} for job in learning],
        "text": "\n".join(lines) or "No segmenter yet: try segment DATASET, on a data set with lung masks.",
    }


def do_delete_segmenter(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Remove a segmenter."""
    segmenters.delete_segmenter(workspace, options.segmenter)
    return {"segmenter": options.segmenter, "deleted": True}


def _dice_text(one: segmenters.Segmenter) -> str:
    return f"Dice {number(one.dice.value, one.dice.low, one.dice.high)} on {plural(one.dice.n, 'test image')}"


def add(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Enter these verbs."""
    segment = verb("segment", do_segment, "dataset")
    segment.add_argument("--seed", type=int, default=0)
    segment.add_argument("--wait", action="store_true", help="follow until it ends")
    verb("segmenters", do_segmenters)
    verb("delete-segmenter", do_delete_segmenter, "segmenter")
