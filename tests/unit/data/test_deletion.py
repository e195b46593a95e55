"""Of a deleted data set and its runs nothing is left to be found, whatever was derived from the images."""

from made_data import made_dataset

from covid_core.audit import dataset_audit
from covid_core.audit.embedding import embedding_map
from covid_core.data import dataset as data
from covid_core.data import summary
from covid_core.data.dataset import Dataset
from covid_core.data.pixels import open_pixels
from covid_core.inference.lungs import FORMAT
from covid_core.jobs import queue
from covid_core.runs import store
from covid_core.runs.store import Run, Status
from covid_core.specs import TrainingSpec
from covid_core.workspace import Workspace

LOGS = {"activity.jsonl"}  # of actions: it names data sets and runs by their ids, no image


def files_of(workspace: Workspace) -> dict[str, bytes]:
    paths = [path for path in workspace.root.rglob("*") if path.is_file()]
    return {path.relative_to(workspace.root).as_posix(): path.read_bytes() for path in paths}


def derived(workspace: Workspace, images: Dataset) -> None:
    """All that pages and jobs keep of images."""
    dataset_audit.make(workspace, images)
    embedding_map.make(workspace, images)
    summary.pixel_summary(workspace, images)
    open_pixels(workspace, images, 32)
    key = images.pixels_key
    (workspace.features / f"{key[:16]}-lungs-1-of-a-network.f32").write_bytes(b"features")
    (workspace.pixels / f"{key[:32]}-lungs-of-a-segmenter-{FORMAT}.npz").write_bytes(b"outlines")


def trained(workspace: Workspace, images: Dataset) -> Run:
    spec = TrainingSpec(dataset=images.id, classes=images.classes, backbone="baseline_cnn", image_size=32)
    run = queue.published_run(workspace, spec)
    run.write_status(Status(store.COMPLETED))
    return run


def test_of_a_deleted_data_set_and_its_runs_no_file_is_left_but_the_log_of_actions(workspace, tmp_path):
    _, images = made_dataset(tmp_path, workspace, counts={"COVID": 12, "Normal": 12})
    derived(workspace, images)
    run = trained(workspace, images)
    kinds = {name.rpartition("/")[0].partition("/")[2] for name in files_of(workspace) if name.startswith("cache")}
    assert kinds == {"features", "pixels", "tables"}
    data.delete_dataset(workspace, images.id)
    assert all(name in LOGS or name.startswith(f"runs/{run.id}/") for name in files_of(workspace))
    queue.delete(run)
    left = files_of(workspace)
    assert set(left) <= LOGS
    assert not any(name.encode() in content for content in left.values() for name in images.images["image_id"])
