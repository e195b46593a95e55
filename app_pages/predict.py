"""This film: probability or score per class, where the model looked, and what was done to the picture."""

import math

import numpy as np
import pandas as pd
import streamlit as st

from app_pages.components import films, predictors, scales, shell
from app_pages.components.films import Given
from covid_core.data.dataset import Dataset
from covid_core.data.images import LARGEST_FILE, fitted, png_bytes
from covid_core.errors import CovidCoreError, ImageError
from covid_core.figures.prediction import score_bars
from covid_core.formatting import plural, share
from covid_core.inference.heatmap import overlaid
from covid_core.inference.predictor import Prediction
from covid_core.runs.candidates import unique_names
from covid_core.runs.store import Run

LONGEST_SHOWN = 900  # pixels; larger films are shrunk for the screen, never for the model
EXAMPLES_PER_CLASS = 2
CHOSEN = "predict_runs"
REFUSED_SHOWN = 5  # files that cannot be read, each in a box of its own
MOST_RUNS = 8  # asked at once: more bars than that nobody reads
THUMBNAIL = 104  # pixels; three stand side by side on a phone


def page() -> None:
    runs, broken = shell.usable_runs()
    if not runs:
        shell.heading("What do the models say of this film?")
        empty()
        shell.broken_notice(broken)
        return
    st.title("What do the models say of this film?")
    answer = st.container()
    chosen = pick_runs(runs)
    predictors.warm_up(chosen)
    shell.broken_notice(broken)
    given = pick_films(chosen)
    with answer:
        if not chosen:
            st.markdown("Choose at least one run.")
        elif not given:
            st.markdown("Drop a film below, or try one of the examples: the model has not been trained on them.")
        else:
            show(chosen, given)
    st.caption(f"{shell.RESEARCH_ONLY} Uploads are not kept: they stay in this browser session's memory.")


def empty() -> None:
    """Nothing can predict yet."""
    with st.container(border=True):
        st.markdown("**No finished run yet.** Train one first; with the synthetic films it takes under a minute.")
        st.page_link("app_pages/train.py", label="Train a model", icon=":material/arrow_forward:")


def pick_runs(runs: list[Run]) -> list[Run]:
    """The runs that are asked: those in the address, else the one that validation would choose."""
    by_id = {run.id: run for run in runs}
    if CHOSEN not in st.session_state:
        asked = [name for name in st.query_params.get("run", "").split(",") if name]
        wanted = [name for name in asked if name in by_id]
        if len(wanted) < len(asked):
            missing = next(name for name in asked if name not in by_id)
            st.warning(
                f"There is no finished run {shell.plain(missing[:80])}; it is not asked.", icon=":material/link_off:"
            )
        st.session_state[CHOSEN] = wanted[:MOST_RUNS] or [validations_choice(runs).id]
    labels = {run.id: run_label(run, name) for run, name in zip(runs, unique_names(runs), strict=True)}
    st.session_state[CHOSEN] = [name for name in st.session_state[CHOSEN] if name in by_id]  # one may be deleted since
    names = st.multiselect(
        "Runs",
        list(by_id),
        key=CHOSEN,
        format_func=lambda name: labels[name],
        max_selections=MOST_RUNS,
        help="Every run that is chosen looks at every film.",
    )
    st.query_params["run"] = ",".join(names)
    return [by_id[name] for name in names]


def validations_choice(runs: list[Run]) -> Run:
    """The run with the highest validation accuracy among those on the newest run's data set and split.

    Of halved validation films the half that chooses counts, unless not all of these runs halved them.
    """
    newest = runs[0]
    rivals = [run for run in runs if same_films(run, newest)]
    alike = len({run.is_halved for run in rivals}) == 1
    found = [run.selection_accuracy if alike else run.accuracy("validation") for run in rivals]
    return rivals[max(range(len(rivals)), key=lambda i: (not math.isnan(found[i]), found[i]))]


def same_films(one: Run, other: Run) -> bool:
    """Whether two runs were made on the same split of the same films."""
    versions = {run.record["dataset"]["version"] for run in (one, other)}
    return len(versions) == 1 and one.split_hash == other.split_hash


def run_label(run: Run, name: str) -> str:
    """Name, data set and test accuracy: enough to tell two runs apart."""
    stopped = ", stopped early" if run.result.get("stopped") else ""
    mistake = ", labels of other films" if run.spec.labels == "shifted" else ""
    return f"{name} · {run.record['dataset']['name']} · test {share(run.accuracy('test'))}{stopped}{mistake}"


