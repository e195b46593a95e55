"""A workspace in which all that people name or write is hostile: pictures and links from elsewhere, formulas, tags and
icons in classes, sources, images, data sets, runs, studies, notes and reasons; and every place that shows them."""

import time
from pathlib import Path

import pandas as pd
from made_audits import keep_audit
from made_data import database_folders, image
from made_runs import all_parts, made_repeats, made_run
from made_segmenters import made_segmenter

from covid_core.audit import dataset_audit
from covid_core.audit.embedding import embedding_map
from covid_core.data import dataset as data
from covid_core.data import decisions
from covid_core.data.dataset import Dataset
from covid_core.data.decisions import DISMISS, LEAVE_OUT, RELABEL, Decision
from covid_core.data.imports import importing
from covid_core.images.codec import png_bytes
from covid_core.inference import external_test
from covid_core.runs import store
from covid_core.runs.store import EvaluationRecord, Run, Status
from covid_core.specs import LayoutSpec
from covid_core.workspace import Workspace

EVIL = "evil.test"


def hostile(kind: str) -> str:
    """A name short enough for a run: a picture from elsewhere, a link, a formula and an icon to Markdown; a tag and a
    value to Plotly."""
    return f"{kind} ![p](https://{EVIL}/x) <b>n %{{k}} $x$ :material/a:"


def of_file(kind: str) -> str:
    """The same as far as a file can be called so."""
    return hostile(kind).replace("/", "")


ILL, WELL = hostile("ill"), hostile("well")
CLASSES = {of_file("ill"): ILL, of_file("well"): WELL}  # by folder
SOURCES = [hostile("here"), hostile("there") + f" www.{EVIL} a@{EVIL}"]
SIZES = {"train": 60, "validation": 30, "test": 30}


def images(place: Workspace, folder: Path) -> Dataset:
    """A data set of such names, with copies, files that cannot be read, an audit, a map, and decisions."""
    database_folders(folder / "own", dict(zip(CLASSES, (16, 18), strict=True)))
    for number, label in enumerate(CLASSES):
        images = folder / "own" / label / "images"
        for path in sorted(images.iterdir())[:3]:  # one picture under two classes, and under two names
            (images / f"{of_file('again')} {path.name}").write_bytes(png_bytes(image(int(path.stem.split("-")[-1]))))
        (images / f"{of_file('torn')} {number}.png").write_bytes(b"no picture")
    database_folders(folder / "other", dict.fromkeys(CLASSES, 6))
    made, against = (imported(place, folder / name, hostile(name)) for name in ("own", "other"))
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


def imported(place: Workspace, folder: Path, name: str) -> Dataset:
    """Classes and sources by a table, whose texts have every sign."""
    rows = [
        {"path": path.relative_to(folder).as_posix(), "label": CLASSES[path.parts[-3]], "source": SOURCES[number % 2]}
        for number, path in enumerate(sorted(folder.glob("*/images/*")))
    ]
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    return importing.import_folder(place, folder, name, LayoutSpec(tables=("labels.csv",)))


def runs(place: Workspace) -> list[Run]:
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
