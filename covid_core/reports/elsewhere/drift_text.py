"""The drift of a batch in plain English: what differs from the training images, by how much, and what to do."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from covid_core.formatting import count, decimals, plural, share
from covid_core.inference.assessment import Assessment
from covid_core.inference.drift.batch import ALARMS, FEWEST, FEWEST_OWN, Drift, class_weights
from covid_core.inference.drift.profile import ASPECTS, MEASURES, NETWORK, Profile, Traits, columns
from covid_core.inference.gate import CHEST_IMAGE
from covid_core.reports.encode import encode

ADVICE = {
    "brightness": "Check the export of the images: window, inversion and brightness.",
    "contrast": "Check the export of the images: window and contrast.",
    "sharpness": "Check resolution and compression: these images were saved or enlarged in another way.",
    "size": "Use the original files: the app resizes every image to the size of the network.",
    "framing": "Check the framing: dark borders, and how large the lungs are.",
    "view": "Check the views: leave out images that are lateral, turned or no chest X-ray.",
    NETWORK: "Read single predictions with care: the network has learned from other images.",
}
HUGE = 10  # a score above is no more than that in words
MOST_NAMED = 3  # aspects, those with the highest scores
RECALIBRATE = (
    "The accuracy on these images is not known. Label 20 to 100 of them.",
    "Recalibrate with these labels: Compare, Outside test, or `evaluate RUN FOLDER --sample 40`.",
    "Compare other runs on them: Compare, Outside test.",
)
LIMIT = f"Without drift, the score is above 1 in at most {share(ALARMS, 0)} of batches."
MADE_AGAIN = "This run has no figures of its training images. Make its reference again; its data set must be there."


def conclusion(drift: Drift) -> str:
    """Whether the batch differs, in what, and the score."""
    score = f"score {_score(drift.score)}, limit 1"
    if drift.different == ("size",):
        return f"Only the size differs: {plural(drift.images, 'image')} have another width or height ({score})."
    if not drift.differs:
        images = plural(drift.images, "image")
        return f"No drift detected: {images} do not differ from the training images by more than chance ({score})."
    return f"Drift: {plural(drift.images, 'image')} differ from the training images in {_list(drift)} ({score})."


def _score(value: float) -> str:
    return f"above {count(HUGE)}" if value > HUGE else decimals(value, 2 if value < 2 else 1)


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
        doubt = " It rests on predictions, which drift can make wrong." if drift.differs else ""
        return f"The class mix does not differ by more than chance: {shares}.{doubt}"
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
    """That a batch of so many readable images is too small for drift."""
    return f"Drift of a batch needs at least {FEWEST} readable images; there are {count(images)}."


def too_few_own(images: int) -> str:
    """That a run with so many validation images will have no drift, before it is trained; nothing where it will."""
    if images >= FEWEST_OWN:
        return ""
    return (
        f"This run cannot measure drift: that needs {FEWEST_OWN} validation images, and the split has {count(images)}."
    )


def table(drift: Drift, profile: Profile, batch: Traits) -> pd.DataFrame:
    """A row per measure, means of the batch and of training images in its class mix. The score is that of the whole
    aspect: it stands in the row of the measure that differs most in it."""
    weights, rows = class_weights(profile, drift), []
    for aspect, title in ASPECTS.items():
        differs = "yes" if drift.aspects[aspect].differs else "no"
        about = {"Aspect": title, "Score": drift.aspects[aspect].value, "Differs": differs}
        measured = [(profile.training.values[:, place], batch.values[:, place], place) for place in columns(aspect)]
        measured.sort(key=lambda one: -abs(one[1].mean() - one[0] @ weights) / profile.scales[one[2]])
        for number, (of_training, of_batch, place) in enumerate(measured):
            measure = list(MEASURES.values())[place]
            means = float(measure.shown(of_batch).mean()), float(measure.shown(of_training) @ weights)
            cells = [f"{decimals(mean, 1 if measure.unit else 2)} {measure.unit}".strip() for mean in means]
            head = about if number == 0 else {"Aspect": title, "Score": math.nan, "Differs": ""}
            rows.append({**head, "Mean of": measure.title, "Batch": cells[0], "Training": cells[1]})
        if aspect == NETWORK:
            rows.append({**about, "Mean of": "–", "Batch": "–", "Training": "–"})
    return pd.DataFrame(rows)


def scores(of_measures: pd.DataFrame) -> pd.DataFrame:
    """A row per aspect of a ``table``: its score, and whether it differs."""
    return of_measures.loc[of_measures["Score"].notna(), ["Aspect", "Score", "Differs"]]


def means(of_measures: pd.DataFrame, aspect: str) -> str:
    """What the means of an aspect's measures are, from a ``table``; nothing for the network's own space."""
    rows = of_measures[(of_measures["Aspect"] == ASPECTS[aspect]) & (of_measures["Batch"] != "–")]
    pairs = zip(rows["Mean of"], rows["Batch"], rows["Training"], strict=True)
    return "".join(f"{title}: mean {batch} in the batch, {trained} in training. " for title, batch, trained in pairs)


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
    scores = [f"{ASPECTS[key]}: score {_score(one['value'])}" for key, one in answer["aspects"].items()]
    unread = [f"not read: {one['file']}: {one['error']}" for one in answer["unread"]]
    return [*answer["in_words"], *scores, *answer["advice"], *unread]
