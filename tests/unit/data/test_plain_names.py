"""Names are plain text everywhere: what somebody called a class, an image, a source, a data set, a run or a study, and
what they wrote, is shown letter by letter on every page, and asks no host for a picture."""

import json
import re
from collections.abc import Iterator
from typing import Any

import hostile_names
import page_tests
import pytest
from google.protobuf.message import Message
from hostile_names import ILL, PLACES, hostile, of_file
from made_data import image
from streamlit.testing.v1 import AppTest
from trained_runs import tiny_run

from covid_core.data.dataset import Dataset
from covid_core.images.codec import png_bytes
from covid_core.lessons.catalogue import LESSONS
from covid_core.runs.store import Run
from covid_core.workspace import Workspace
from pages.panels.dataset.import_form import OWN
from pages.panels.train.spec_fields import key_of

# What Streamlit shows as it stands, or does not show: everything else that is text is Markdown to it.
LITERAL = {
    *("id", "form_id", "key", "query_param_key", "query_string", "page", "url", "raw_value", "raw_values", "alt"),
    *("placeholder", "icon", "content_icon", "js_content", "css_content", "html_content", "default_tab_label"),
    *("Selectbox.options", "MultiSelect.options", "TextInput.default", "TextInput.value", "Code.code_text"),
    *("Dataframe.columns", "BidiComponent.json", "MixedData.json", "PlotlyChart.config", "PlotlyChart.spec"),
}
ADDRESSES = [hostile("address"), "../../etc/passwd", "%2e%2e/a\0b", "x" * 10_000, "-1"]
PARAMETERS = (
    *("add", "class", "coverage", "dataset", "glossary", "image", "lesson", "pair", "point", "present", "run", "runs"),
    *("step", "study", "tab", "view"),
)
RAW, TWICE = re.compile(r"(?<!\\)\[p\b"), re.compile(r"\\\\\\?\[p\b")  # of Markdown: as it was, and escaped twice


