"""One lesson, step by step: the story, a prediction, the runs, the outcome, why, one's own images, a summary."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from covid_core import access
from covid_core.data.dataset import Dataset
from covid_core.evaluation import metrics
from covid_core.figures import audit as ladders
from covid_core.figures import evaluation as figures
from covid_core.formatting import count, decimals, duration, plural, roughly, share
from covid_core.jobs import queue
from covid_core.jobs.kinds import HandoutRequest, LessonRequest
from covid_core.lessons import catalogue, classroom, outcomes, own_data, pictures, preparation
from covid_core.lessons.catalogue import LESSONS, Lesson
from covid_core.lessons.outcomes import Outcome
from covid_core.lessons.pictures import Picture
from covid_core.lessons.preparation import Prepared
from covid_core.runs import store
from pages.panels.lessons import class_panel
from pages.shared import import_jobs, job_panel, notices, presentation, shell

PAGE = "lessons.py"
STEPS = ("The story", "Your prediction", "The runs", "What came out", "Why", "Your images", "Summary")
STORY, PREDICT, RUNS, OUTCOME, WHY, YOURS, SUMMARY = range(1, len(STEPS) + 1)
AFTER_PREDICTION = (OUTCOME, WHY, SUMMARY)  # steps that give the answer away
TILE = 168  # pixels of a picture at least: two side by side on a phone
EMPTY = "lesson_nothing_entered"  # session: the lesson whose prediction was sent without a number


def show(lesson: Lesson) -> None:
    """The lesson at the step that the address names."""
    class_panel.code()
    step = _step(lesson)
    to_overview()
    shell.heading(f"{catalogue.number_of(lesson)}. {lesson.title}", lesson.question)
    _steps(lesson, step)
    prepared = preparation.state_of(shell.workspace(), lesson.key)
    st.subheader(f"{step}. {STEPS[step - 1]}")
    if step in AFTER_PREDICTION and not prepared.is_ready:
        _not_ready(lesson, prepared)
    else:
        with shell.errors_shown():
            DRAWN[step - 1](lesson, prepared)
    if step != RUNS and prepared.is_active:
        _job(lesson, prepared)
    _turn(lesson, step)
    if prepared.status is not None:
        _reset_popover([lesson], "Reset this lesson", f"reset-{lesson.key}")
    notices.watch()


def to_overview() -> None:
    """Back to the four lessons."""
    presentation.link(PAGE, "All lessons", ":material/arrow_back:", class_panel.address(), key="all-lessons")


# Steps and addresses


def _step(lesson: Lesson) -> int:
    """The step of the address; the prediction in place of what would reveal the outcome."""
    text = st.query_params.get("step", "1")
    step = int(text) if text.isdigit() and 1 <= int(text) <= len(STEPS) else STORY
    if step in AFTER_PREDICTION and not _is_revealed(lesson):
        step = PREDICT
        st.session_state["lesson_sent_back"] = lesson.key
    st.query_params["lesson"], st.query_params["step"] = lesson.key, str(step)
    return step


def prediction_of(lesson: Lesson) -> float | None:
    """What this browser has predicted, in per cent."""
    return classroom.prediction(*_own(lesson))[1]


def _is_revealed(lesson: Lesson) -> bool:
    return classroom.prediction(*_own(lesson))[0]


def _own(lesson: Lesson, percent: tuple[float | None] | tuple[()] = ()) -> tuple[Any, ...]:
    """Arguments of ``classroom`` for this browser's prediction of a lesson."""
    return (shell.workspace(), class_panel.visitor(), lesson.key, *percent, class_panel.present())


def _go(step: int) -> None:
    st.query_params["step"] = str(step)


def _steps(lesson: Lesson, step: int) -> None:
    st.progress(step / len(STEPS), f"Step {step} of {len(STEPS)}: {STEPS[step - 1]}")
    with st.container(horizontal=True, gap="xsmall"):
        for number, name in enumerate(STEPS, start=1):
            st.button(
                f"{number} {name}",
                key=f"step-{number}",
                type="primary" if number == step else "tertiary",
                on_click=_go,
                args=(number,),
                help="Predict first." if number in AFTER_PREDICTION and not _is_revealed(lesson) else None,
            )


