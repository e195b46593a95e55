"""Names are plain text everywhere: what somebody called a class, an image, a source, a data set, a run or a study, and
what they wrote, is shown letter by letter on every page, and asks no host for a picture."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import page_tests
import pytest
from google.protobuf.message import Message
from made_audits import keep_audit
from made_data import database_folders, image
from made_runs import all_parts, made_repeats, made_run
from made_segmenters import made_segmenter
from streamlit.testing.v1 import AppTest
from trained_runs import tiny_run

from covid_core.audit import dataset_audit
from covid_core.audit.embedding import embedding_map
from covid_core.data import dataset as data
from covid_core.data import decisions
from covid_core.data.dataset import Dataset
from covid_core.data.decisions import DISMISS, LEAVE_OUT, RELABEL, Decision
from covid_core.data.imports import importing
from covid_core.images.codec import png_bytes
from covid_core.inference import external_test
from covid_core.lessons.catalogue import LESSONS
from covid_core.runs import store
from covid_core.runs.store import EvaluationRecord, Run, Status
from covid_core.workspace import Workspace
from pages.panels.train.spec_fields import key_of

# What Streamlit shows as it stands, or does not show: everything else that is text is Markdown to it.
LITERAL = {
    *("id", "form_id", "key", "query_param_key", "query_string", "page", "url", "raw_value", "raw_values", "alt"),
    *("placeholder", "icon", "content_icon", "js_content", "css_content", "html_content", "default_tab_label"),
    *("Selectbox.options", "MultiSelect.options", "TextInput.default", "TextInput.value", "Code.code_text"),
    *("Dataframe.columns", "BidiComponent.json", "MixedData.json", "PlotlyChart.config", "PlotlyChart.spec"),
}
RAW, TWICE = re.compile(r"(?<!\\)\[p\b"), re.compile(r"\\\\\\?\[p\b")  # of Markdown: as it was, and escaped twice


def hostile(kind: str) -> str:
    """A name that is a picture from elsewhere in Markdown, a tag to Plotly, and a figure's value in its templates."""
    return f"{kind} ![p](https:evil.invalid) <b>n %{{k}}"


ILL, WELL = hostile("ill"), hostile("well")
SOURCES = [hostile("here"), hostile("there") + " https://evil.invalid/a"]
SIZES = {"train": 60, "validation": 30, "test": 30}