def warn_of(runs: list[Run]) -> None:
    """What must be known of a run before its answer is read."""
    synthetic = [shell.plain(run.name) for run in runs if run.record["dataset"]["synthetic"]]
    if synthetic:
        verb, says = ("was", "it says") if len(synthetic) == 1 else ("were", "they say")
        st.warning(
            f"{', '.join(synthetic)} {verb} trained on synthetic films. What {says} of a real film means nothing.",
            icon=":material/draw:",
        )


def pick_films(runs: list[Run]) -> list[Given]:
    """Uploads, or an example; an upload goes first."""
    files = st.file_uploader(
        "Films (PNG or JPEG)",
        accept_multiple_files=True,
        help="Several at once are fine. They are read in this session's memory and are not kept.",
        key="uploads",
        max_upload_size=LARGEST_FILE // 2**20,
    )
    given = films.uploaded(files)
    if given or not runs:
        return given
    example = pick_example(runs[0])
    return [example] if example else []


def pick_example(run: Run) -> Given | None:
    """A film of the run's data set: one of a few from its test part, or the one in the address."""
    try:
        dataset = shell.open_dataset(run.record["dataset"]["id"])
        names = films.example_ids(str(run.path), EXAMPLES_PER_CLASS, run)
        offer_examples(dataset, names)
        asked = st.query_params.get("film")
        return films.from_dataset(dataset, asked) if asked else None
    except CovidCoreError as error:
        st.warning(f"No example: {shell.plain(error)}", icon=":material/image_not_supported:")
        return None


def offer_examples(dataset: Dataset, names: list[str]) -> None:
    """Thumbnails to click, each with its class."""
    st.caption("Or try a film of the run's own test part, on which it was not trained:")
    with st.container(horizontal=True, gap="small"):
        for name, (picture, label) in films.thumbnails(dataset, tuple(names)).items():
            with st.container(width=THUMBNAIL + 8):
                st.image(picture, width=THUMBNAIL, alt=f"Example film {name}, {label}")
                if st.button(shell.plain(label), key=f"example-{name}", width="stretch", help=f"Try {name}"):
                    st.query_params["film"] = name


def show(runs: list[Run], given: list[Given]) -> None:
    """One film in full; several as a table to choose from. What cannot be read is told before."""
    warn_of(runs)
    films.forget_all_but(runs, given)
    with shell.told():
        if len(given) == 1:
            show_film(runs, given[0])
            return
        place = st.empty()
        answers = films.answers(runs, given, lambda known: place.dataframe(so_far(runs, given, known)))
        place.empty()
        say_refused([(film, answers.reasons[film.key]) for film in given if film.key in answers.reasons])
        readable = [film for film in given if film.key not in answers.reasons]
        film = pick_from_table(runs, readable, answers.said) if readable else None
        if film:
            show_film(runs, film)


def say_refused(refused: list[tuple[Given, str]]) -> None:
    """Each file that cannot be read, with its reason; many are folded up."""
    place = st.expander(f"{plural(len(refused), 'file')} could not be read") if len(refused) > REFUSED_SHOWN else st
    for film, reason in refused:
        place.error(f"**{shell.plain(film.name)}**: {shell.plain(reason)}", icon=":material/block:")


def so_far(runs: list[Run], given: list[Given], known: films.Answers) -> pd.DataFrame:
    """The table of the films that all runs have seen by now."""
    seen = [film for film in given if all(film.key in known.said[run.id] for run in runs)]
    return answer_table(runs, seen, known.said)


def pick_from_table(runs: list[Run], given: list[Given], said: films.Said) -> Given | None:
    """All films with what each run says; a row opens the film."""
    table = answer_table(runs, given, said)
    agreed = int(table["Agreement"].eq("all agree").sum())
    agreement = f", {agreed} of them with all runs in agreement" if len(runs) > 1 else ""
    st.markdown(f"{plural(len(given), 'film')} read{agreement}. Choose a row to see the film and its heat map.")
    selection = shell.table(table, "predictions", on_select="rerun", selection_mode="single-row", key="answers")
    scales.explain(runs, {name: said[run.id][given[0].key] for name, run in zip(unique_names(runs), runs, strict=True)})
    rows = selection.selection.rows
    return given[rows[0]] if rows and rows[0] < len(given) else None


def answer_table(runs: list[Run], given: list[Given], said: films.Said) -> pd.DataFrame:
    """One row per film: the predicted class and its numbers for every run."""
    names = unique_names(runs)
    rows = []
    for film in given:
        of_film = [said[run.id][film.key] for run in runs]
        row = {"File": film.name}
        for name, prediction in zip(names, of_film, strict=True):
            row[name] = prediction.predicted
            if prediction.is_calibrated:
                row[f"{name}, probability"] = share(float(prediction.probabilities.max()))
            row[f"{name}, score"] = share(float(prediction.scores.max()))
        row["Agreement"] = "all agree" if len({p.predicted for p in of_film}) == 1 else "they differ"
        rows.append(row)
    table = pd.DataFrame(rows)
    return table if len(runs) > 1 or table.empty else table.assign(Agreement="")


