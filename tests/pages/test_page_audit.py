"""The Audit page: empty, without an audit, while one runs, with all it shows, broken, and what is decided on it."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from made_data import made_dataset
from made_images import write_images
from made_segmenters import made_segmenter
from page_tests import opened, words
from streamlit.testing.v1 import AppTest

from covid_core.audit import dataset_audit
from covid_core.commands.main import main
from covid_core.data import dataset as data
from covid_core.data import duplicates
from covid_core.data.dataset import Dataset
from covid_core.data.decisions import DISMISS, GROUP, LEAVE_OUT, RELABEL, in_force
from covid_core.data.imports import importing
from covid_core.data.split import make_split
from covid_core.images.codec import png_bytes, read_image
from covid_core.jobs import queue
from covid_core.jobs.kinds import AuditRequest
from covid_core.runs import store
from covid_core.runs.store import Status
from covid_core.specs import SplitSpec, TrainingSpec
from covid_core.workspace import Workspace

TABS = ("Findings", "Duplicates", "Shortcut learning", "Another data set", "Map", "Decisions")
COUNTS = {"COVID": 12, "Normal": 14}


@pytest.fixture(scope="module")
def audited(tmp_path_factory) -> tuple[Path, str]:
    """A workspace with an audited data set: small pictures, one of them twice with two classes, one file unreadable."""
    folder = tmp_path_factory.mktemp("audited")
    images = write_images(folder / "images", COUNTS, 64)
    first = sorted((images / "COVID").iterdir())[0]
    (images / "Normal" / "again.png").write_bytes(first.read_bytes())
    (images / "Normal" / "torn.png").write_bytes(b"no picture")
    workspace = Workspace(folder / "workspace")
    dataset = importing.import_folder(workspace, images, name="Made images")
    dataset_audit.make(workspace, dataset)
    return workspace.root, dataset.id


@pytest.fixture
def here(audited, workspace) -> Callable[[], Dataset]:
    """That data set in a workspace of the test's own, opened as it is at the moment of asking."""
    shutil.copytree(audited[0], workspace.root)
    return lambda: data.open_dataset(workspace, audited[1])


pytestmark = pytest.mark.usefixtures("jobs_wait")


def audit_page(tab: str = "", **address: str) -> AppTest:
    return opened("audit", **({"tab": tab} if tab else {}), **address)


def press(page: AppTest, key: str) -> AppTest:
    page.button(key=key).click().run()
    assert not page.exception
    return page


def decide(page: AppTest, key: str, author: str = "Ada", new_class: str = "") -> AppTest:
    """Press a button that asks, fill in who decides, and say yes."""
    press(page, key)
    page.text_input(key="decision-author").set_value(author)
    if new_class:
        page.selectbox(key="decision-class").set_value(new_class)
    return press(page, "decision-go")


def choose_all(page: AppTest, scope: str = "page") -> AppTest:
    page.get_by_key("finding-scope").set_value(scope).run()
    return page


def here_findings(dataset: Dataset) -> list[str]:
    """Names of the kinds of findings that its audit has."""
    return list(dataset_audit.stored(Workspace.default(), dataset).quality.findings["finding"].unique())


def table(page: AppTest, column: str) -> pd.DataFrame:
    """The first table that has a column of that name."""
    return next(frame.value for frame in page.dataframe if column in frame.value)


# Without an audit


def test_without_an_audit_it_says_what_one_does_and_offers_it(workspace, tmp_path):
    made_dataset(tmp_path, workspace)
    page = audit_page()
    assert "These 14 images are not audited yet." in words(page)
    assert "takes about 5 s" in words(page)
    assert page.button(key="audit-start")


def test_a_click_starts_the_audit_which_shows_progress_and_can_be_stopped(workspace, tmp_path):
    _, dataset = made_dataset(tmp_path, workspace)
    page = press(audit_page(), "audit-start")
    (job,) = queue.jobs(workspace, AuditRequest)
    assert job.request.dataset == dataset.id
    now = time.time()
    lock = job.folder.lock
    assert lock.try_acquire()  # as its process would
    job.folder.write_status(
        Status(store.RUNNING, progress=0.5, message="Half done", started=now - 10, updated=now, seconds_left=20)
    )
    page.run()
    assert "images is running" in words(page)
    assert "10 s so far" in words(page)
    assert "**The audit is running.**" in words(page) and "This tab fills when it is ready." in words(page)
    assert "No audit yet" not in words(page)
    press(page, f"stop-{job.id}")
    assert job.folder.stop_requested()
    lock.release()


