"""The drift of a batch in plain English: what differs from the training images, by how much, and what to do."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from covid_core.formatting import decimals, plural, share
from covid_core.inference.assessment import Assessment
from covid_core.inference.drift.batch import ALARMS, FEWEST, Drift
from covid_core.inference.drift.profile import ASPECTS, MEASURES, NETWORK, Profile, Traits, columns
from covid_core.inference.gate import CHEST_IMAGE
from covid_core.reports.encode import encode

ADVICE = {
    "brightness": "Check the export of the images: window, inversion and brightness.",
    "contrast": "Check the export of the images: window and contrast.",
    "sharpness": "Check resolution and compression: these images were saved or enlarged in another way.",
    "size": "Use the original files: the app resizes every image to the size of the network.",
    "framing": "Check the framing: remove dark borders, and show the lungs as large as in the training images.",
    "view": "Check the views: leave out images that are lateral, turned or no chest X-ray.",
    NETWORK: "Do not trust the run's accuracy here until it is measured on labelled images.",
}
MOST_NAMED = 3  # aspects, those with the highest scores
RECALIBRATE = (
    "Label 20 to 100 of these images and recalibrate with `evaluate RUN FOLDER --sample 40`.",
    "Compare other runs on them, such as one of the preset `holds-elsewhere`.",
)
LIMIT = f"Without drift, the score is above 1 in at most {share(ALARMS, 0)} of batches."
MADE_AGAIN = "This run has no figures of its training images. Make its reference again; its data set must be there."


def conclusion(drift: Drift) -> str:
    """Whether the batch differs, in what, and the score."""
    score = f"score {decimals(drift.score, 1)}, limit 1"
    if not drift.differs:
        return f"No drift: {plural(drift.images, 'image')} do not differ from the training images ({score})."
    return f"Drift: {plural(drift.images, 'image')} differ from the training images in {_list(drift)} ({score})."


def _list(drift: Drift) -> str:
    named, more = drift.different[:MOST_NAMED], len(drift.different) - MOST_NAMED
    names = [ASPECTS[aspect][:1].lower() + ASPECTS[aspect][1:] for aspect in named]
    names += [plural(more, "more aspect")] if more > 0 else []
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def class_mix(drift: Drift) -> str:
    """Whether other classes are frequent, and that this alone is no drift."""
    label = max(drift.estimated, key=lambda name: abs(drift.estimated[name] - drift.trained[name]))
    shares = f"about {share(drift.estimated[label], 0)} {label}, in training {share(drift.trained[label], 0)}"
    if not drift.class_mix.differs:
        return f"The class mix does not differ by more than chance: {shares}."
    alone = "That alone is no drift: the patients can differ." if not drift.differs else "Drift can cause this, too."
    return f"The class mix differs: {shares}. {alone}"


def advice(drift: Drift, assessments: Sequence[Assessment] = ()) -> list[str]:
    """What to do, the aspect with the highest score first; nothing without drift."""
    if not drift.differs:
        return []
    refused = sum(one.refused_by is not None and one.refused_by.name == CHEST_IMAGE for one in assessments)
    leave_out = [f"Leave out {plural(refused, 'image')} that failed the check for a chest X-ray."] if refused else []
    only_size = drift.different == ("size",)
    return [*(ADVICE[one] for one in drift.different[:MOST_NAMED]), *leave_out, *(() if only_size else RECALIBRATE)]


def missing(images: int) -> str:
    """How many images are missing until drift can be measured."""
    return f"Drift of a batch: {plural(FEWEST - images, 'more image')} needed. It needs at least {FEWEST}."


def table(drift: Drift, profile: Profile, batch: Traits) -> pd.DataFrame:
    """A row per measure: its aspect, medians of batch and training, and the aspect's score."""
    rows = []
    for aspect, title in ASPECTS.items():
        about = {"Aspect": title, "Score": drift.aspects[aspect].value}
        for place in columns(aspect):
            measure = list(MEASURES.values())[place]
            medians = (np.median(measure.shown(one.values[:, place])) for one in (batch, profile.training))
            cells = [f"{decimals(float(value), 2)} {measure.unit}".strip() for value in medians]
            rows.append({**about, "Measure": measure.title, "Batch": cells[0], "Training": cells[1]})
        if aspect == NETWORK:
            rows.append({**about, "Measure": "Pooled features", "Batch": "–", "Training": "–"})
    frame = pd.DataFrame(rows)
    return frame.assign(Differs=["yes" if score > 1 else "no" for score in frame["Score"]])


def to_json(drift: Drift, assessments: Sequence[Assessment]) -> dict[str, Any]:
    """The drift with its conclusion and advice, and the files that could not be read."""
    return {
        **encode(drift),
        "score": drift.score,
        "differs": drift.differs,
        "different": list(drift.different),
        "class_mix_differs": drift.class_mix.differs,
        "in_words": [conclusion(drift), class_mix(drift), LIMIT],
        "advice": advice(drift, assessments),
        "unread": [{"file": one.name, "error": one.error} for one in assessments if one.error],
    }


def lines(answer: dict[str, Any]) -> list[str]:
    """A drift for the command line, of its JSON."""
    scores = [f"{ASPECTS[key]}: score {decimals(one['value'], 2)}" for key, one in answer["aspects"].items()]
    unread = [f"not read: {one['file']}: {one['error']}" for one in answer["unread"]]
    return [*answer["in_words"], *scores, *answer["advice"], *unread]
