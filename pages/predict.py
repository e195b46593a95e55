"""This image: probability or score per class, where the model looked, and what was done to the picture."""

import math

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from covid_core.data.dataset import Dataset
from covid_core.errors import CovidCoreError, ImageError
from covid_core.formatting import count, plural, share
from covid_core.images import sandbox
from covid_core.images.codec import LARGEST_FILE, GreyImage
from covid_core.images.image import FULL_RANGE, INVALID_WINDOW
from covid_core.inference.assessment import place
from covid_core.jobs import queue
from covid_core.jobs.kinds import ReferenceRequest
from covid_core.reports import run_text
from covid_core.reports.evidence_text import EvidenceCheck
from covid_core.runs.candidates import unique_names
from covid_core.runs.store import Run
from pages.panels.predict import answer_panel, drift_panel, explanation, pacs_panel, viewer
from pages.shared import image_results, import_jobs, job_panel, lung_segmenter, run_cache, shell, uploads, url_state
from pages.shared.image_results import Entries
from pages.shared.uploads import ImageSource

EXAMPLES_PER_CLASS = 2
CHOSEN = "predict_runs"
MOST_NAMED = 3  # files of an earlier visit; of more, the number is enough
MOST_RUNS = 8  # side by side: more bars than that nobody reads
LAST_RUNS = "predict_last_runs"  # session: ids of what was chosen; the choice itself is gone while another page is open
UPLOADS = "uploads"  # session: the files in the drop zone, likewise
BEFORE, ON_PAGE = "predict_files_before", "predict_files"  # session: files of an earlier visit, and all of the page
UPLOADED = "uploaded"  # query parameter, and session: how many images were uploaded; whether some were
OLD_IMAGE = "film"  # query parameter of earlier versions
THUMBNAIL = 104  # pixels; three stand side by side on a phone


def page() -> None:
    shell.heading("What do the models predict for this image?")
    runs, broken = shell.usable_runs(predicting=True)
    if not runs:
        with st.container(border=True):
            import_jobs.offer_demonstration(
                "**No finished run yet.** Train a model first; it then predicts images here."
            )
            st.page_link("train.py", label="Train a model", icon=":material/arrow_forward:")
        shell.broken_notice(broken)
        return
    drop, choice, certainty = st.columns([1.4, 0.6, 0.4], gap="medium")
    with choice:
        chosen = pick_runs(runs)
    with certainty:
        coverage = answer_panel.pick_coverage()
    image_results.warm_up(chosen)
    sandbox.warm_up()
    with drop:
        sources = pick_images(chosen)
    shell.broken_notice(broken)
    image_results.forget_all_but(chosen, sources)
    if not sources:
        viewer.clear()
    if not chosen:
        st.markdown("Choose at least one run.")
    elif sources:
        show(chosen, sources, coverage)
    if chosen:
        with st.expander("Lung segmenter", icon=":material/pulmonology:"):
            lung_segmenter.show(chosen[0].dataset.id)
    st.caption(f"{shell.RESEARCH_ONLY} Uploads stay in this browser session's memory and are not saved.")


def pick_runs(runs: list[Run]) -> list[Run]:
    """The runs that assess: those in the address, else those of the last visit, else the one that validation would
    choose."""
    by_id = {run.id: run for run in runs}
    if CHOSEN not in st.session_state or (st.query_params.get("run") and url_state.is_moved("run")):
        wanted = [name for name in st.query_params.get("run", "").split(",") if name]
        missing = next((name for name in wanted if name not in by_id), "")
        if missing:
            others = {one.run.id: run_text.model_file(one.run) for one in run_cache.listed()[0]}
            absent = f"There is no finished run {missing[:80]}: the address names it."
            st.warning(shell.plain(others.get(missing) or absent), icon=":material/link_off:")
        last = st.session_state.get(LAST_RUNS, []) if not wanted else []
        st.session_state[CHOSEN] = [name for name in [*wanted, *last] if name in by_id][:MOST_RUNS] or [
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
        help="Every chosen run predicts every image.",
    )
    url_state.write("run", ",".join(names))
    st.session_state[LAST_RUNS] = names
    if len(names) > 1:  # the box shows one or two of them
        chosen = [name for run, name in zip(runs, unique_names(runs), strict=True) if run.id in names]
        st.caption(shell.plain(f"{plural(len(names), 'run')}: {', '.join(chosen)}."))
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
        verb = "was" if len(synthetic) == 1 else "were"
        st.warning(
            f"{', '.join(synthetic)} {verb} trained on synthetic images. A prediction for a real image means nothing.",
            icon=":material/draw:",
        )