def test_an_audit_that_failed_tells_why_and_can_be_tried_again(workspace, tmp_path):
    made_dataset(tmp_path, workspace)
    page = press(audit_page(), "audit-start")
    (job,) = queue.jobs(workspace, AuditRequest)
    now = time.time()
    job.folder.write_status(Status(store.FAILED, reason="The disk is full.", started=now, updated=now, ended=now))
    page.run()
    assert "failed. The disk is full." in words(page)
    press(page, f"again-{job.id}")
    (other,) = queue.jobs(workspace, AuditRequest)
    assert other.id != job.id


@pytest.mark.parametrize("tab", TABS)
def test_every_tab_has_something_to_say_without_an_audit(workspace, tmp_path, tab):
    made_dataset(tmp_path, workspace)
    page = audit_page(tab)
    assert not page.error
    assert [one.label for one in page.tabs] == list(TABS)
    assert all(bool(one.children) == (one.label == tab) for one in page.tabs)


# With an audit


def test_the_answer_holds_verdict_findings_copies_and_conflicts(here):
    told = words(audit_page())
    assert "27 images have findings" in told and "1 file was left out" in told
    assert "1 pair of images shows the same picture" in told and "1 with two classes" in told


@pytest.mark.parametrize("tab", TABS)
def test_every_tab_opens_by_its_address(here, tab):
    page = audit_page(tab)
    assert not page.error
    assert all(bool(one.children) == (one.label == tab) for one in page.tabs)


def test_kinds_of_findings_have_their_limits_and_reasons(here):
    kinds = table(audit_page(), "Why this limit").set_index("Finding")
    assert kinds.loc["odd size", ["Images", "Limit"]].tolist() == [27, "under 128 pixels"]
    assert "enlarged for them" in kinds.loc["odd size", "Why this limit"]


def test_unreadable_files_are_listed_with_their_reason(here):
    files = table(audit_page(), "Reason").set_index("File")
    assert "Normal/torn.png" in files.index[0]
    assert files["Reason"].iat[0]


def test_findings_of_one_kind_are_shown_with_their_sentences(here):
    kinds = [name for name in here_findings(here()) if name not in ("unreadable", "odd size")]
    page = audit_page(finding="odd size")
    assert "the shorter side has 64 pixels (limit 128)" in words(page)
    other = audit_page(finding=kinds[-1])
    assert "the shorter side" not in words(other)
    assert other.query_params["finding"] in (kinds[-1], [kinds[-1]])


def test_an_address_with_a_finding_that_is_not_there_shows_another(here):
    assert not audit_page(finding="no such thing").error


def test_a_torn_kept_audit_counts_as_none(here, workspace):
    for path in workspace.tables.glob("*found*"):
        path.write_text("{", encoding="utf-8")
    assert "are not audited yet" in words(audit_page())


def test_a_image_whose_file_is_gone_is_told_in_a_sentence(here, workspace):
    for path in workspace.pixels.iterdir():
        path.unlink()
    image = here().path_of(0)
    content = image.read_bytes()
    image.unlink()
    try:
        page = audit_page()
    finally:
        image.write_bytes(content)
    assert len(page.error) == 1 and not page.exception


# Decisions


def test_a_finding_is_dismissed_and_that_is_undone(here):
    version = here().version
    page = choose_all(audit_page(finding="odd size"))
    decide(page, "finding-Dismiss")
    assert [one.action for one in here().decisions] == 24 * [DISMISS]
    assert here().version == version
    assert "“odd size” of 24 images is dismissed." in words(page)
    assert "Show 24 dismissed images, too" in [toggle.label for toggle in page.toggle]
    press(page, "decision-undo")
    assert not in_force(here().decisions)


def test_left_out_images_are_gone_and_come_back(here):
    version = here().version
    page = audit_page(finding="odd size")
    name = here().images["image_id"].iat[3]
    page.checkbox(key=f"choose-{here().id}-odd size-{name}").check().run()
    decide(page, "finding-Leave out")
    changed = here()
    assert name not in set(changed.images["image_id"])
    assert changed.version != version and changed.decisions[0].author == "Ada"
    assert "measured before images were left out or got another class" in words(page)
    assert page.button(key="audit-again").label == "Audit the images again"
    press(page, "decision-undo")
    assert here().version == version
    assert "measured before" not in words(page)
    assert not [button for button in page.button if button.key == "audit-again"]


def test_a_image_gets_another_class(here):
    page = audit_page("Duplicates")
    decide(page, "pair-Change class of the first", new_class="Normal")
    ((one),) = in_force(here().decisions)
    assert (one.action, one.before, one.after) == (RELABEL, "COVID", "Normal")
    assert "none with two classes" in words(page)


def test_without_a_new_class_nothing_is_decided_and_it_is_asked_for(here):
    page = decide(audit_page("Duplicates"), "pair-Change class of the first")
    assert not here().decisions
    assert "Choose the new class first." in words(page) + "".join(error.value for error in page.error)


