"""A record as an event file that TensorBoard opens: a folder for each run, which replaces an earlier one.

TensorFlow is not needed: tensorboardX brings the format's messages and its checksums.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter

from covid_core import files
from covid_core.errors import InvalidChoice, cause
from covid_core.exchange.tracking.record import Record

VERSION = "brain.Event:2"  # of the format, in the first event of each file
FILE = "events.out.tfevents.{seconds}.second-look"  # its usual name holds that of the computer
MARK = "second-look.json"  # tells which run a folder is of
TEXTS = (".md", ".txt")


def write(record: Record, folder: Path) -> Path:
    """Write the record into a folder of its own below ``folder``, which is returned. Raises InvalidChoice where it
    cannot be written, or holds something else."""
    target = folder / record.run
    try:
        if target.exists() and not (target / MARK).is_file():
            raise InvalidChoice(f"{target} is not a folder that Second Look wrote. Choose another one.")
        if target.exists() and files.read_json(target / MARK)["content"] == record.key:
            return target
        if target.exists():
            files.remove_folder(target)
        with files.published_folder(target) as staging:
            now = time.time()
            with contextlib.closing(RecordWriter(str(staging / FILE.format(seconds=int(now))))) as events:
                for event in _events(record, now):
                    events.write(event.SerializeToString())
            files.write_json(staging / MARK, {"run": record.run, "content": record.key})
    except (OSError, ValueError, KeyError) as error:
        raise InvalidChoice(f"No event file can be written into {folder}: {cause(error)}.") from error
    return target


def _events(record: Record, now: float) -> Iterator[Event]:
    last = len(record.curves)
    yield Event(wall_time=now, file_version=VERSION)
    for name in record.curves:
        for epoch, value in record.curves[name].dropna().items():
            yield _event(now, int(epoch), Summary.Value(tag=f"history/{name}", simple_value=value))
    for name, value in record.figures.items():
        yield _event(now, last, Summary.Value(tag=name, simple_value=value))
    for name, content in record.charts.items():
        image = Summary.Image(encoded_image_string=content)
        yield _event(now, last, Summary.Value(tag=f"figures/{name.partition('.')[0]}", image=image))
    texts = {"settings": _table(record.settings), "about": _table(record.tags)}
    texts |= {name: one.decode() for name, one in record.documents.items() if name.endswith(TEXTS)}
    for name, text in texts.items():
        yield _event(now, last, summary.text(name, text).value[0])


def _event(now: float, step: int, value: Summary.Value) -> Event:
    return Event(wall_time=now, step=step, summary=Summary(value=[value]))


def _table(values: dict[str, str]) -> str:
    """Markdown."""
    rows = [f"| {name} | {value.replace('|', '&#124;')} |" for name, value in values.items() if value]
    return "\n".join(["| name | value |", "| --- | --- |", *rows])
