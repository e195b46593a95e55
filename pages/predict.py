"""This image: probability or score per class, where the model looked, and what was done to the picture."""

import math

import pandas as pd
import streamlit as st

from covid_core.data.dataset import Dataset
from covid_core.errors import CovidCoreError, ImageError
from covid_core.formatting import share
from covid_core.images import sandbox
from covid_core.images.codec import LARGEST_FILE, GreyImage
from covid_core.images.image import FULL_RANGE, INVALID_WINDOW
from covid_core.inference.assessment import place
from covid_core.jobs import queue
from covid_core.jobs.kinds import ReferenceRequest
from covid_core.reports.evidence_text import EvidenceCheck
from covid_core.runs.candidates import unique_names
from covid_core.runs.store import Run
from pages.panels.predict import answer_panel, explanation, viewer
from pages.shared import image_results, import_jobs, job_panel, lung_segmenter, run_cache, shell, uploads
from pages.shared.image_results import Entries
from pages.shared.uploads import ImageSource

EXAMPLES_PER_CLASS = 2
CHOSEN = "predict_runs"
MOST_RUNS = 8  # side by side: more bars than that nobody reads
THUMBNAIL = 104  # pixels; three stand side by side on a phone


def page() -> None:
    shell.heading("What do the models say of this image?")
    runs, broken = shell.usable_runs()
    if not runs:
        with st.container(border=True):
            import_jobs.offer_demonstration(
                "**No finished run yet.** Train a model first; it then predicts images here."
            )
            st.page_link("train.py", label="Train a model", icon=":material/arrow_forward:")
        shell.broken_notice(broken)
        return
    answer = st.container()
    left, right = st.columns([3, 1], gap="medium")
    with left:
        chosen = pick_runs(runs)
    with right:
        coverage = answer_panel.pick_coverage()
    image_results.warm_up(chosen)
    sandbox.warm_up()
    shell.broken_notice(broken)
    sources = pick_images(chosen)
    image_results.forget_all_but(chosen, sources)
    if not sources:
        viewer.clear()
    with answer:
        if not chosen:
            st.markdown("Choose at least one run.")
        elif not sources:
            st.markdown("Drop an image below, or try one of the examples: the model has not been trained on them.")
        else:
            show(chosen, sources, coverage)
    if chosen:
        with st.expander("What outlines the lungs", icon=":material/pulmonology:"):
            lung_segmenter.show(chosen[0].dataset.id)
    st.caption(f"{shell.RESEARCH_ONLY} Uploads are not kept: they stay in this browser session's memory.")


def pick_runs(runs: list[Run]) -> list[Run]:
    """The runs that assess: those in the address, else the one that validation would choose."""
    by_id = {run.id: run for run in runs}
    if CHOSEN not in st.session_state:
        wanted = [name for name in st.query_params.get("run", "").split(",") if name]
        missing = next((name for name in wanted if name not in by_id), "")
        if missing:
            st.warning(
                f"There is no finished run {shell.plain(missing[:80])}; it is not asked.", icon=":material/link_off:"
            )
        st.session_state[CHOSEN] = [name for name in wanted if name in by_id][:MOST_RUNS] or [
            validations_choice(runs).id
        ]
    labels = {
        run.id: run_label(run, name, evidence)
        for run, name, evidence in zip(runs, unique_names(runs), run_cache.verdicts_of(runs), strict=True)
    }
    st.session_state[CHOSEN] = [name for name in st.session_state[CHOSEN] if name in by_id]  # one may be deleted since
    names = st.multiselect(
        "Runs",
        list(by_id),
        key=CHOSEN,
        format_func=lambda name: labels[name],
        max_selections=MOST_RUNS,
        help="Every run that is chosen looks at every image.",
    )
    st.query_params["run"] = ",".join(names)
    return [by_id[name] for name in names]


