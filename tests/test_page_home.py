"""The Home page: what is there, and the one next step in every situation."""

import pytest
from made_runs import all_parts, made_run
from streamlit.testing.v1 import AppTest

from covid_core.data import importing
from covid_core.runs import jobs, store

PARTS = {"train": 6, "validation": 3, "test": 3}


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    monkeypatch.setenv("SECOND_LOOK_ALLOW_REMOTE", "1")


@pytest.fixture
def dataset(workspace, film_folder):
    return importing.import_folder(workspace, film_folder({"COVID": 5, "Normal": 7}), "Films")


def opened(**session: object) -> AppTest:
    page = AppTest.from_file("../app.py", default_timeout=60)
    for name, value in session.items():
        page.session_state[name] = value
    page.run()
    assert not page.exception
    return page


def next_step(page: AppTest) -> str:
    return next(button.label for button in page.button if button.key in ("next-step", "start-phantom"))


def words(page: AppTest) -> str:
    return "\n".join(element.value for kind in (page.markdown, page.caption) for element in kind).replace("\\", "")


def test_with_nothing_loaded_it_offers_synthetic_films(workspace):
    assert next_step(opened()) == "Draw 600 synthetic films"


def test_one_click_starts_to_draw_synthetic_films(workspace, monkeypatch):
    started = []
    monkeypatch.setattr(jobs, "launch", lambda folder: started.append(folder.request()["kind"]))
    opened().button(key="start-phantom").click().run()
    assert started == ["phantom"]


def test_films_that_nobody_looked_at_are_looked_at_next(workspace, dataset):
    assert next_step(opened()) == "Look at the films"


def test_films_that_were_looked_at_are_trained_on_next(workspace, dataset):
    assert next_step(opened(dataset_in_use=dataset.id)) == "Train a model"


def test_a_trained_model_is_compared_next(workspace, dataset):
    made_run(workspace, all_parts(PARTS, 1))
    assert next_step(opened()) == "See what the models are worth"


def test_a_failed_run_is_no_model(workspace, dataset):
    made_run(workspace, all_parts(PARTS, 1), state=store.FAILED)
    assert "no trained model yet" in words(opened())


def test_it_counts_what_is_there(workspace, dataset):
    made_run(workspace, all_parts(PARTS, 1))
    assert "12 films in 1 data set, 1 trained model." in words(opened())


@pytest.mark.parametrize("reader", ["Radiologist", "Instructor", "Student"])
def test_it_says_where_each_reader_starts(workspace, reader):
    assert f"**{reader}**" in words(opened())


def test_it_says_that_it_is_for_research(workspace):
    assert "Not a medical device." in words(opened())


def test_a_damaged_run_does_not_disturb_it(workspace, dataset):
    run = made_run(workspace, all_parts(PARTS, 1))
    (run.path / "status.json").write_text("{")
    assert next_step(opened()) == "Look at the films"