def _turn(lesson: Lesson, step: int) -> None:
    waits = step + 1 in AFTER_PREDICTION and not _is_revealed(lesson)
    if waits:
        st.caption("The outcome comes after your prediction: step 2.")
    with st.container(horizontal=True):
        if step > 1:
            st.button("Back", key="back", icon=":material/arrow_back:", on_click=_go, args=(step - 1,))
        if step < len(STEPS):
            st.button(
                f"Next: {STEPS[step]}",
                key="next",
                icon=":material/arrow_forward:",
                type="primary",
                on_click=_go,
                args=(step + 1,),
                disabled=waits,
            )
        elif lesson != LESSONS[-1]:
            following = LESSONS[catalogue.number_of(lesson)]
            presentation.link(
                PAGE,
                f"Next lesson: {following.title}",
                ":material/arrow_forward:",
                {"lesson": following.key, "step": "1", **class_panel.address()},
                key="next",  # for the arrow keys of a presentation
            )


# 1 to 3


def _story(lesson: Lesson, prepared: Prepared) -> None:
    for paragraph in lesson.story:
        st.markdown(shell.plain(paragraph))
    _gallery(_story_pictures(lesson.key))
    st.info(shell.SYNTHETIC, icon=":material/draw:")
    if not (prepared.is_ready or prepared.is_active):
        st.caption("It can be prepared while you think about your prediction.")
        _prepare_button(lesson, prepared)


@st.cache_data(max_entries=8, show_spinner=False)
def _story_pictures(key: str) -> list[Picture]:
    return pictures.of_story(catalogue.named(key))


def _predict(lesson: Lesson, _prepared: Prepared) -> None:
    if st.session_state.pop("lesson_sent_back", "") == lesson.key:
        st.info("The outcome comes after your prediction.", icon=":material/lock:")
    st.markdown(f"**{shell.plain(lesson.prediction_question)}**")
    prediction = prediction_of(lesson)
    if prediction is not None:
        st.success(f"You predicted {decimals(prediction, 0)} %.", icon=":material/check_circle:")
        withdraw = {"on_click": shell.tried, "args": (classroom.withdraw, *_own(lesson))}
        st.button("Predict again", key="predict-again", **withdraw)
    if class_panel.address() and (_is_revealed(lesson) or class_panel.is_opener()):
        class_panel.live(lesson)
    if prediction is not None:
        return
    field = f"prediction-{lesson.key}"
    st.number_input("Your prediction, %", 0, 100, None, 1, key=field, placeholder="0 to 100", width=220)
    if st.session_state.pop(EMPTY, "") == lesson.key:
        st.warning("Enter a number from 0 to 100 first.", icon=":material/edit:")
    with st.container(horizontal=True):
        st.button(
            "Keep my prediction",
            key="keep-prediction",
            type="primary",
            icon=":material/lock:",
            on_click=shell.tried,  # enabled before Enter too: a click on a disabled button is lost
            args=(_store_entered, lesson, field),
        )
        if not _is_revealed(lesson):
            st.button(
                "Go on without predicting",
                key="show-anyway",
                type="tertiary",
                help="For whoever presents the lesson.",
                on_click=shell.tried,
                args=(_store_prediction, lesson, None),
            )


def _store_entered(lesson: Lesson, field: str) -> None:
    value = st.session_state.get(field)
    if value is None:
        st.session_state[EMPTY] = lesson.key
    else:
        _store_prediction(lesson, value)


def _store_prediction(lesson: Lesson, percent: float | None) -> None:
    classroom.predict(*_own(lesson, (percent,)))
    if not class_panel.address():  # in a class, the predictions of all come first
        _go(RUNS)