def validations_choice(runs: list[Run]) -> Run:
    """The run with the highest validation accuracy among those on the newest run's data set and split.

    Of halved validation images the half that chooses counts, unless not all of these runs halved them.
    """
    images = runs[0].dataset.version, runs[0].split_hash
    rivals = [run for run in runs if (run.dataset.version, run.split_hash) == images]
    alike = len({run.is_halved for run in rivals}) == 1

    def accuracy(run: Run) -> tuple[bool, float]:
        value = run.selection_accuracy if alike else run.accuracy("validation")
        return not math.isnan(value), value

    return max(rivals, key=accuracy)


def run_label(run: Run, name: str, evidence: EvidenceCheck) -> str:
    """Name, data set, test accuracy and what the model reads: enough to tell two runs apart."""
    stopped = ", stopped early" if run.result.get("stopped") else ""
    mistake = ", labels of other images" if run.spec.labels == "shifted" else ""
    reached = f"test {share(run.accuracy('test'))}, {evidence.in_passing}"
    return f"{name} · {run.dataset.name} · {reached}{stopped}{mistake}"


def warn_of(runs: list[Run]) -> None:
    """What to beware of before a run's answer is read."""
    synthetic = [shell.plain(run.name) for run in runs if run.dataset.synthetic]
    if synthetic:
        verb, says = ("was", "it says") if len(synthetic) == 1 else ("were", "they say")
        st.warning(
            f"{', '.join(synthetic)} {verb} trained on synthetic images. What {says} of a real image means nothing.",
            icon=":material/draw:",
        )


def pick_images(runs: list[Run]) -> list[ImageSource]:
    """Uploads, or an example; an upload goes first."""
    files = st.file_uploader(
        "Images (DICOM, PNG, JPEG or TIFF, whatever their names)",
        accept_multiple_files=True,
        help="Several at once are fine. They are read in this session's memory and are not kept. Of a DICOM file only "
        "what the reading needs is looked at, and nothing personal.",
        key="uploads",
        max_upload_size=LARGEST_FILE // 2**20,
    )
    sources = uploads.uploaded(files)
    if sources or not runs:
        return sources
    example = pick_example(runs[0])
    return [example] if example else []


def pick_example(run: Run) -> ImageSource | None:
    """An image of the run's data set: one of a few from its test part, or the one in the address."""
    try:
        dataset = shell.dataset_to_try(run)
        names = uploads.example_ids(run, EXAMPLES_PER_CLASS)
        offer_examples(dataset, names)
        chosen = st.query_params.get("image")
        return uploads.from_dataset(dataset, chosen) if chosen else None
    except CovidCoreError as error:
        st.warning(f"No example: {shell.plain(error)}", icon=":material/image_not_supported:")
        return None


def offer_examples(dataset: Dataset, names: list[str]) -> None:
    """Thumbnails to click, each with its class."""
    st.caption("Or try an image of the run's own test part, on which it was not trained:")
    with st.container(horizontal=True, gap="small"):
        for name, (picture, label) in uploads.thumbnails(dataset, tuple(names)).items():
            with st.container(width=THUMBNAIL + 8):
                st.image(picture, width=THUMBNAIL, alt=f"Example image {name}, {label}")
                if st.button(
                    shell.plain(label), key=f"example-{name}", width="stretch", help=f"Try {shell.plain(name)}"
                ):
                    st.query_params["image"] = name


def show(runs: list[Run], sources: list[ImageSource], coverage: float) -> None:
    """One image in full; several as a work-list to choose from."""
    warn_of(runs)
    offer_references(runs)
    runs = usable(runs)
    with shell.errors_shown():
        if len(sources) == 1:
            show_image(runs, sources[0], coverage)
            return
        if not runs:
            return
        preview = st.empty()
        entries = image_results.entries(runs, sources, coverage, lambda some: preview.dataframe(so_far(some)))
        preview.empty()
        chosen = answer_panel.pick_image(sources, entries)
        if chosen:
            show_image(runs, chosen, coverage)


