"""Runs tracked on a real MLflow server with a SQLite store."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from services import free_port, program, running

from covid_core.runs import store
from covid_core.workspace import Workspace

RUN = "longer-00008"
PASSWORD = "correct-horse-battery"
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """All that the server keeps, and its log."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="module")
def server(folder):
    """The address of a server."""
    port = free_port()
    command = [program("mlflow"), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/runs.db", "--artifacts-destination", str(folder / "files")]
    with running(command, port, folder / "mlflow.log", {**os.environ, **QUIET}):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def home(golden, tmp_path, monkeypatch) -> Workspace:
    monkeypatch.setenv("COVID_CORE_HOME", str(tmp_path / "workspace"))
    return Workspace(shutil.copytree(golden, tmp_path / "workspace"))


@pytest.fixture
def client(server, monkeypatch):
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=server)


def test_a_run_is_on_the_server_once_with_all_that_leaves(server, home, client, answer):
    _, first = answer("track", RUN, "--mlflow", server)
    _, again = answer("track", RUN, "--mlflow", server)
    written = first["runs"][0]["mlflow"]
    assert written["is_new"] and again["runs"][0]["mlflow"] == {**written, "is_new": False}
    place = client.get_experiment_by_name("Second Look").experiment_id
    (found,) = client.search_runs([place])
    run = store.open_run(home, RUN)
    assert (found.info.run_id, found.info.run_name, found.info.status) == (written["run"], run.name, "FINISHED")
    assert found.data.params["backbone"] == run.spec.backbone
    figures = found.data.metrics
    assert figures["test/accuracy/low"] <= figures["test/accuracy"] <= figures["test/accuracy/high"]
    losses = client.get_metric_history(written["run"], "history/loss")
    assert [one.value for one in losses] == pytest.approx(run.history()["loss"].tolist())
    assert {one.path for one in client.list_artifacts(written["run"], "figures")} >= {"figures/roc.png"}
    assert {one.path for one in client.list_artifacts(written["run"])} >= {"card.html", "card.md"}
    (model,) = client.list_artifacts(written["run"], "model")
    assert model.file_size == run.model_path.stat().st_size


def test_a_run_that_has_changed_is_replaced(server, home, client, answer):
    answer("track", RUN, "--mlflow", server, "--experiment", "changed")
    answer("annotate", RUN, "--name", "Another name")
    answer("track", RUN, "--mlflow", server, "--experiment", "changed")
    (found,) = client.search_runs([client.get_experiment_by_name("changed").experiment_id])
    assert found.info.run_name == "Another name"


def test_a_password_in_the_address_is_neither_printed_nor_stored(server, folder, home, answer):
    address = server.replace("://", f"://somebody:{PASSWORD}@")
    code, tracked = answer("track", RUN, "--mlflow", address, "--experiment", "password")
    assert code == 0 and tracked["runs"][0]["mlflow"]["url"].startswith(f"{server}/#/")
    assert PASSWORD not in json.dumps(tracked)
    stored = [path for one in (home.root, folder) for path in one.rglob("*") if path.is_file()]
    assert [path for path in stored if PASSWORD.encode() in path.read_bytes()] == []
    for wrong in (f"ftp://somebody:{PASSWORD}@127.0.0.1", f"http://somebody:{PASSWORD}@127.0.0.1:{free_port()}"):
        code, refused = answer("track", RUN, "--mlflow", wrong)
        assert code == 1 and PASSWORD not in json.dumps(refused)


def test_a_server_that_is_not_there_is_told_in_a_sentence(home, answer):
    code, refused = answer("track", RUN, "--mlflow", f"http://127.0.0.1:{free_port()}")
    assert code == 1 and "nobody answers" in refused["error"]


def test_nobody_but_the_server_is_asked(server, home, tmp_path):
    """Neither MLflow's statistics nor anything else: every connection of the process goes to this computer."""
    trace = tmp_path / "connections"
    command = [program("strace"), "-f", "-qq", "-e", "trace=connect,sendto", "-o", str(trace)]
    track = [sys.executable, "-m", "covid_core", "track", RUN, "--mlflow", server, "--experiment", "traced"]
    environment = {**os.environ, "COVID_CORE_HOME": str(home.root), "BROWSER_PATH": "/no/browser"}  # it resolves names
    subprocess.run([*command, *track], check=True, env=environment)
    calls = [line for line in trace.read_text().splitlines() if "AF_INET" in line]
    assert calls and not [line for line in calls if "127.0.0.1" not in line and '"::1"' not in line]
