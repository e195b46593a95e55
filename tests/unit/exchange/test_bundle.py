"""A run goes into a bundle and comes out of it in another workspace, with all that it can do without images."""

import hashlib
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo, is_zipfile

import added_backbones
import h5py
import numpy as np
import onnx
import pandas as pd
import pytest
from made_runs import all_parts, made_run
from trained_runs import tiny_run

from covid_core import files
from covid_core.commands import main
from covid_core.data.dataset import open_dataset
from covid_core.data.pixels import decode_rows
from covid_core.errors import DataError, InvalidChoice, JobRefused, RunError
from covid_core.exchange.bundle import checks, opening, packing
from covid_core.inference.apart.network import NetworkApart
from covid_core.inference.predictor import Predictor
from covid_core.jobs import queue, reuse
from covid_core.runs import architecture, backbone_files, store, test_set_access
from covid_core.runs.store import EvaluationRecord, Run, Study
from covid_core.specs import InputSpec
from covid_core.workspace import Workspace, list_folders

LICENCE = "CC BY 4.0, made for tests"
PLACE = "SLURM, node ward-3"
NEEDS_IMAGES = {"in_training_part", "training_image", "notes", "although"}  # of a prediction: is it a training image?
PICTURES = (b"\x89PNG\r\n\x1a\n", b"JFIF\0", b"Exif\0", b"DICM", b"GIF8", b"II*\0", b"MM\0*", b"data:image")
PIECE = 20  # greys in a row that make a part of an image


@pytest.fixture(scope="module")
def run(place, copy_of_trained) -> Run:
    """A trained run with all that one may have beside its own files."""
    run = copy_of_trained(place)
    run.write_status(replace(run.status(), place=PLACE))
    store.annotate(run, name="Mine *and* yours", tags=("first",), reference=True)
    test_set_access.note([run], test_set_access.FIGURES)
    images = run.predictions().head(40)
    table = images.assign(part="outside", own_label=images["label"], source="", refused=False, twin=None)
    table = table.assign(twin_label=None, twin_part=None, detail=np.nan)
    about = {"id": "", "name": "Elsewhere", "version": ""}
    record = EvaluationRecord(created=run.created, dataset=about, classes={one: one for one in run.classes})
    run.write_evaluation(record, table, np.ones((len(table), 4), np.float32))
    return store.open_run(place, run.id)