def offer_references(runs: list[Run]) -> None:
    """For each run of an earlier version, without a reference: the job that makes one, or how far that is."""
    lacking = {run.id: run for run in runs if not run.has_reference}
    if not lacking:
        return
    names = shell.plain(" and ".join(run.name for run in lacking.values()))
    st.warning(
        f"{names} cannot tell a chest image from any other picture: an earlier version trained "
        f"{'it' if len(lacking) == 1 else 'them'}, and kept nothing to judge images by.",
        icon=":material/rule:",
    )

    def jobs() -> list[queue.Job[ReferenceRequest]]:
        return queue.jobs(shell.workspace(), ReferenceRequest, run=lacking)

    job_panel.panel(jobs)
    under_way = {job.request.run for job in jobs() if job.is_active}
    for run in lacking.values():
        if run.id not in under_way:
            job_panel.start_button(
                f"Let {shell.plain(run.name)} check images",
                ReferenceRequest(run=run.id),
                key=f"reference-{run.id}",
                icon=":material/fact_check:",
                help="Its training images are read once. Nothing is trained.",
            )


def usable(runs: list[Run]) -> list[Run]:
    """The runs whose models can be opened; of the others it is said why not."""
    opened = []
    for run in runs:
        with shell.errors_shown():
            image_results.predictor_of(run)
            opened.append(run)
    return opened


def so_far(entries: Entries) -> pd.DataFrame:
    """The work-list of the images that all runs have assessed by now."""
    order = sorted(entries.values(), key=place)
    return answer_panel.worklist(order, [None] * len(order)).drop(columns="Image", errors="ignore")


def show_image(runs: list[Run], source: ImageSource, coverage: float) -> None:
    """The answer, the image in its viewer, the scores, and the reasons."""
    try:
        image = uploads.opened(source)
    except ImageError as error:
        answer_panel.unread(source.name, str(error))
        if uploads.is_read_otherwise(source):
            st.button("Read it through its first window", on_click=uploads.set_window, args=(source, 0))
        elif str(error) == INVALID_WINDOW:
            st.button("Read it over its full range", on_click=uploads.set_window, args=(source, FULL_RANGE))
        return
    if not runs:
        return
    assessments = answer_panel.headline(image_results.assessments(runs, source, coverage), source.key)
    every = list(zip(runs, assessments, strict=True))
    answers = [pair for pair in every if pair[1].has_answer]
    if source.label:
        st.caption(f"Its data set calls it {shell.plain(source.label)}. {trained_on(runs, source)}")
    pick_window(source, image)
    picture, answer = st.columns([1.4, 1], gap="medium")
    with picture:
        explanation.show(answers or every[:1], source)
    with answer:
        if answers:
            answer_panel.numbers(answers)
        answer_panel.checks(assessments)
        if len(runs) > 1:
            answer_panel.agreement(assessments)
    explanation.similar(*every[0], source, assessments[0].run if len(runs) > 1 else "")
    answer_panel.numbers_table([one for _, one in answers])
    answer_panel.report_button(every, source)


def pick_window(source: ImageSource, image: GreyImage) -> None:
    """Through which of the windows that the file holds the image is read. The models see the same."""
    if len(image.windows) < 2:
        return
    key = f"window-{source.key}"
    st.selectbox(
        "Read through",
        range(len(image.windows)),
        index=image.chosen,
        format_func=lambda place: image.windows[place].name,
        key=key,
        on_change=lambda: uploads.set_window(source, st.session_state[key]),
        help="The window that becomes the picture which the models see. Dragging in the viewer changes the view alone.",
    )


def trained_on(runs: list[Run], image: ImageSource) -> str:
    """Which of the runs have seen the image in training: their answer about it is learned by heart."""
    of = image.dataset  # as it is or as it was, or another import of the same images
    related = [run for run in runs if run.dataset.id == of.id or run.dataset.version == of.version]
    names = [shell.plain(run.name) for run in related if uploads.part_of(run, image.name) == "train"]
    return f"Used for training by {', '.join(names)}." if names else "None of these runs was trained on it."


page()
