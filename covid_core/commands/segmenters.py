"""Verbs about lung segmenters."""

import argparse
from typing import Any

from covid_core.commands.verbs import SEED, WAIT, started, verb
from covid_core.data.dataset import open_dataset
from covid_core.formatting import plural, share
from covid_core.jobs import queue
from covid_core.jobs.kinds import SegmenterRequest
from covid_core.reports.encode import encode
from covid_core.runs import segmenters, store
from covid_core.workspace import Workspace


@verb("segment", "dataset", SEED, WAIT)
def do_segment(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Learn to outline lungs from a data set's masks."""
    name = open_dataset(workspace, options.dataset).name
    request = SegmenterRequest(dataset=options.dataset, seed=options.seed, name=name)
    job, answer = started(workspace, request, options.wait)
    answer["dataset"] = options.dataset
    if answer["state"] != store.COMPLETED:
        return answer
    made = segmenters.open_segmenter(workspace, job.result["segmenter"])
    return {**answer, **encode(made), "text": f"{made.id}  {made.in_words}"}


@verb("segmenters")
def do_segmenters(workspace: Workspace, _options: argparse.Namespace) -> dict[str, Any]:
    """List the segmenters that outline lungs, damaged ones with their reason, and those that learn now."""
    found, broken = segmenters.list_segmenters(workspace)
    learning = [job for job in queue.jobs(workspace, SegmenterRequest) if job.is_active]
    lines = [
        f"{one.id}  Dice {one.dice_in_words} on {plural(one.record.dice.n, 'test image')}  {one.dataset.name}"
        for one in found
    ]
    lines += [f"{entry.id}  damaged: {entry.reason}" for entry in broken]
    lines += [f"{job.id}  {job.status.state} {share(job.status.progress, 0)}" for job in learning]
    return {
        "segmenters": found,
        "damaged": [{"segmenter": entry.id, "reason": entry.reason} for entry in broken],
        "jobs": [{"job": job.id, "dataset": job.request.dataset, **encode(job.status)} for job in learning],
        "text": "\n".join(lines) or "No segmenter yet: try segment DATASET, on a data set with lung masks.",
    }


@verb("delete-segmenter", "segmenter")
def do_delete_segmenter(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Remove a segmenter."""
    segmenters.delete_segmenter(workspace, options.segmenter)
    return {"segmenter": options.segmenter, "deleted": True}
