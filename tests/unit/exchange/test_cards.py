"""Cards: an item is ticked by what files show, and by nothing else."""

from collections.abc import Callable

import made_predictions
import pytest
from made_images import write_images

from covid_core import files
from covid_core.data.dataset import Dataset
from covid_core.data.imports import importing
from covid_core.errors import InvalidChoice, UnknownId
from covid_core.exchange.cards import card, checklists
from covid_core.exchange.cards.checklists import NOT_APPLICABLE, OPEN, TICKED
from covid_core.exchange.cards.evidence import EVIDENCE, Subject
from covid_core.runs import store
from covid_core.runs.store import Run

CLASSES = ("COVID", "Normal", "Viral Pneumonia")
HOSTILE = "<script>alert(1)</script> *a* [b](c) | d"


@pytest.fixture(scope="module")
def images(place, tmp_path_factory) -> Dataset:
    folder = write_images(tmp_path_factory.mktemp("made") / "images", dict.fromkeys(CLASSES, 20), 40)
    return importing.import_path(place, folder, "Made")


@pytest.fixture
def run(place, images) -> Run:
    """A finished run with a few entries in its result."""
    return made_predictions.finished_on(place, images, HOSTILE, versions={"keras": "3"}, epochs_done=5, best_epoch=4)


def states(made: card.Card, title: str) -> dict[str, str]:
    return {item.number: item.state for one in made.checklists if one.title == title for item in one.items}


def test_the_guidelines_have_their_numbers_of_items(place, images):
    made = card.of_dataset(place, images)
    numbers = {one.title: [item.number for item in one.items] for one in made.checklists}
    assert {title: len(set(of)) for title, of in numbers.items()} == {"CLAIM 2024": 44, "TRIPOD+AI": 52, "STARD-AI": 48}
    assert {title: len({one.rstrip("abcdefg") for one in of}) for title, of in numbers.items()} == {
        "CLAIM 2024": 44,
        "TRIPOD+AI": 27,
        "STARD-AI": 40,
    }


def test_every_ticked_item_names_the_file_that_shows_it(place, run):
    made = card.of_run(place, run)
    ticked = [item for one in made.checklists for item in one.items if item.state == TICKED]
    assert ticked
    assert all(item.shown and all(one.where for one in item.shown) for item in ticked)


@pytest.mark.parametrize(
    ("number", "entries"), [("23", {"versions": None}), ("26", {"best_epoch": None}), ("25", {"epochs_done": None})]
)
def test_an_item_is_open_where_the_file_does_not_show_it(place, run, number, entries):
    before = states(card.of_run(place, run), "CLAIM 2024")
    kept = {name: value for name, value in run.result.items() if name not in entries}
    files.write_json(run.path / "result.json", kept)
    after = states(card.of_run(place, store.open_run(place, run.id)), "CLAIM 2024")
    assert (before[number], after[number]) == (TICKED, OPEN)
    assert {name for name in before if before[name] != after[name]} == {number}


def test_what_authors_have_to_write_is_never_ticked(place, run):
    made = card.of_run(place, run)
    assert all(
        states(made, "CLAIM 2024")[number] == OPEN for number in ("1", "2", "3", "4", "5", "15", "16", "40", "44")
    )
    assert all(states(made, "TRIPOD+AI")[number] == OPEN for number in ("17", "18a", "18d", "19", "27c"))
    assert all(states(made, "STARD-AI")[number] == OPEN for number in ("6", "12", "32", "36", "38"))


def test_what_is_known_of_some_images_only_does_not_tick(place, images):
    known = images.images.assign(source="hospital")
    part = known.assign(source=["hospital", *[""] * (len(known) - 1)])
    for table, state in ((images.images, OPEN), (part, OPEN), (known, TICKED)):
        subject = Subject(place, None, Dataset(images.id, images.folder, images.info, table))
        (claim,) = (one for one in checklists.checklists(subject) if one.title == "CLAIM 2024")
        assert next(item.state for item in claim.items if item.number == "7") == state


def test_items_about_a_model_do_not_apply_to_a_data_set(place, images):
    made = card.of_dataset(place, images)
    assert states(made, "CLAIM 2024")["23"] == NOT_APPLICABLE
    assert states(made, "CLAIM 2024")["11"] == OPEN


def test_evidence_of_a_run_is_not_asked_of_a_data_set(place, images):
    subject = Subject(place, None, images)
    assert all(subject.shown(name) is None for name, one in EVIDENCE.items() if one.is_of_run)


@pytest.mark.parametrize("render", card.FORMATS.values(), ids=card.FORMATS)
def test_names_stay_letter_by_letter(place, run, render: Callable[[card.Card], bytes]):
    text = render(card.of_run(place, run)).decode()
    assert "<script>alert" not in text
    assert "[b](c)" not in text or render is card.to_html


def test_a_card_names_no_path_and_no_image(place, run, images):
    for made in (card.of_run(place, run), card.of_dataset(place, images)):
        text = card.to_markdown(made).decode() + card.to_html(made).decode()
        assert str(place.root) not in text
        assert not any(name in text for name in images.images["image_id"])


def test_a_run_whose_data_set_is_gone_has_a_card(place, run):
    spec = {**files.read_json(run.path / "spec.json")}
    files.write_json(run.path / "spec.json", {**spec, "dataset": {**spec["dataset"], "id": "gone-00000"}})
    made = card.of_run(place, store.open_run(place, run.id))
    assert states(made, "CLAIM 2024")["19"] == TICKED
    assert states(made, "CLAIM 2024")["7"] == OPEN


def test_a_licence_stands_on_both_cards_with_who_stated_it(place, images, run):
    def words() -> tuple[str, str]:
        cards = card.of_run(place, store.open_run(place, run.id)), card.of_dataset(place, images)
        return tuple(card.to_markdown(one).decode() for one in cards)

    def openness() -> list[str]:
        return [states(card.of_run(place, store.open_run(place, run.id)), "TRIPOD+AI")["18e"]]

    assert not any("CC0" in text for text in words()) and openness() == [OPEN]
    spec = files.read_json(run.path / "spec.json")
    bundle = {"sha256": "0" * 64, "licence": "CC0", "created": 1.5e9, "version": "1"}
    files.write_json(run.path / "spec.json", {**spec, "bundle": bundle})
    assert all("CC0" in text and "14 July 2017" in text for text in words()) and openness() == [OPEN]
    assert "spec.json: bundle.licence" in words()[0]
    store.state_licence([store.open_run(place, run.id)], "CC BY 4.0")
    assert all("CC BY 4.0" in text and "CC0" not in text for text in words())
    assert "annotation.json: licence" in words()[0]


def test_a_licence_stated_with_one_run_stands_on_the_card_of_another_on_the_same_images(workspace, tmp_path):
    images = importing.import_path(workspace, write_images(tmp_path / "images", dict.fromkeys(CLASSES, 20), 40), "Made")
    one, other = (made_predictions.finished_on(workspace, images, name) for name in ("One", "Other"))
    before = card.to_markdown(card.of_run(workspace, other)).decode()
    store.state_licence([one], "CC0")
    after = card.to_markdown(card.of_run(workspace, other)).decode()
    said = "Nobody has stated the licence"
    assert ("CC0" in before, said in before) == (False, True)
    assert ("CC0" in after, said in after) == (True, False)


def test_a_run_without_result_and_an_unknown_id_have_no_card(place, images, run):
    with pytest.raises(UnknownId):
        card.named(place, "nothing-00000")
    (run.path / "result.json").unlink()
    with pytest.raises(InvalidChoice):
        card.named(place, run.id)