def test_the_class_that_a_image_has_is_not_offered(here):
    page = press(audit_page("Duplicates"), "pair-Change class of the first")
    assert page.selectbox(key="decision-class").options == ["Normal"]


@pytest.fixture
def mirrored(workspace, tmp_path) -> Dataset:
    """A data set with three mirrored pairs, which only the audit finds, and one pair of equal files."""
    images = write_images(tmp_path / "images", COUNTS, 64)
    first, *others = sorted((images / "COVID").iterdir())[:4]
    first.with_name("again.png").write_bytes(first.read_bytes())
    for path in others:
        path.with_name(f"mirrored-{path.name}").write_bytes(png_bytes(read_image(path).pixels[:, ::-1]))
    return importing.import_folder(workspace, images, name="Mirrored")


def test_pairs_of_the_audit_that_no_cluster_holds_are_kept_together_at_once_and_both_pages_count_alike(
    workspace, mirrored
):
    before = duplicates.with_groups(workspace, mirrored)
    dataset_audit.make(workspace, mirrored)
    same = data.open_dataset(workspace, mirrored.id)
    assert same.version == mirrored.version and duplicates.with_groups(workspace, same).equals(before)
    page = audit_page("Duplicates")
    of_now = "A group split keeps 1 cluster of 2 images in one part"
    assert of_now in words(page) and of_now in words(opened("train"))
    assert "Clusters hold 1 of 4 listed pairs." in words(page)
    assert page.button(key="group-all").label == "Keep 3 listed pairs together"

    page = decide(page, "group-all")

    decided = data.open_dataset(workspace, mirrored.id)
    assert {one.action for one in decided.decisions} == {GROUP} and decided.version != mirrored.version
    of_now = "A group split keeps 4 clusters of 8 images in one part"
    assert of_now in words(page) and of_now in words(opened("train"))
    assert "none in two parts of the split" in words(page)
    assert not {"group-all", "pair-Keep together"} & {button.key for button in page.button}
    press(page, "decision-undo")
    assert data.open_dataset(workspace, mirrored.id).version == mirrored.version


def test_the_command_line_groups_the_pairs_of_the_audit(workspace, mirrored, capsys):
    command = ["group-duplicates", mirrored.id, "--author", "Ada"]
    assert main(command) == 1 and "has no audit of this version" in capsys.readouterr().err
    dataset_audit.make(workspace, mirrored)
    assert main(command) == 0
    sizes = duplicates.clusters(duplicates.with_groups(workspace, data.open_dataset(workspace, mirrored.id)))
    assert sizes.tolist() == [2] * 4
    assert main(command) == 1 and "clusters hold all" in capsys.readouterr().err


def test_a_dismissed_pair_is_no_longer_listed(here):
    page = decide(audit_page("Duplicates"), "pair-Dismiss")
    assert "No two images show the same picture." in words(page)
    assert "1 pair dismissed" in words(page)


def test_nobody_decides_without_a_name(here):
    page = press(audit_page("Duplicates"), "pair-Leave out the first")
    page.text_input(key="decision-author").set_value("  ")
    press(page, "decision-go")
    assert "Write the name of who decides, in 1 to 80 characters: it is empty now." in words(page)
    assert not here().decisions


def test_the_name_is_asked_once(here):
    page = decide(audit_page("Duplicates"), "pair-Dismiss", author="Grace")
    press(page, "decision-undo")
    press(page, "pair-Leave out the first")
    assert page.text_input(key="decision-author").value == "Grace"


def test_what_stays_of_each_class_is_told_before_images_are_left_out(here):
    page = press(audit_page("Duplicates"), "pair-Leave out the first")
    assert "What stays: COVID 11, Normal 15. No file is changed." in words(page)
    assert not here().decisions


def test_all_images_cannot_be_left_out(here):
    page = choose_all(audit_page(finding="odd size"), "kind")
    decide(page, "finding-Leave out")
    assert "That would leave out all 27 images." in words(page)
    assert not here().decisions


def test_decisions_are_listed_and_all_taken_back(here):
    page = decide(audit_page("Duplicates"), "pair-Leave out the first")
    page = audit_page("Decisions")
    assert here().decisions
    listed = table(page, "Decision")
    assert listed[["Decision", "From", "To", "Author", "State"]].values.tolist() == [
        [LEAVE_OUT, "COVID", "left out", "Ada", "in force"]
    ]
    press(page, "take-back-all")
    page.text_input(key="decision-author").set_value("Ada")
    press(page, "take-back-go")
    assert not in_force(here().decisions)
    assert table(page, "Decision")["State"].tolist() == ["", "taken back"]