def _runs(lesson: Lesson, prepared: Prepared) -> None:
    names = ", ".join(training.name for training in lesson.trainings)
    networks = plural(len(lesson.trainings), "network")
    st.markdown(shell.plain(f"{count(lesson.images)} images are drawn and {networks} trained on them: {names}."))
    if prepared.job is not None:
        _job(lesson, prepared)
    if prepared.is_active:
        return
    if prepared.is_ready:
        seconds = prepared.job.result.get("seconds")
        drawn = f"Images of seed {prepared.seed}." if prepared.seed else ""
        st.success(f"Prepared in {duration(seconds)} on this computer. {drawn}".strip(), icon=":material/check_circle:")
        other = "The same recipe with other patients: does it come out again?"
        if not class_panel.why_shared(lesson):
            options = {"icon": ":material/casino:", "help": other, "on_click": shell.tried}
            st.button("Do it again with other images", key="again", args=(_prepare_anew, lesson, prepared), **options)
        return
    if prepared.job is None or prepared.is_outdated:
        _prepare_button(lesson, prepared)


def _prepare_anew(lesson: Lesson, prepared: Prepared) -> None:
    """With other images, in place of those that are prepared."""
    classroom.check_shared(shell.workspace(), class_panel.visitor(), lesson.key)
    _prepare(lesson, prepared.seed + 1)


def _job(lesson: Lesson, prepared: Prepared) -> None:
    """Progress, whoever started it, or why it left nothing."""
    job_panel.panel(
        lambda: queue.jobs(prepared.place, LessonRequest),
        again=lambda job: _prepare(lesson, prepared.seed),
    )
    if prepared.is_outdated and prepared.status.state == store.COMPLETED:
        st.warning("Another version of Second Look prepared it. Prepare it again.", icon=":material/update:")


def _prepare_button(lesson: Lesson, prepared: Prepared) -> None:
    label = "Prepare the lesson" if prepared.status is None else "Try again"
    options = {"icon": ":material/play_arrow:", "on_click": shell.tried, "args": (_prepare, lesson, prepared.seed)}
    st.button(label, key="prepare", type="primary", **options)
    st.caption(f"It takes about {expected(lesson)}.")


def _prepare(lesson: Lesson, seed: int) -> None:
    """Prepare the lesson for this browser with the images of that seed."""
    preparation.prepare(shell.workspace(), lesson.key, seed, class_panel.visitor())


def _not_ready(lesson: Lesson, prepared: Prepared) -> None:
    if prepared.is_active:
        st.info("The lesson is being prepared; this step fills when it is ready.", icon=":material/hourglass_top:")
        return
    st.info("The lesson is not prepared yet.", icon=":material/play_arrow:")
    if prepared.job is not None:
        _job(lesson, prepared)
    st.button("To the runs", key="to-runs", type="primary", on_click=_go, args=(RUNS,))


# 4 to 7


def outcome_of(lesson: Lesson, prepared: Prepared) -> Outcome:
    """What came out, read once for all sessions. Raises UnknownId, RunDamaged or DataError."""
    return _outcome(lesson.key, str(prepared.job.path), prepared)


@st.cache_resource(max_entries=8, show_spinner="Reading the predictions")
def _outcome(key: str, path: str, _prepared: Prepared) -> Outcome:
    return outcomes.of(catalogue.named(key), _prepared)


@st.cache_resource(max_entries=8, show_spinner="Reading images")
def _pictures(key: str, path: str, _prepared: Prepared, _outcome: Outcome) -> list[Picture]:
    return pictures.of_outcome(catalogue.named(key), _prepared, _outcome)