def pick_images(runs: list[Run]) -> list[ImageSource]:
    """Uploads, also of an earlier visit to the page, or an example; an upload goes first."""
    if UPLOADS not in st.session_state:  # another page was open meanwhile
        st.session_state[BEFORE] = st.session_state.get(ON_PAGE, [])
    files = st.file_uploader(
        "Images (DICOM, PNG, JPEG or TIFF)",
        accept_multiple_files=True,
        help="Several at once are possible. The app reads pixels and technical tags of a DICOM file, nothing personal.",
        key=UPLOADS,
        max_upload_size=LARGEST_FILE // 2**20,
    )
    st.session_state[BEFORE] = [*st.session_state[BEFORE], *pacs_panel.fetched()]
    if before := st.session_state[BEFORE]:
        names = shell.plain(", ".join(file.name for file in before[:MOST_NAMED]))
        more = f" and {count(len(before) - MOST_NAMED)} more" if len(before) > MOST_NAMED else ""
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"Also here: {names}{more}.", width="content")
            st.button(
                f"Remove {'it' if len(before) == 1 else 'them'}",
                type="tertiary",
                icon=":material/close:",
                on_click=st.session_state.update,
                args=({BEFORE: []},),
            )
    files = st.session_state[ON_PAGE] = [*before, *files]
    sources = uploads.uploaded(files)
    note_reload(sources)
    repeated = len(files) - len(sources)
    if repeated:
        st.caption(f"Equal files are listed once; repeated here: {plural(repeated, 'file')}.")
    if sources or not runs:
        return sources
    example = pick_example(runs[0])
    return [example] if example else []


def note_reload(sources: list[ImageSource]) -> None:
    """Note uploads in the address, so that a reload, which empties the session's memory, can be explained."""
    if sources:
        st.session_state[UPLOADED] = True
        st.query_params[UPLOADED] = str(len(sources))
    elif st.query_params.get(UPLOADED) and not st.session_state.get(UPLOADED):
        st.info(
            "The upload is gone: a reload or a long pause empties the memory. Drop the image again.",
            icon=":material/refresh:",
        )
    else:
        st.query_params.pop(UPLOADED, None)


def pick_example(run: Run) -> ImageSource | None:
    """An image of the run's data set: one of a few from its test part, or the one in the address."""
    chosen = st.query_params.get("image") or st.query_params.get(OLD_IMAGE)
    try:
        dataset = shell.dataset_to_try(run)
        offer_examples(dataset, uploads.example_ids(run, EXAMPLES_PER_CLASS), small=bool(chosen))
        return uploads.from_dataset(dataset, chosen) if chosen else None
    except CovidCoreError as error:
        if not chosen:
            st.caption(f"There are no examples. {shell.plain(error)}")
            return None
        lead = f"The image {shell.plain(chosen[:80])} of the address cannot be opened"
        st.warning(f"{lead}: {shell.plain(error)}", icon=":material/image_not_supported:")
        return None


def offer_examples(dataset: Dataset, names: list[str], small: bool) -> None:
    """Thumbnails to click, each with its class; out of the way while an image is open."""
    place = st.popover("Test images", icon=":material/photo_library:") if small else st.container()
    place.caption("Or try an image of the run's test part. The run was not trained on it.")
    with place.container(horizontal=True, gap="small"):
        for name, (picture, label) in uploads.thumbnails(dataset, tuple(names)).items():
            with st.container(width=THUMBNAIL, key=f"tile-{name}", gap=None):
                st.image(picture, width=THUMBNAIL, alt=f"Example image {name}, {label}")
                st.button(
                    shell.plain(label),
                    key=f"example-{name}",
                    width="stretch",
                    help=f"Try {shell.plain(name)}",
                    on_click=lambda name=name: st.query_params.update(image=name),
                )