# Copies and other data sets


def test_a_pair_is_opened_by_its_address_and_left_for_the_list(here):
    pair = here().images["image_id"].iat[0]
    page = audit_page("Duplicates", pair=f"{pair}|nobody")
    assert "Pair 1 of 1" in words(page)
    assert [
        button.label for button in page.button if button.label in ("Previous", "Next") and not button.disabled
    ] == []
    assert "Their classes differ: one label is wrong." in words(page)
    assert "pair" not in page.query_params


@pytest.mark.parametrize("method", ["grouped", "stratified"])
def test_a_pair_in_two_parts_of_a_split_is_counted(here, method):
    dataset = here()
    images = duplicates.with_groups(Workspace.default(), dataset) if method == "grouped" else dataset.images
    for seed in range(1987, 2010):  # one by which the two images fall apart, where any split parts them
        split = make_split(images, dataset.classes, SplitSpec(method=method, seed=seed))
        part = split.set_index("image_id")["part"]
        apart = part["COVID/COVID-1.png"] != part["Normal/again.png"]
        if apart:
            break
    assert apart == (method == "stratified")
    spec = TrainingSpec(dataset=dataset.id, classes=dataset.classes, backbone="baseline_cnn")
    run = store.create_run(Workspace.default(), spec, dataset, split)
    run.write_launch(pid=1, attempt=1)
    run.write_result({"accuracy": {"test": 0.5}})
    run.write_status(Status(store.COMPLETED, progress=1, started=1, updated=2, ended=2))
    told = words(audit_page("Duplicates", split=run.id))
    assert ("1 in two parts of the split" if apart else "none in two parts of the split") in told
    assert ("Data leakage: 1 pair crosses the parts of this split." in told) == apart


def test_without_another_data_set_there_is_nothing_to_compare_with(here):
    assert "There is no other data set yet." in words(audit_page("Another data set"))


def test_shared_images_are_shown_side_by_side_conflicts_first(here, workspace, tmp_path):
    images = write_images(tmp_path / "other", {"COVID": 10, "Normal": 10}, 50)
    own = here()
    for number, (row, label) in enumerate(((0, "Normal"), (1, "COVID"))):
        (images / label / f"shared-{number}.png").write_bytes(own.path_of(row).read_bytes())
    other = importing.import_folder(workspace, images, name="Elsewhere")
    page = audit_page("Another data set", dataset=own.id)
    press(page, "against-start")
    (job,) = queue.jobs(workspace, AuditRequest)
    assert (job.request.dataset, job.request.against) == (own.id, other.id)
    now = time.time()
    dataset_audit.make(workspace, own, other)
    job.folder.write_status(Status(store.COMPLETED, progress=1, started=now, updated=now, ended=now))
    page = audit_page("Another data set", dataset=own.id, against=other.id)
    told = words(page)
    assert "another class there" in told and "Their classes differ" in told
    assert table(page, "Class in Made images")["Normal"].sum() >= 1


def test_a_ladder_that_cannot_be_climbed_says_why(workspace, tmp_path):
    _, dataset = made_dataset(tmp_path, workspace, counts={"COVID": 12})
    dataset_audit.make(workspace, dataset)
    assert "can be measured where two classes" in words(audit_page("Shortcut learning"))


def test_with_a_damaged_segmenter_the_ladder_says_so_and_its_images_are_shown(here, workspace):
    dataset = here()
    made_segmenter(workspace).network_path.write_bytes(b"another network")
    dataset_audit.make(workspace, dataset)
    page = audit_page("Shortcut learning")
    assert "is missing or was changed after training" in words(page)
    assert "One image of each class, as each probe is shown it" in words(page) and not page.error


def test_a_run_says_which_version_it_used(here, workspace):
    dataset = here()
    spec = TrainingSpec(dataset=dataset.id, classes=dataset.classes, backbone="baseline_cnn")
    store.create_run(workspace, spec, dataset, make_split(dataset.images, dataset.classes, spec.split))
    page = decide(audit_page("Duplicates"), "pair-Leave out the first")
    page = audit_page("Decisions")
    assert table(page, "Images as")["Images as"].tolist() == ["they were imported"]


def test_patients_with_images_of_several_classes_are_listed(here, workspace):
    dataset = here()
    path = dataset.folder / "manifest.parquet"
    patients = ["one", "two"] * 6 + ["one"] + [""] * (len(dataset.images) - 13)
    pd.read_parquet(path).assign(patient_id=patients).to_parquet(path)
    dataset_audit.make(workspace, here())
    page = audit_page("Duplicates")
    listed = table(page, "Patient")
    assert listed["Patient"].tolist() == ["one"]
    assert listed["Images"].tolist() == [7]