def _came_out(lesson: Lesson, prepared: Prepared) -> None:
    outcome = outcome_of(lesson, prepared)
    prediction = prediction_of(lesson)
    st.markdown(f"#### {shell.plain(outcome.headline)}")
    if prediction is not None:
        st.markdown(f"**{shell.plain(outcome.against(prediction))}**")
    else:
        st.caption(shell.plain(f"The question was: {lesson.prediction_question}"))
    if class_panel.address():
        class_panel.live(lesson, 100 * outcome.result.value)
    if not outcome.came_out:
        st.warning(
            "The effect is not clear on these images. That can be chance: try other images.",
            icon=":material/casino:",
        )
    for sentence in outcome.details:
        st.markdown(shell.plain(sentence))
    shell.table(outcomes.table(outcome), f"lesson-{lesson.key}")
    _gallery(_pictures(lesson.key, str(prepared.job.path), prepared, outcome))
    points = outcomes.class_points(outcome)
    classes = list(dict.fromkeys(points["label"]))
    shell.chart(
        figures.class_measures(points, classes, "Sensitivity"),
        f"lesson-{lesson.key}-classes",
        alt="Sensitivity of each model for each class: with 95 % intervals; the table above has the figures",
        caption="Bars: 95 % intervals",
    )
    with st.expander("Predicted classes", icon=":material/grid_on:"), st.grid(2, min_column_width=280):
        for place, row in enumerate(outcome.rows):
            with st.container():
                st.markdown(f"**{shell.plain(row.name)}**")
                figure = figures.confusion_matrix(metrics.confusion(row.predictions))
                shell.chart(
                    figure, f"lesson-{lesson.key}-confusion-{place}", alt=f"Images by label and prediction: {row.name}"
                )
    st.caption("All intervals are 95 %. The figures are computed from the predictions of this lesson's runs.")


def _why(lesson: Lesson, prepared: Prepared) -> None:
    st.markdown(shell.plain(outcome_of(lesson, prepared).headline))
    st.markdown("**To remember**")
    st.markdown("\n".join(f"- {shell.plain(sentence)}" for sentence in lesson.why))
    st.markdown("**What protects**")
    for page, sentence in lesson.guards:
        with st.container(border=True):
            st.markdown(shell.plain(sentence))
            st.page_link(f"{page}.py", icon=":material/arrow_forward:")


def _your_images(lesson: Lesson, _prepared: Prepared) -> None:
    dataset = shell.pick_dataset()
    if dataset is None:
        import_jobs.no_dataset()
        return
    started = f"lesson-check-{dataset.version}"
    if (
        lesson.key == catalogue.TAG
        and started not in st.session_state
        and own_data.audited_ladder(shell.workspace(), dataset) is None
    ):
        st.markdown(
            "Shortcut learning: can the class be predicted without the lungs? Four probes are trained and tested."
        )
        st.button(
            "Check these images",
            key="check-images",
            type="primary",
            on_click=st.session_state.update,
            args=({started: True},),
        )
        return
    usable = shell.usable_runs(predicting=True)[0]
    check = _check(lesson.key, dataset.version, tuple(run.id for run in usable), dataset, usable)
    for place, sentence in enumerate(check.sentences):
        st.markdown(f"**{shell.plain(sentence)}**" if not place else shell.plain(sentence))
    if check.ladder is not None:
        words = ladders.ladder_in_words(check.ladder)
        figure = ladders.ladder_bars(check.ladder)
        shell.chart(figure, "lesson-ladder", alt=words, title="Accuracy of each probe", caption=words)
    if check.table is not None:
        shell.table(check.table, f"lesson-{lesson.key}-own")
    st.page_link(f"{check.page}.py", icon=":material/arrow_forward:")


@st.cache_resource(max_entries=16, show_spinner="Checking these images")
def _check(key: str, version: str, runs: tuple[str, ...], _dataset: Dataset, _runs: list[store.Run]) -> own_data.Check:
    return own_data.check(catalogue.named(key), shell.workspace(), _dataset, _runs)


def _summary(lesson: Lesson, prepared: Prepared) -> None:
    outcome = outcome_of(lesson, prepared)
    prediction = prediction_of(lesson)
    st.markdown(f"**{shell.plain(lesson.question)}**")
    st.markdown(shell.plain(outcome.headline))
    st.markdown(shell.plain(outcome.against(prediction)) if prediction is not None else "Nothing was predicted.")
    shell.table(outcomes.table(outcome), f"lesson-{lesson.key}-summary")
    st.markdown("\n".join(f"- {shell.plain(sentence)}" for sentence in lesson.why))
    _handout([lesson], f"lesson-{lesson.key}")