@pytest.fixture(scope="module")
def images(place: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A data set of such names, with copies, files that cannot be read, an audit, a map, and decisions."""
    folder = tmp_path_factory.mktemp("images")
    database_folders(folder, {ILL: 16, WELL: 18}, {ILL: SOURCES, WELL: SOURCES})
    for number, label in enumerate((ILL, WELL)):
        images = folder / label / "images"
        for path in sorted(images.iterdir())[:3]:  # one picture under two classes, and under two names
            (images / f"{hostile('again')} {path.name}").write_bytes(png_bytes(image(int(path.stem.split("-")[-1]))))
        (images / f"{hostile('torn')} {number}.png").write_bytes(b"no picture")
    made = importing.import_folder(place, folder, hostile("images"))
    other = database_folders(tmp_path_factory.mktemp("other"), {ILL: 6, WELL: 6})
    against = importing.import_folder(place, other, hostile("other"))
    dataset_audit.make(place, made, against)
    embedding_map.make(place, made)
    names, note = list(made.images["image_id"]), hostile("because")
    wanted = [
        Decision(RELABEL, names[5], after=WELL, note=note),
        Decision(LEAVE_OUT, names[6], note=note),
        *decisions.together([names[7], names[8]], note),
        Decision(DISMISS, names[9], finding="no lungs", note=note),
    ]
    data.decide(place, made.id, wanted, hostile("Ada"))
    return data.open_dataset(place, made.id)


@pytest.fixture(scope="module")
def runs(place: Workspace, images: Dataset) -> list[Run]:
    """Runs of such names with all that is kept of a run, studies, segmenters, and what is broken."""
    made = [
        made_run(place, all_parts(SIZES, skill, seed, (ILL, WELL)), hostile(f"run {seed}"), note=hostile("note"))
        for seed, skill in enumerate((3.0, 0.3))
    ]
    for run in made:
        keep_audit(run, largest={"label": ILL, "share": 0.5, "images": 60})
        keep_evaluation(run)
    for name, skill in (("study", 2.0), ("study two", 0.5)):
        made_repeats(place, hostile(name), skill)
    made_run(place, all_parts(SIZES, 1, 7, (ILL, WELL)), hostile("failed"), state=store.FAILED)
    broken = made_run(place, all_parts(SIZES, 1, 8, (ILL, WELL)), hostile("broken"))
    (broken.path / "run.json").write_text(hostile("{"))
    for dataset in ("images", "others"):
        made_segmenter(place, hostile(dataset))
    failed = store.create_job(place, "import", {"source": "/" + hostile("folder"), "name": hostile("import")})
    now = time.time()
    failed.write_status(Status(store.FAILED, reason=hostile("why"), started=now, updated=now, ended=now))
    (place.datasets / "damaged").mkdir()
    (place.datasets / "damaged" / "import.json").write_text(hostile("{"))
    return made


def keep_evaluation(run: Run) -> None:
    table = all_parts({external_test.OUTSIDE: 40}, 1.0, classes=(ILL, WELL))
    table = table.assign(own_label=table["label"], twin=None, twin_label=ILL, twin_part="train", detail=0.99)
    table.loc[:1, "twin"] = hostile("twin")
    facts = {
        "created": time.time(),
        "dataset": {"id": "elsewhere", "name": hostile("elsewhere"), "version": "1"},
        "classes": {ILL: ILL, WELL: WELL},
        "unknown": {hostile("unknown"): 3},
        "shared": 2,
        "conflicts": 1,
    }
    run.write_evaluation(EvaluationRecord.model_validate(facts), table)


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


def assert_plain(app: AppTest) -> None:
    assert any("[p" in text for _, text in texts(app)), "no name stands here, so nothing was tested"
    assert not app.exception
    assert wrong(app) == []


def find(app: AppTest, prefix: str) -> Any:
    """The first button whose key begins so."""
    return next(one for one in app.button if (one.key or "").startswith(prefix))


PLACES = [
    ("home", {}),
    *(("dataset", {"tab": tab}) for tab in ("Overview", "Images", "Pixels", "Sizes and sources", "Left out")),
    *(
        ("audit", {"tab": tab})
        for tab in ("Findings", "Duplicates", "Shortcut learning", "Another data set", "Map", "Decisions")
    ),
    ("train", {}),
    ("train", {"study": "any"}),
    *(
        ("compare", {"view": view})
        for view in (
            *("Measures", "Evidence check", "Per class", "Pairs", "Confusion", "Images", "Calibration"),
            *("Outside test", "Repeats", "Curves", "ROC and precision-recall", "Hyper-parameters", "Cost", "Scores"),
        )
    ),
    ("predict", {}),
]


@pytest.mark.parametrize(
    ("page", "address"), PLACES, ids=lambda one: one if isinstance(one, str) else "".join(one.values())
)
def test_on_every_page_and_tab(images, runs, page, address):
    about = {"dataset": images.id} if page in ("dataset", "audit", "train") else {}
    assert_plain(page_tests.opened(page, **about, **address))


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
    (tmp_path / hostile("folder") / ILL).mkdir(parents=True)
    (tmp_path / hostile("folder") / ILL / "one.png").write_bytes(png_bytes(image(1)))
    session = {"manage": True, "import-way": "Folder or zip on this machine"}
    app = page_tests.opened("dataset", session, dataset=images.id)
    app.text_input(key="import-path").set_value(str(tmp_path / hostile("folder"))).run()
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
        app.file_uploader[0].upload(f"{hostile('image')} {number}.png", png_bytes(image(number)))
    app.file_uploader[0].upload(f"{hostile('letter')}.png", b"no picture")
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