def show(runs: list[Run], sources: list[ImageSource], coverage: float) -> None:
    """The image beside its answer; of several images also a work-list, whose open image is shown."""
    offer_references(runs)
    runs = usable(runs)
    picture, answer = st.columns([1.4, 1], gap="medium")
    with shell.errors_shown():
        chosen = sources[0]
        if len(sources) > 1:
            if not runs:
                return
            with answer:
                preview = st.empty()
                entries = image_results.entries(runs, sources, coverage, lambda some: preview.dataframe(so_far(some)))
                preview.empty()
                chosen = answer_panel.pick_image(sources, entries)
        others = [source for source in sources if source.file != chosen.file]
        show_image(runs, chosen, others, coverage, picture, answer)
        if len(sources) > 1:
            drift_panel.show(runs, entries)


def offer_references(runs: list[Run]) -> None:
    """For each run of an earlier version, without a reference: the job that makes one, or how far that is."""
    lacking = {run.id: run for run in runs if not run.has_reference}
    if not lacking:
        return
    names = shell.plain(" and ".join(run.name for run in lacking.values()))
    st.warning(
        f"{names} cannot check whether an image is a chest X-ray: an earlier version trained "
        f"{'it' if len(lacking) == 1 else 'them'} and kept no reference.",
        icon=":material/rule:",
    )

    def jobs() -> list[queue.Job[ReferenceRequest]]:
        return queue.jobs(shell.workspace(), ReferenceRequest, run=lacking)

    job_panel.panel(jobs)
    under_way = {job.request.run for job in jobs() if job.is_active}
    for run in lacking.values():
        if run.id not in under_way:
            job_panel.start_button(
                f"Make the reference of {shell.plain(run.name)}",
                ReferenceRequest(run=run.id),
                key=f"reference-{run.id}",
                icon=":material/fact_check:",
                help="This reads the training images once. It trains nothing.",
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


def show_image(
    runs: list[Run],
    source: ImageSource,
    others: list[ImageSource],
    coverage: float,
    picture: DeltaGenerator,
    answer: DeltaGenerator,
) -> None:
    """The scores first, then the image in its viewer; then what takes longer, in the places that wait for it.

    ``others`` are images that can stand beside this one; ``picture`` and ``answer`` the places of image and answer.
    """
    try:
        image = uploads.opened(source)
    except ImageError as error:
        with answer:
            answer_panel.unread(source.name, str(error))
            if uploads.is_read_otherwise(source):
                st.button("Read it through its first window", on_click=uploads.set_window, args=(source, 0))
            elif str(error) == INVALID_WINDOW:
                st.button("Read it over its full range", on_click=uploads.set_window, args=(source, FULL_RANGE))
        return
    if not runs:
        return
    evidence = run_cache.verdicts_of(runs)
    with answer:
        assessments, notes = answer_panel.headline(image_results.assessments(runs, source, coverage), source, evidence)
        every = list(zip(runs, assessments, strict=True))
        answers = [pair for pair in every if pair[1].has_answer]
        warn_of(runs)
        if source.label:
            st.caption(f"Label in its data set: {shell.plain(source.label)}.")
        if answers:
            answer_panel.numbers(answers)
    with picture:
        explanation.show(answers or every[:1], source, others)
        pick_window(source, image)
    examined = image_results.examined(runs, source, assessments)
    answer_panel.show_notes(notes, examined, evidence)
    with answer:
        answer_panel.checks(assessments)
        if len(runs) > 1:
            answer_panel.agreement(assessments)
    explanation.similar(*every[0], source, assessments[0].run if len(runs) > 1 else "")
    answer_panel.numbers_table([one for _, one in answers])
    with st.container(horizontal=True):
        answer_panel.report_button(list(zip(runs, examined, strict=True)), source)
        pacs_panel.offer_result(list(zip(runs, examined, strict=True)), source)


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
        help="The models read the image through this window. Dragging in the viewer changes the view alone.",
    )


page()