def _handout(lessons: Sequence[Lesson], name: str) -> None:
    """The summary to print. A job makes it, which goes on when the page is closed."""
    prepared = [preparation.state_of(shell.workspace(), lesson.key).job for lesson in lessons]
    request = HandoutRequest(
        lessons={lesson.key: prediction_of(lesson) for lesson in lessons}, prepared=[job.id for job in prepared if job]
    )

    def listed() -> list[queue.Job[HandoutRequest]]:
        return [job for job in queue.jobs(shell.workspace(), HandoutRequest) if job.request == request]

    working = job_panel.panel(listed)
    made = [job for job in listed() if job.status.state == store.COMPLETED]
    if made:
        st.download_button(
            "Summary to print",
            made[-1].folder.result["page"].encode(),
            f"{name}.html",
            "text/html",
            key=f"download-{name}",
            icon=":material/print:",
            help="One page with predictions, outcomes, figures and pictures. Open it in a browser and print it.",
        )
    elif not working:
        options = {"icon": ":material/summarize:", "key": f"make-{name}"}
        job_panel.start_button("Make the summary to print", request, **options)


DRAWN = (_story, _predict, _runs, _came_out, _why, _your_images, _summary)


def _gallery(shown: Sequence[Picture]) -> None:
    with st.grid(3, min_column_width=TILE, gap="small"):
        for one in shown:
            with st.container(gap=None):
                st.image(one.pixels, width="stretch", alt=one.caption)
                st.caption(shell.plain(one.caption))


# Reset and what concerns all lessons


def expected(lesson: Lesson) -> str:
    """How long its preparation takes, in words."""
    return roughly(preparation.expected_seconds(shell.workspace(), lesson.key))


def state_in_words(lesson: Lesson, prepared: Prepared) -> str:
    """How far a lesson is."""
    if prepared.is_ready:
        return f"Prepared in {duration(prepared.job.result.get('seconds'))}."
    if prepared.is_active:
        return f"Being prepared: {share(prepared.status.progress, 0)}."
    if prepared.status is None:
        return f"Not prepared yet. Preparation takes about {expected(lesson)}."
    return "Its preparation has ended early. Open it for the reason."


def foot_of_all(prepared: Mapping[str, Prepared]) -> None:
    """The summary of all lessons that are ready and may be seen, and the reset of all."""
    shown = [lesson for lesson in LESSONS if prepared[lesson.key].is_ready and _is_revealed(lesson)]
    if shown:
        _handout(shown, "lessons")
    there = [lesson for lesson in LESSONS if prepared[lesson.key].status is not None]
    if there:
        _reset_popover(there, "Reset all lessons", "reset-all")


def _reset_popover(lessons: Sequence[Lesson], label: str, key: str) -> None:
    """Begin lessons anew; what other browsers use stays."""
    if class_panel.address() and not class_panel.is_opener():
        st.caption(classroom.NOT_OPENER)
        return
    shared = {lesson: class_panel.why_shared(lesson) for lesson in lessons}
    gone = [lesson for lesson, reason in shared.items() if not reason]
    whose = "predictions of the class" if class_panel.is_opener() else "prediction of this browser"
    what = [f"the {whose} of: {' and '.join(lesson.title for lesson in lessons)}"]
    if gone:
        images, runs = sum(lesson.images for lesson in gone), sum(len(lesson.trainings) for lesson in gone)
        what.insert(0, f"{plural(images, 'image')} and {plural(runs, 'run')}, also a preparation at work")
    reasons = " ".join(sorted(set(filter(None, shared.values()))))
    question = f"Remove {' and '.join(what)}? {reasons} Your own data sets and runs are not changed."
    options = {"key": key, "on_click": _reset, "args": (lessons,), "right": access.LESSON}
    shell.confirm(label, shell.plain(question), "Reset now", ":material/restart_alt:", **options)


def _reset(lessons: Sequence[Lesson]) -> None:
    for lesson in lessons:
        classroom.reset(*_own(lesson))
    if st.query_params.get("lesson"):
        _go(STORY)
