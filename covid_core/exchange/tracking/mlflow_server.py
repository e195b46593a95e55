"""A record on an MLflow server, once for each run: one that has not changed stays, one that has is replaced.

MLflow's client would send usage statistics and try a server that is not there for minutes; neither happens here.
"""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from covid_core.errors import InvalidChoice, cause
from covid_core.exchange.tracking.record import Record

if TYPE_CHECKING:
    from mlflow import MlflowClient

SILENT = {  # read as MLflow is imported: no statistics, and nothing on standard output
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
HASTY = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
AT_ONCE = 100  # of settings or tags, as the server takes them; of figures it takes ten times as many
LONGEST = 5000  # characters of a tag
LONGEST_SETTING = 6000
CONTENT, WHOLE = "second_look.content", "second_look.whole"
NOTE = "mlflow.note.content"  # what its page shows as the description


class Written(NamedTuple):
    """A run on the server. ``is_new``: it was written now."""

    run: str
    url: str
    is_new: bool


def write(record: Record, uri: str, experiment: str) -> Written:
    """Write a record to the server at an address. Raises InvalidChoice where there is none, or it refuses."""
    parts = urlsplit(uri)
    server = parts.netloc.rpartition("@")[2]  # what is before it may be a password
    shown = parts._replace(netloc=server).geturl().rstrip("/")
    if parts.scheme not in ("http", "https"):
        raise InvalidChoice(f"The address of an MLflow server begins with http:// or https://, received: {shown!r}.")
    os.environ.update(SILENT | HASTY)
    from mlflow import MlflowClient  # here, after the switches
    from mlflow.exceptions import MlflowException

    client = MlflowClient(tracking_uri=uri)
    try:
        there = client.get_experiment_by_name(experiment)
        place = there.experiment_id if there else client.create_experiment(experiment)
        others = client.search_runs([place], f"tags.`second_look.run` = '{record.run}'")
        same = [one for one in others if one.data.tags.get(CONTENT) == record.key and WHOLE in one.data.tags]
        made = same[0].info.run_id if same else _written(client, place, record)
        for one in others:
            if one.info.run_id != made:  # an earlier content, or what a broken connection left
                client.delete_run(one.info.run_id)
    except (MlflowException, OSError) as error:
        raise InvalidChoice(f"The MLflow server {server} did not accept the run: {_reason(error)}.") from error
    return Written(made, f"{shown}/#/experiments/{place}/runs/{made}", not same)


def _written(client: "MlflowClient", place: str, record: Record) -> str:
    """A new run with all that the record holds."""
    from mlflow.entities import Metric, Param, RunTag

    about = " ".join(record.tags[f"second_look.{name}"] for name in ("evidence_check", "labels", "use"))
    tags = {**record.tags, CONTENT: record.key, "second_look.undefined": ", ".join(record.undefined), NOTE: about}
    made = client.create_run(place, run_name=record.name).info.run_id
    _in_batches(client, made, "tags", [RunTag(key, value[:LONGEST]) for key, value in tags.items() if value])
    _in_batches(client, made, "params", [Param(key, one[:LONGEST_SETTING]) for key, one in record.settings.items()])
    last = len(record.curves)
    figures = [Metric(name, value, 0, last) for name, value in record.figures.items()]
    for name in record.curves:
        values = record.curves[name].dropna()
        figures += [Metric(f"history/{name}", float(value), 0, int(epoch)) for epoch, value in values.items()]
    _in_batches(client, made, "metrics", figures)
    with tempfile.TemporaryDirectory() as folder:
        for name, content in {**record.charts, **record.documents}.items():
            path = Path(folder) / name
            path.write_bytes(content)
            client.log_artifact(made, str(path), "figures" if name in record.charts else None)
    if record.model:
        client.log_artifact(made, str(record.model), "model")
    client.set_tag(made, WHOLE, "true")
    client.set_terminated(made)
    return made


def _in_batches(client: "MlflowClient", run: str, kind: str, values: list[Any]) -> None:
    for start in range(0, len(values), AT_ONCE):
        client.log_batch(run, **{kind: values[start : start + AT_ONCE]})


def _reason(error: Exception) -> str:
    """The first cause, which names neither folders nor addresses."""
    text = cause(error)
    if "Connection refused" in text or "Max retries" in text or "NameResolution" in text:
        return "nobody answers there. Start it, or check the address"
    return text[:200]
