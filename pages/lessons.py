"""Lessons: four ways a model fools you, each predicted, shown, explained, and checked in one's own images."""

import streamlit as st

from covid_core.errors import CovidCoreError
from covid_core.lessons import catalogue, preparation
from covid_core.lessons.catalogue import LESSONS, Lesson
from pages.panels.lessons import class_panel, lesson_steps
from pages.shared import notices, presentation, shell

PAGE = "lessons.py"


def main() -> None:
    """One lesson where the address names one, else all four."""
    key = st.query_params.get("lesson")
    if not key:
        class_panel.code()
        _overview()
        return
    try:
        lesson = catalogue.named(key)
    except CovidCoreError as error:
        shell.heading("Which lesson is this?", shell.plain(error))
        lesson_steps.to_overview()
        notices.watch()
        return
    lesson_steps.show(lesson)


def _overview() -> None:
    """The four lessons with their questions, how far each is, and what concerns them all."""
    prepared = {lesson.key: preparation.state_of(shell.workspace(), lesson.key) for lesson in LESSONS}
    ready = sum(one.is_ready for one in prepared.values())
    shell.heading(
        "How does a model fool me?",
        f"In four ways. Each lesson shows one in a few minutes. {ready} of {len(LESSONS)} lessons "
        f"{'is' if ready == 1 else 'are'} prepared.",
    )
    st.caption(
        "Each lesson draws synthetic images and trains small networks on them. Your lists of data sets and runs never "
        "hold them. A reset removes them."
    )
    class_panel.overview()
    with st.grid(2, min_column_width=320):
        for lesson in LESSONS:
            _card(lesson, prepared[lesson.key])
    lesson_steps.foot_of_all(prepared)
    notices.watch()


def _card(lesson: Lesson, prepared: preparation.Prepared) -> None:
    with st.container(border=True, height="stretch", key=f"lesson-{lesson.key}"):
        st.markdown(f"**{catalogue.number_of(lesson)}. {lesson.title}**")
        st.markdown(lesson.question)
        st.caption(lesson_steps.state_in_words(lesson, prepared))
        presentation.link(
            PAGE,
            f"Open “{lesson.title}”",
            ":material/arrow_forward:",
            {"lesson": lesson.key, "step": "1", **class_panel.address()},
            key=f"open-{lesson.key}",
        )


main()