@pytest.fixture(scope="module")
def bundle(run, tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("bundle") / "runs.zip"
    packing.pack(run.workspace, [run], target, LICENCE)
    return target


@pytest.fixture
def elsewhere(tmp_path) -> Workspace:
    return Workspace(tmp_path / "elsewhere")


def answered(capsys, monkeypatch, workspace: Workspace, *arguments: str) -> dict:
    monkeypatch.setenv("COVID_CORE_HOME", str(workspace.root))
    code = main.main([*arguments, "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert code == 0, answer
    return answer


def test_an_opened_run_compares_and_predicts_as_it_did(run, bundle, elsewhere, capsys, monkeypatch):
    def ask(workspace: Workspace, *arguments: str) -> dict:
        return answered(capsys, monkeypatch, workspace, *arguments)

    dataset = open_dataset(run.workspace, run.dataset.id)
    images = [str(dataset.path_of(row)) for row in range(3)]
    first = ask(run.workspace, "compare", run.id), ask(run.workspace, "predict", run.id, *images)
    opened = ask(elsewhere, "open", str(bundle))
    assert [one["run"] for one in opened["runs"]] == [run.id]
    assert len(opened["runs"][0]["lacks"]) == 1
    second = ask(elsewhere, "compare", run.id), ask(elsewhere, "predict", run.id, *images)
    assert second[0] == first[0]
    for ours, theirs in zip(first[1]["images"], second[1]["images"], strict=True):
        assert {**theirs, **{name: ours[name] for name in NEEDS_IMAGES}} == ours
        assert theirs["in_training_part"] is None
    assert ask(elsewhere, "show", run.id)["result"]["accuracy"] == run.result["accuracy"]


def test_what_people_wrote_goes_along_and_what_is_of_one_workspace_does_not(run, bundle, elsewhere):
    (one,) = opening.open_bundle(elsewhere, bundle).runs
    opened = one.run
    assert (opened.id, opened.name, opened.annotation.tags) == (run.id, "Mine *and* yours", ("first",))
    assert (opened.annotation.reference, opened.annotation.number, opened.owner, opened.study) == (False, None, "", "")
    assert opened.bundle.licence == LICENCE and opened.bundle.sha256 == files.sha256_of(bundle)
    assert [look.what for look in opened.openings()] == [look.what for look in run.openings()]
    assert opened.history().equals(run.history()) and opened.predictions().equals(run.predictions())
    (test,) = opened.evaluations()
    assert test.table().equals(run.evaluations()[0].table()) and test.features().shape == (40, 4)
    assert not opened.log_path.exists() and opened.process is None


def test_a_licence_that_was_stated_once_goes_along_from_then_on(run, bundle, elsewhere, tmp_path):
    mine = store.open_run(run.workspace, run.id)
    assert (mine.licence, packing.pack(run.workspace, [mine], tmp_path / "again.zip").licence) == (LICENCE, LICENCE)
    (one,) = opening.open_bundle(elsewhere, bundle).runs
    assert (one.run.licence, one.run.annotation.licence) == (LICENCE, "")
    packing.pack(elsewhere, [one.run], tmp_path / "other.zip", "CC0")
    assert store.open_run(elsewhere, one.run.id).licence == "CC0"


@pytest.fixture(scope="module")
def study(run) -> Iterator[Study]:
    """Of the run and a copy of it, which go when the tests that need it are done."""
    folder = shutil.copytree(run.path, run.workspace.runs / "copy-00000")
    made = Study("pair-00000", "Two *runs*", "", 1.5, (folder.name, run.id), owner="me@example.org")
    store.write_study(run.workspace, made)
    yield made
    store.delete_study(run.workspace, made.id)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def of_study(run, study, tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("study") / "runs.zip"
    runs = [store.open_run(run.workspace, name) for name in study.runs]
    assert packing.pack(run.workspace, runs, target).studies == (study,)
    return target


def test_a_study_comes_along_with_all_its_runs_and_with_no_fewer(run, study, of_study, elsewhere, tmp_path):
    assert packing.pack(run.workspace, [run], tmp_path / "one.zip").studies == ()
    opened = opening.open_bundle(elsewhere, of_study)
    assert opened.studies == (study.id,)
    assert store.list_studies(elsewhere) == [replace(study, owner="")]
    assert [one.run.study for one in opened.runs] == [study.id] * 2
    before = state(elsewhere)
    opening.open_bundle(elsewhere, of_study)
    assert state(elsewhere) == before


@pytest.mark.parametrize("is_damaged", [False, True])
def test_another_study_of_that_id_stays_as_it_is(study, of_study, elsewhere, is_damaged):
    store.write_study(elsewhere, replace(study, runs=("mine-00000",)))
    if is_damaged:
        (elsewhere.studies / study.id / "study.json").write_text("{")
    before = state(elsewhere)
    with pytest.raises(DataError, match="another study"):
        opening.open_bundle(elsewhere, of_study)
    assert state(elsewhere) == before


@pytest.mark.parametrize(
    "change",
    [
        {"runs": ["mine-00000"]},
        {"runs": []},
        {"runs": ["copy-00000", "copy-00000"]},
        {"runs": "all"},
        {"name": "x" * 500},
        {"created": 1e300},
        {"preset": 7},
        {"created": None},
    ],
    ids=str,
)
def test_a_study_of_another_form_is_refused(study, of_study, elsewhere, tmp_path, change):
    def changed(content: dict[str, bytes]) -> None:
        name = f"studies/{study.id}/study.json"
        content[name] = json.dumps({**json.loads(content[name]), **change}).encode()

    with pytest.raises(DataError, match="study"):
        opening.open_bundle(elsewhere, changed_bundle(of_study, tmp_path / "changed.zip", changed))
    assert state(elsewhere) == {}


def test_a_study_is_of_who_opens_it_whomever_it_names(study, elsewhere):
    store.write_study(elsewhere, study)
    (made,) = checks.checked_studies(elsewhere, [study.id], study.runs)
    assert study.owner and store.open_study(elsewhere, study.id) == made == replace(study, owner="")


def test_bundles_are_published_one_after_the_other(bundle, elsewhere, monkeypatch):
    monkeypatch.setattr(opening, "PATIENCE", 0)
    other = files.FileLock(elsewhere.slots / "opening.lock")
    with other.held(0, AssertionError()), pytest.raises(DataError, match="Another bundle"):
        opening.open_bundle(elsewhere, bundle)
    assert state(elsewhere) == {}


def test_a_bundle_does_not_name_the_computer_where_the_run_was_done(run, bundle):
    with ZipFile(bundle) as archive:
        status = json.loads(archive.read(f"runs/{run.id}/status.json"))
    assert (run.status().place, status["place"]) == (PLACE, "")


def test_an_opened_run_does_not_say_that_it_was_done_on_a_node_of_this_engine(bundle, elsewhere, tmp_path):
    named = changed_bundle(bundle, tmp_path / "named.zip", in_json("status.json", place=PLACE))
    (one,) = opening.open_bundle(elsewhere, named).runs
    assert one.run.status().place == ""


def parts(content: bytes) -> Iterator[bytes]:
    """A file, and all that is packed in it, as plain bytes."""
    yield content
    if is_zipfile(io.BytesIO(content)):
        with ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield from parts(archive.read(name))
    if content.startswith(b"PAR1"):
        for _, column in pd.read_parquet(io.BytesIO(content)).items():
            yield column.to_numpy().tobytes() if column.dtype.kind in "fiu" else "\n".join(map(str, column)).encode()
    if content.startswith(b"\x89HDF"):
        with h5py.File(io.BytesIO(content)) as stored:
            found: list[bytes] = []
            stored.visititems(lambda _, one: found.append(one[()].tobytes()) if isinstance(one, h5py.Dataset) else None)
        yield from found


def holds_pixels(content: bytes, greys: list[bytes]) -> bool:
    return any(mark in part for part in parts(content) for mark in (*PICTURES, *greys))


def lines_of(images: np.ndarray) -> list[bytes]:
    """A part of the middle line of each image, and of the mean image, as any type that greys are kept in."""
    shown = np.concatenate([images, images.mean(axis=0, keepdims=True)]).astype(np.float64)
    lines = shown[:, shown.shape[1] // 2, :PIECE]
    kinds = [lines.round().astype(np.uint8), *(lines.astype(kind) for kind in (np.uint16, np.float32, np.float64))]
    kinds += [(lines / 255).astype(kind) for kind in (np.float16, np.float32, np.float64)]
    return [line.tobytes() for kind in kinds for line in kind]


def test_no_file_of_a_bundle_holds_pixels_unless_images_were_asked_for(run, bundle, tmp_path):
    dataset = open_dataset(run.workspace, run.dataset.id)
    greys = [
        line
        for side in (run.spec.image_size, 64, 128)
        for line in lines_of(decode_rows(dataset, list(range(len(dataset.images))), side))
        if len(set(line)) > PIECE // 2  # a black line is in every file
    ]
    assert len(greys) > 1000
    with ZipFile(bundle) as archive:
        assert [name for name in archive.namelist() if holds_pixels(archive.read(name), greys)] == []
    planted = io.BytesIO()
    np.savez_compressed(planted, mean=decode_rows(dataset, [0], 64)[0].astype(np.float32) / 255)
    assert holds_pixels(planted.getvalue(), greys)
    packing.pack(run.workspace, [run], tmp_path / "with.zip", images=True)
    with ZipFile(tmp_path / "with.zip") as archive:
        pictures = [name for name in archive.namelist() if holds_pixels(archive.read(name), greys)]
    assert len(pictures) == 2 * len(dataset.images)  # each with its mask
    assert all(name.startswith(f"datasets/{dataset.id}/files/") for name in pictures)


def test_images_that_were_asked_for_come_along_with_their_data_set(run, elsewhere, tmp_path):
    packed = packing.pack(run.workspace, [run], tmp_path / "with.zip", images=True)
    assert packed.images == 240
    (one,) = opening.open_bundle(elsewhere, tmp_path / "with.zip").runs
    assert one.lacks == ()
    ours, theirs = (open_dataset(place, run.dataset.id) for place in (run.workspace, elsewhere))
    assert theirs.version == ours.version and theirs.images.equals(ours.images)
    assert theirs.path_of(0).read_bytes() == ours.path_of(0).read_bytes()


def test_opening_twice_changes_nothing(run, bundle, elsewhere):
    opening.open_bundle(elsewhere, bundle)
    before = {path: path.read_bytes() for path in elsewhere.runs.rglob("*") if path.is_file()}
    (one,) = opening.open_bundle(elsewhere, bundle).runs
    assert one.state == "here"
    assert {path: path.read_bytes() for path in elsewhere.runs.rglob("*") if path.is_file()} == before
    assert [one.state for one in opening.open_bundle(run.workspace, bundle).runs] == ["here"]


def test_another_run_of_that_id_stays_as_it_is(run, bundle, elsewhere):
    shutil.copytree(run.path, elsewhere.runs / run.id)
    content = files.read_json(elsewhere.runs / run.id / "spec.json")
    files.write_json(elsewhere.runs / run.id / "spec.json", {**content, "created": 1.0})
    before = state(elsewhere)
    with pytest.raises(DataError, match="another run with the id"):
        opening.open_bundle(elsewhere, bundle)
    assert state(elsewhere) == before


def test_an_opened_run_is_not_resumed_nor_taken_for_a_training_of_this_workspace(run, bundle, elsewhere):
    (one,) = opening.open_bundle(elsewhere, bundle).runs
    with pytest.raises(JobRefused, match="bundle"):
        queue.resume(one.run)
    shutil.copytree(run.path, elsewhere.runs / "again-00000")
    again = store.open_run(elsewhere, "again-00000")
    assert reuse.equal_run(elsewhere, again) is None
    shutil.copytree(run.path, elsewhere.runs / "again-00001")
    assert reuse.equal_run(elsewhere, again).id == "again-00001"


def test_only_finished_runs_go_into_a_bundle_which_replaces_no_file(run, tmp_path):
    with pytest.raises(InvalidChoice, match="letters"):
        packing.pack(run.workspace, [run], tmp_path / "a.zip", "x" * 201)
    (tmp_path / "there.zip").write_bytes(b"mine")
    with pytest.raises(InvalidChoice, match=r"there\.zip"):
        packing.pack(run.workspace, [run], tmp_path / "there.zip")
    folder = shutil.copytree(run.path, run.workspace.runs / "unfinished-00000")
    (folder / "result.json").unlink()
    try:
        with pytest.raises(RunError, match="not finished"):
            packing.pack(run.workspace, [store.open_run(run.workspace, folder.name)], tmp_path / "a.zip")
    finally:
        shutil.rmtree(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there.zip"]


def state(workspace: Workspace) -> dict[str, bytes]:
    """All files of a workspace but its log of actions, and locks."""
    there = [path for path in workspace.root.rglob("*") if path.is_file() and path.suffix != ".lock"]
    there = [path for path in there if "activity" not in path.name]
    return {path.relative_to(workspace.root).as_posix(): path.read_bytes() for path in there}


Change = Callable[[dict[str, bytes]], None]


def changed_bundle(bundle: Path, target: Path, change: Change, *, relisted: bool = True) -> Path:
    """A bundle after a change of its files; ``relisted``: its list names them as they are then."""
    with ZipFile(bundle) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    change(content)
    if relisted:
        about = json.loads(content.pop("bundle.json"))
        about["files"] = {name: hashlib.sha256(one).hexdigest() for name, one in content.items()}
        content["bundle.json"] = json.dumps(about).encode()
    with ZipFile(target, "w") as archive:
        for name, one in content.items():
            archive.writestr(name, one)
    return target


def member(content: dict[str, bytes], ending: str) -> str:
    return next(name for name in content if re.fullmatch(rf"runs/[^/]+/{ending}", name))


def in_json(ending: str, **changes: object) -> Change:
    def change(content: dict[str, bytes]) -> None:
        name = member(content, ending)
        content[name] = json.dumps({**json.loads(content[name]), **changes}).encode()

    return change


def replaced(ending: str, content: bytes) -> Change:
    def change(members: dict[str, bytes]) -> None:
        members[member(members, ending)] = content

    return change


def added(name: str, content: bytes = b"{}") -> Change:
    return lambda members: members.update({name: content})


def arrays(**named: np.ndarray) -> bytes:
    made = io.BytesIO()
    np.savez(made, **named)
    return made.getvalue()


def with_object(content: dict[str, bytes]) -> None:
    content[member(content, "head.npz")] = arrays(pooling=np.array([{"a": 1}], dtype=object))


def head_of_much(content: dict[str, bytes]) -> None:
    """An array whose head states a terabyte."""
    made, head = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (2**38,)})
    with ZipFile(made, "w") as archive:
        archive.writestr("weights_0.npy", head.getvalue())
    content[member(content, "head.npz")] = made.getvalue()


def table_of(**columns: object) -> bytes:
    made = io.BytesIO()
    pd.DataFrame(columns).to_parquet(made)
    return made.getvalue()


def swapped_label(content: dict[str, bytes]) -> None:
    name = member(content, "predictions.parquet")
    table = pd.read_parquet(io.BytesIO(content[name]))
    table["label"] = table["label"].to_numpy()[::-1]
    made = io.BytesIO()
    table.to_parquet(made)
    content[name] = made.getvalue()


def of_other_network(content: dict[str, bytes]) -> None:
    """A network that is none, under the hash that the result names."""
    content[member(content, "trunk.tflite")] = b"no network" * 100
    sha256 = hashlib.sha256(content[member(content, "trunk.tflite")]).hexdigest()
    in_json("result.json", trunk_sha256=sha256)(content)


def with_code(content: dict[str, bytes]) -> None:
    name, made = member(content, "model.keras"), io.BytesIO()
    with ZipFile(io.BytesIO(content[name])) as whole, ZipFile(made, "w") as archive:
        for one in whole.namelist():
            text = whole.read(one)
            archive.writestr(one, text.replace(b'"Flatten"', b'"Lambda"') if one == "config.json" else text)
    content[name] = made.getvalue()
    in_json("result.json", model_sha256=hashlib.sha256(made.getvalue()).hexdigest())(content)


def deep(content: dict[str, bytes]) -> None:
    content[member(content, "result.json")] = b"[" * 100_000


def audit_of_another_form(content: dict[str, bytes]) -> None:
    head = json.loads(content[member(content, "result.json")])["head_sha256"]
    record = {"verdict": "reads the lungs", "why": 3, "head_sha256": head}
    content[member(content, "audits/model.json")] = json.dumps(record).encode()


HOSTILE: dict[str, Change] = {
    "a name that leaves the folder": added("../outside.json"),
    "an absolute name": added("/tmp/outside.json"),
    "a name of Windows that leaves the folder": added("runs\\..\\..\\outside.json"),
    "a file that no run has": added("runs/mine-00000/startup.py"),
    "a file beside the runs": added("patients.key"),
    "an added backbone that no run needs": added("backbones/mine-00000000/backbone.onnx"),
    "a study without a record": added("studies/mine-00000/study.json"),
    "a study of another file": added("studies/mine-00000/startup.py"),
    "a data set without images being stated": added("datasets/mine-00000/import.json"),
    "no run": lambda content: [content.pop(name) for name in list(content) if name.startswith("runs/")],
    "another format": lambda content: content.update({"bundle.json": b'{"files": {}}'}),
    "settings that are none": in_json("spec.json", spec={"backbone": "none"}),
    "settings of a later version": in_json("spec.json", schema=99),
    "a time that no calendar has": in_json("spec.json", created=1e300),
    "a state that is none": in_json("status.json", state="running"),
    "a result of another form": in_json("result.json", seconds="long"),
    "a device that is none": in_json("result.json", device=None),
    "an accuracy that is no share": in_json("result.json", accuracy={"test": 0.5, "train": 1e300}),
    "a result that reaches for another file": in_json("result.json", trunk="../../secrets"),
    "a result that is nested without end": deep,
    "a number that is none": replaced("result.json", b'{"finished": NaN}'),
    "a text without end": in_json("annotation.json", name="x" * 10_000),
    "predictions without images": replaced("predictions.parquet", table_of(image_id=["a"], part=["test"])),
    "predictions of other labels": swapped_label,
    "a table of lists": replaced("predictions.parquet", table_of(image_id=[["a"], ["b"]])),
    "a table of one long text": replaced("predictions.parquet", table_of(image_id=["x" * 5000] * 100_000)),
    "a table that is none": replaced("split.parquet", b"PAR1 and no more"),
    "arrays with objects": with_object,
    "an array that states a terabyte": head_of_much,
    "a network that is none": of_other_network,
    "a model with code": with_code,
    "an audit of another form": audit_of_another_form,
}


@pytest.fixture(scope="module")
def with_audit(bundle, tmp_path_factory) -> Path:
    """The same bundle with an audit to be replaced."""
    (name,) = {name.split("/")[1] for name in ZipFile(bundle).namelist() if name.startswith("runs/")}
    add = added(f"runs/{name}/audits/model.json")
    return changed_bundle(bundle, tmp_path_factory.mktemp("audited") / "runs.zip", add)


def test_the_bundle_that_hostile_ones_are_made_of_is_opened(with_audit, elsewhere):
    assert [one.state for one in opening.open_bundle(elsewhere, with_audit).runs] == ["opened"]


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_bundle_is_refused_in_a_sentence_and_leaves_nothing(what, with_audit, elsewhere, tmp_path):
    file = changed_bundle(with_audit, tmp_path / "hostile.zip", HOSTILE[what])
    with pytest.raises(DataError) as refused:
        opening.open_bundle(elsewhere, file)
    assert str(refused.value) and str(tmp_path) not in str(refused.value)
    assert state(elsewhere) == {}
    assert not list(tmp_path.glob("outside*"))


def test_a_torn_or_changed_bundle_leaves_nothing(bundle, elsewhere, tmp_path):
    whole = bundle.read_bytes()
    with ZipFile(bundle) as archive:
        place = archive.getinfo("bundle.json").header_offset - 20
    flipped = bytearray(whole)
    flipped[place] ^= 1
    for number, content in enumerate((whole[: len(whole) // 2], whole[:-30], bytes(flipped), b"", b"PK no zip")):
        file = tmp_path / f"{number}.zip"
        file.write_bytes(content)
        with pytest.raises(DataError):
            opening.open_bundle(elsewhere, file)
        assert state(elsewhere) == {}
    with pytest.raises(DataError, match="no file"):
        opening.open_bundle(elsewhere, tmp_path / "gone.zip")


def test_a_file_that_was_changed_with_its_checksum_is_not_the_one_that_the_list_names(bundle, elsewhere, tmp_path):
    file = changed_bundle(bundle, tmp_path / "changed.zip", in_json("annotation.json", name="Better"), relisted=False)
    with pytest.raises(DataError, match="changed"):
        opening.open_bundle(elsewhere, file)
    assert state(elsewhere) == {}


def test_links_and_packed_members_are_refused(bundle, elsewhere, tmp_path):
    with ZipFile(bundle) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    link = ZipInfo("runs/mine-00000/spec.json")
    link.external_attr = 0o120777 << 16
    with ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with ZipFile(tmp_path / "packed.zip", "w", ZIP_DEFLATED) as archive:
        for name, one in content.items():
            archive.writestr(name, one)
        archive.writestr("runs/mine-00000/history.csv", b"0" * 10**8)
    for name in ("link.zip", "packed.zip"):
        with pytest.raises(DataError):
            opening.open_bundle(elsewhere, tmp_path / name)
        assert state(elsewhere) == {}


def test_networks_of_an_opened_run_are_kept_apart_from_those_of_this_workspace(bundle, elsewhere):
    """And run in a process of their own."""
    (one,) = opening.open_bundle(elsewhere, bundle).runs
    predictor = Predictor.open(elsewhere, one.run)
    assert isinstance(predictor.trunk._network, NetworkApart)
    images = np.zeros((1, predictor.size, predictor.size), np.uint8)
    logits = predictor.logits(images)
    predictor.trunk._network.close()
    assert (predictor.logits(images) == logits).all()  # a process that has died is started again
    assert [path for path in elsewhere.trunks.iterdir() if not path.name.startswith(opening.PREFIX)] == []
    assert architecture.layers(one.run).equals(architecture.planned(one.run.spec))


@pytest.mark.slow
def test_a_run_on_the_box_around_the_lungs_carries_its_segmenter(run, elsewhere, tmp_path):
    dataset = open_dataset(run.workspace, run.dataset.id)
    boxed = tiny_run(run.workspace, dataset, name="Boxed", input=InputSpec(region="lungs"))
    packing.pack(run.workspace, [boxed], tmp_path / "boxed.zip")
    (one,) = opening.open_bundle(elsewhere, tmp_path / "boxed.zip").runs
    assert one.run.segmenter_path.read_bytes() == boxed.segmenter_path.read_bytes()
    images = decode_rows(dataset, [0, 1, 2], boxed.spec.whole)
    ours, theirs = (Predictor.open(place, of) for place, of in ((run.workspace, boxed), (elsewhere, one.run)))
    assert isinstance(theirs.lungs.lungs.network, NetworkApart)
    assert (theirs.logits(images) == ours.logits(images)).all()


@pytest.fixture(scope="module")
def on_added(run, tmp_path_factory) -> Run:
    """A run on an added ONNX file."""
    path = added_backbones.small_onnx(tmp_path_factory.mktemp("onnx") / "small.onnx")
    added_backbones.described(path)
    file = added_backbones.published(run.workspace, path)
    dataset = open_dataset(run.workspace, run.dataset.id)
    return tiny_run(run.workspace, dataset, name="Added", backbone=file.name, backbone_file=file)


@pytest.fixture(scope="module")
def with_backbone(on_added, tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("added") / "runs.zip"
    packing.pack(on_added.workspace, [on_added], target)
    return target


@pytest.mark.slow
def test_a_run_on_an_added_backbone_carries_its_file(on_added, with_backbone, elsewhere):
    (one,) = opening.open_bundle(elsewhere, with_backbone).runs
    assert not any("predict" in sentence for sentence in one.lacks)
    (file,) = backbone_files.listed(elsewhere)
    assert (file.sha256, file.label) == (on_added.spec.backbone_file.sha256, on_added.spec.backbone_file.label)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32), np.uint8)
    ours, theirs = (Predictor.open(place, of) for place, of in ((on_added.workspace, on_added), (elsewhere, one.run)))
    assert (theirs.logits(images) == ours.logits(images)).all()
    before = state(elsewhere)
    opening.open_bundle(elsewhere, with_backbone)
    assert state(elsewhere) == before


@pytest.mark.slow
def test_a_file_that_is_here_already_is_not_brought_in_again(on_added, with_backbone, elsewhere):
    shutil.copytree(on_added.workspace.backbones, elsewhere.backbones, dirs_exist_ok=True)
    opening.open_bundle(elsewhere, with_backbone)
    assert [one.name for one in backbone_files.listed(elsewhere)] == ["own_network"]


@pytest.mark.slow
def test_a_damaged_backbone_of_that_name_stays_as_it_is(with_backbone, elsewhere):
    with ZipFile(with_backbone) as archive:
        (name,) = {name.split("/")[1] for name in archive.namelist() if name.startswith("backbones/")}
    (elsewhere.backbones / name).mkdir()
    (elsewhere.backbones / name / "backbone.json").write_text("{")
    before = state(elsewhere)
    with pytest.raises(DataError, match=name):
        opening.open_bundle(elsewhere, with_backbone)
    assert state(elsewhere) == before


@pytest.mark.slow
def test_one_file_under_two_names_is_brought_in_once(with_backbone, elsewhere, tmp_path):
    def named_twice(content: dict[str, bytes]) -> None:
        name = member(content, "spec.json")
        for one in [one for one in content if one.startswith(name.removesuffix("spec.json"))]:
            content[f"runs/twin-00000/{one.split('/', 2)[2]}"] = content[one]
        record = json.loads(content[name])
        record["spec"]["backbone_file"]["name"] = record["spec"]["backbone"] = "other_network"
        content["runs/twin-00000/spec.json"] = json.dumps(record).encode()
        for one in [one for one in content if one.startswith("backbones/")]:
            content[one.replace("own-network", "other-network")] = content[one].replace(
                b"own_network", b"other_network"
            )

    twice = changed_bundle(with_backbone, tmp_path / "twice.zip", named_twice)
    assert len(opening.open_bundle(elsewhere, twice).runs) == 2
    assert len(backbone_files.listed(elsewhere)) == 1


@pytest.fixture
def on_file(tmp_path) -> Run:
    """A run on an added file that was not trained."""
    mine, path = Workspace(tmp_path / "mine"), added_backbones.small_onnx(tmp_path / "small.onnx")
    added_backbones.described(path)
    file = added_backbones.published(mine, path)
    table = all_parts({"train": 6, "validation": 6, "test": 6}, 1)
    return made_run(mine, table, backbone=file.name, backbone_file=file, image_size=32)


def described_otherwise(run: Run, **changes: object) -> Run:
    file = run.spec.backbone_file.model_copy(update=changes)
    return replace(run, spec=run.spec.model_copy(update={"backbone_file": file}))


def carried_into(workspace: Workspace, run: Run) -> list[str]:
    """Write what goes along with a run; returns the folders of its backbones."""
    for name, content in backbone_files.carried(run.workspace, [run]).items():
        target = workspace.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    return [folder.name for folder in list_folders(workspace.backbones)]


def test_runs_on_one_file_under_two_names_carry_it_once(on_file):
    runs = [on_file, described_otherwise(on_file, name="other_network")]
    assert len(backbone_files.carried(on_file.workspace, runs)) == 2  # the file and its record


def test_one_file_may_be_described_as_two_computers_measured_it(on_file, elsewhere):
    measured = on_file.spec.backbone_file.measured.model_copy(update={"milliseconds": 2.5})
    other = described_otherwise(on_file, measured=measured)
    for first, second in ((on_file, other), (other, on_file)):
        checks.checked_backbones(elsewhere, carried_into(elsewhere, first), [first, second])


@pytest.mark.parametrize("what", ["another file", "a second file", "a file that runs do not need", "no file"])
def test_a_folder_of_a_backbone_holds_its_own_file_alone(on_file, elsewhere, what):
    (name,) = carried_into(elsewhere, on_file)
    folder, run = elsewhere.backbones / name, on_file
    if what == "another file":
        (folder / "backbone.onnx").write_bytes(b"x")
    elif what == "a second file":
        (folder / "backbone.tflite").write_bytes(b"x")
    elif what == "no file":
        (folder / "backbone.onnx").unlink()
    else:
        run = described_otherwise(on_file, kind="keras")
        record = backbone_files.for_bundle(run.spec.backbone_file)
        files.write_json(folder / "backbone.json", record.model_dump(mode="json"))
        (folder / "backbone.onnx").rename(folder / "backbone.keras")
    with pytest.raises(DataError, match="added backbone"):
        checks.checked_backbones(elsewhere, [name], [run])


@pytest.mark.parametrize(
    "measured", [None, {"milliseconds": 1e308}, {"channels": 10**400}, {"megabytes": 1e12}, {"parameters": 10**400}]
)
def test_a_backbone_with_numbers_that_nobody_can_have_measured_is_damaged(on_file, elsewhere, measured):
    (name,) = carried_into(elsewhere, on_file)
    assert len(backbone_files.listed(elsewhere)) == 1
    record = json.loads((elsewhere.backbones / name / "backbone.json").read_text())
    changed = {**record, "measured": measured and {**record["measured"], **measured}}
    (elsewhere.backbones / name / "backbone.json").write_text(json.dumps(changed))
    assert backbone_files.listed(elsewhere) == []


def with_external_weights(path: Path) -> bytes:
    """An ONNX file that takes its weights from a file of the computer."""
    model = onnx.load(str(path))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return model.SerializeToString()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("another file", "changed"),
        ("no network", "no ONNX file"),
        ("weights of another file", "other files"),
        ("another description", "added backbone"),
        ("code", "belongs to no run"),
    ],
)
def test_an_added_backbone_that_does_harm_is_refused(on_added, with_backbone, elsewhere, tmp_path, what, reason):
    own = backbone_files.path_of(on_added.workspace, on_added.spec.backbone_file)

    def harmful(content: dict[str, bytes]) -> None:
        network = next(name for name in content if name.endswith("backbone.onnx"))
        record = network.replace(".onnx", ".json")
        about = json.loads(content[record])
        if what == "another file":
            content[network] = content[network] + b" "
        elif what == "another description":
            content[record] = json.dumps({**about, "output": "maps"}).encode()
        elif what == "code":
            content[network.replace(".onnx", ".py")] = b""
        else:
            changed = b"no network" if what == "no network" else with_external_weights(own)
            sha256 = hashlib.sha256(changed).hexdigest()
            del content[network], content[record]
            spec = json.loads(content[member(content, "spec.json")])["spec"]
            file = {**spec["backbone_file"], "sha256": sha256}
            in_json("spec.json", spec={**spec, "backbone_file": file})(content)
            folder = f"backbones/own-network-{sha256[:8]}"
            content[f"{folder}/backbone.onnx"] = changed
            described = {**about, "sha256": sha256, "name": f"own_network_{sha256[:8]}"}
            content[f"{folder}/backbone.json"] = json.dumps(described).encode()

    with pytest.raises(DataError, match=reason):
        opening.open_bundle(elsewhere, changed_bundle(with_backbone, tmp_path / "harmful.zip", harmful))
    assert state(elsewhere) == {}


@pytest.mark.slow
def test_without_its_file_a_run_on_an_added_backbone_is_not_packed(on_added, tmp_path):
    folder = backbone_files.folder_of(on_added.workspace, "own_network")
    folder.rename(tmp_path / "away")
    try:
        with pytest.raises(RunError, match="Own network"):
            packing.pack(on_added.workspace, [on_added], tmp_path / "runs.zip")
    finally:
        (tmp_path / "away").rename(folder)
    assert not (tmp_path / "runs.zip").exists()


@pytest.mark.slow
def test_without_onnx_runtime_the_file_stays_out_until_it_can_be_checked(with_backbone, elsewhere, monkeypatch):
    with monkeypatch.context() as without:
        without.setattr(backbone_files, "RUNTIME", ("no_such_module",))
        (one,) = opening.open_bundle(elsewhere, with_backbone).runs
        assert any("cannot predict" in sentence and "pip install" in sentence for sentence in one.lacks)
        assert backbone_files.listed(elsewhere) == []
    (one,) = opening.open_bundle(elsewhere, with_backbone).runs
    assert one.state == "here" and not any("predict" in sentence for sentence in one.lacks)
    assert len(backbone_files.listed(elsewhere)) == 1