def show_film(runs: list[Run], given: Given) -> None:
    """The film, its heat map, its scores. The first run's scores and map come from one pass."""
    try:
        film = films.opened(given)
    except ImageError as error:
        say_refused([(given, str(error))])
        return
    shown = fitted(film.pixels, LONGEST_SHOWN)
    said = {run.id: films.explained(run, given, None, shown.shape)[0] for run in runs[:1]}
    said |= {run.id: films.prediction(run, given) for run in runs[1:]}
    st.markdown(headline(runs, said))
    if given.label:
        st.caption(f"Its data set calls it {shell.plain(given.label)}. {trained_on(runs, given)}")
    picture, heat, scores = st.columns([1, 1, 1.15], gap="medium")
    with picture:
        st.image(png_bytes(shown), caption=shell.plain(given.name), width="stretch", alt=f"Film {given.name}")
        st.caption("Done to the picture: " + ("; ".join(said[runs[0].id].done) or "nothing") + ".")
    with scores:
        show_scores(runs, said)
    with heat:
        show_heat(runs, given, said, shown)
    scales.show_numbers({name: said[run.id] for name, run in zip(unique_names(runs), runs, strict=True)})


@st.fragment
def show_heat(runs: list[Run], given: Given, said: dict[str, Prediction], shown: np.ndarray) -> None:
    """The heat map and its choices; only this part runs again when one of them is changed."""
    place = st.container()
    run, label = pick_explained(runs, said)
    opacity = st.slider("Opacity", 0, 100, 60, step=5, format="%d %%") / 100
    with place, shell.told():
        _, values = films.explained(run, given, label, shown.shape)
        st.image(
            png_bytes(overlaid(shown, values, opacity)),
            caption=f"Grad-CAM: what speaks for {shell.plain(label)}",
            width="stretch",
            alt=f"Heat map over the film: where {run.name} finds what speaks for {label}",
        )
        if not values.any():
            st.caption("Nothing in this film speaks for that class, so the map is empty.")


def trained_on(runs: list[Run], film: Given) -> str:
    """Which of the runs have seen the film in training: their answer about it is learned by heart."""
    version = runs[0].record["dataset"]["version"]  # of the film, too
    related = [run for run in runs if run.record["dataset"]["version"] == version]
    names = [shell.plain(run.name) for run in related if films.part_of(run, film.name) == "train"]
    return f"Used for training by {', '.join(names)}." if names else "None of these runs was trained on it."


def headline(runs: list[Run], said: dict[str, Prediction]) -> str:
    """The answer in a sentence."""
    if len(runs) == 1:
        return scales.headline(said[runs[0].id])
    predicted = {said[run.id].predicted for run in runs}
    if len(predicted) == 1:
        all_of_them = "Both" if len(runs) == 2 else f"All {len(runs)}"
        return f"{all_of_them} runs say **{shell.plain(predicted.pop())}**."
    names = map(shell.plain, unique_names(runs))
    parts = [f"{name} says {shell.plain(said[run.id].predicted)}" for name, run in zip(names, runs, strict=True)]
    return "The runs differ: " + ", ".join(parts) + "."


def show_scores(runs: list[Run], said: dict[str, Prediction]) -> None:
    """Probabilities or scores per class for every run, and which of the two they are."""
    given = {name: said[run.id] for name, run in zip(unique_names(runs), runs, strict=True)}
    classes = list(dict.fromkeys(label for run in runs for label in run.classes))
    bars = {name: one.by_class(one.best_known) for name, one in given.items()}
    called = {name: scales.scale_of(one) for name, one in given.items()}
    alt = "; ".join(f"{scale} of every class by {name}" for name, scale in called.items())
    shell.chart(score_bars(bars, classes, called), "scores", alt=alt)
    scales.explain(runs, given)


def pick_explained(runs: list[Run], said: dict[str, Prediction]) -> tuple[Run, str]:
    """Whose heat map, and for which class."""
    by_id = {run.id: run for run in runs}
    name = runs[0].id
    if len(runs) > 1:
        names = dict(zip(by_id, unique_names(runs), strict=True))
        name = st.selectbox("Heat map of", list(by_id), format_func=names.__getitem__)
    run = by_id[name]
    predicted = run.classes.index(said[run.id].predicted)
    return run, st.selectbox("Heat map for the class", run.classes, index=predicted)


page()