@pytest.fixture(scope="module")
def images(place: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return hostile_names.images(place, tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def runs(place: Workspace, images: Dataset) -> list[Run]:
    return hostile_names.runs(place)


@pytest.fixture(autouse=True)
def here(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVID_CORE_HOME", str(place.root))
    monkeypatch.setenv("SECOND_LOOK_ALLOW_REMOTE", "1")


def texts(app: AppTest) -> Iterator[tuple[str, str]]:
    """Every text of a page with the name of its field, of all elements and blocks."""
    waiting: list[Any] = [app._tree]
    while waiting:
        node = waiting.pop()
        waiting.extend(getattr(node, "children", {}).values())
        if isinstance(getattr(node, "proto", None), Message):
            yield from fields(node.proto)


def fields(message: Message) -> Iterator[tuple[str, str]]:
    for field, value in message.ListFields():
        for one in value if field.is_repeated else [value]:
            if isinstance(one, Message):
                yield from fields(one)
            elif isinstance(one, str):
                yield f"{message.DESCRIPTOR.name}.{field.name}", one


def is_literal(field: str) -> bool:
    return field in LITERAL or field.rpartition(".")[2] in LITERAL


def wrong(app: AppTest) -> list[tuple[str, str]]:
    """Texts that show a name other than letter by letter."""
    found = []
    for field, text in texts(app):
        if field == "PlotlyChart.spec":
            found += [(field, one) for one in strings(json.loads(text)) if "<b>n" in one or "%{k}" in one]
        elif is_literal(field):
            found += [(field, text)] * ("\\[p" in text and not field.endswith((".json", ".columns", ".raw_values")))
        else:
            found += [(field, text)] * bool(RAW.search(text) or TWICE.search(text))
    return found


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from strings(one)


def assert_plain(app: AppTest, some: bool = True) -> None:
    assert not some or any("[p" in text for _, text in texts(app)), "no name stands here, so nothing was tested"
    assert not app.exception
    assert wrong(app) == []


def find(app: AppTest, prefix: str) -> Any:
    """The first button whose key begins so."""
    return next(one for one in app.button if (one.key or "").startswith(prefix))


@pytest.mark.parametrize(
    ("page", "address"), PLACES, ids=lambda one: one if isinstance(one, str) else "".join(one.values())
)
def test_on_every_page_and_tab(images, runs, page, address):
    about = {"dataset": images.id} if page in ("dataset", "audit", "train") else {}
    assert_plain(page_tests.opened(page, **about, **address))


@pytest.mark.parametrize("address", ADDRESSES, ids=range(len(ADDRESSES)))
@pytest.mark.parametrize("page", ["home", "dataset", "audit", "train", "compare", "predict", "lessons"])
def test_whatever_an_address_asks_for(images, runs, page, address):
    assert_plain(page_tests.opened(page, **dict.fromkeys(PARAMETERS, address)), some=False)


def test_in_the_gallery_of_one_class(images):
    assert_plain(page_tests.opened("dataset", {f"images-view-{images.id}": ILL}, dataset=images.id, tab="Images"))


def test_where_no_image_of_a_class_is_called_so(images):
    session = {f"images-view-{images.id}": ILL, "images-search": hostile("none")}
    assert_plain(page_tests.opened("dataset", session, dataset=images.id, tab="Images"))


def test_on_an_open_image(images):
    assert_plain(page_tests.opened("dataset", dataset=images.id, image=images.images["image_id"].iat[0]))


def test_where_a_image_is_not_there(images):
    assert_plain(page_tests.opened("dataset", dataset=images.id, image=hostile("gone")))


def test_where_data_sets_are_added_and_removed(images, runs, tmp_path):
    (tmp_path / of_file("folder") / of_file("ill")).mkdir(parents=True)
    (tmp_path / of_file("folder") / of_file("ill") / "one.png").write_bytes(png_bytes(image(1)))
    session = {"manage": True, "import-way": OWN}
    app = page_tests.opened("dataset", session, dataset=images.id)
    app.text_input(key="import-path").set_value(str(tmp_path / of_file("folder"))).run()
    assert app.multiselect
    assert_plain(app)
    find(app, f"delete-{images.id}").click().run()
    assert_plain(app)


@pytest.mark.parametrize("action", ["Leave out the first", "Change class of the first", "Dismiss"])
def test_where_something_is_decided(images, action):
    app = page_tests.opened("audit", dataset=images.id, tab="Duplicates")
    find(app, f"pair-{action}").click().run()
    assert_plain(app)


def test_where_the_images_of_a_class_are_chosen_on_the_map(images):
    app = page_tests.opened("audit", dataset=images.id, tab="Map")
    app.button(key="map-choose-group").click().run()
    assert_plain(app)


@pytest.mark.parametrize("tab", [":material/playlist_play: Studies", ":material/list: Runs"])
def test_in_the_lists_of_runs_and_studies(images, runs, tab):
    assert_plain(page_tests.opened("train", {"train-sections": tab}, dataset=images.id))


@pytest.mark.parametrize("position", [0, 1])
def test_on_a_runs_own_page(runs, position):
    assert_plain(page_tests.opened("train", run=runs[position].id))


def test_where_a_training_is_planned_by_source_with_changed_images(images):
    app = page_tests.opened("train", dataset=images.id)
    app.radio(key=key_of("split_method")).set_value("by_source").run()
    app.toggle(key=key_of("flip")).set_value(True).run()
    assert_plain(app)


@pytest.mark.parametrize("lesson", [one.key for one in LESSONS])
def test_in_a_lesson_about_these_images(images, runs, lesson):
    session = {"lesson_predictions": {lesson: None}, f"lesson-check-{images.version}": True}
    assert_plain(page_tests.opened("lessons", session, lesson=lesson, step="6", dataset=images.id))


@pytest.fixture(scope="module")
def trained(place: Workspace, images: Dataset) -> Run:
    return tiny_run(place, images, name=hostile("trained"))


@pytest.mark.slow
def test_in_answers_about_images(trained):
    app = page_tests.opened("predict", run=trained.id)
    for number in range(2):
        app.file_uploader[0].upload(f"{of_file('image')} {number}.png", png_bytes(image(number)))
    app.file_uploader[0].upload(f"{of_file('letter')}.png", b"no picture")
    app.run()
    assert_plain(app)


@pytest.mark.slow
def test_in_the_answer_about_one_image(trained, images):
    app = page_tests.opened("predict", run=trained.id, image=images.images["image_id"].iat[0])
    for button in app.button:
        if button.label == "Show the scores anyway":
            button.click().run()
            break
    assert_plain(app)


@pytest.mark.slow
@pytest.mark.parametrize("view", ["Images", "Evidence check", "Confusion", "Outside test", "Calibration"])
def test_in_the_comparison_of_a_run_with_its_images(trained, view):
    assert_plain(page_tests.opened("compare", runs=trained.id, view=view))


@pytest.mark.slow
def test_on_a_image_that_runs_are_asked_about(trained, images):
    app = page_tests.opened("compare", runs=trained.id, view="Images")
    find(app, "tab-").click().run()
    assert_plain(app)
