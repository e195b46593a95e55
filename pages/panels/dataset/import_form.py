"""Adding a data set, or images to one: synthetic images, a folder or archive on this computer, an upload, Kaggle, data
sets that are merged. All run as jobs."""

import functools
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from covid_core import access
from covid_core.data import dataset as data
from covid_core.data.imports import archives, importing, layouts, merging, metadata
from covid_core.data.imports.layouts import Layout
from covid_core.errors import DataError
from covid_core.formatting import count, plural
from covid_core.jobs import kinds, queue
from covid_core.jobs.kinds import ImportRequest, KaggleRequest, MergeRequest, PhantomRequest
from covid_core.reports.layout_text import layout_notes, layout_table, merge_notes, merge_table, merge_warnings
from covid_core.specs import LayoutSpec, MergeSpec, parse
from covid_core.synthetic import phantom
from pages.panels.dataset import pacs_form
from pages.shared import import_jobs, pacs, run_cache, shell

FEWEST_IMAGES, MOST_IMAGES = 30, 20_000
KAGGLE_PAGE = f"https://www.kaggle.com/datasets/{importing.KAGGLE_DATASET}"
KAGGLE_CLASSES = ["COVID", "Lung_Opacity", "Normal", "Viral Pneumonia"]
WAY, OWN = "import-way", "Folder or zip on this computer"  # session; the way in the list below
FROM_PACS = "From a PACS"
OWN_PATTERN, UNKNOWN = "A pattern of your own", "Unknown"  # among the ways in which names say who the patient is
IN_HEADERS = "PatientID of DICOM headers, else unknown"
PLANT_WORDS = {
    "corner-tag": "A letter in a corner, one per class",
    "brightness-shift": "COVID images brighter, viral pneumonia images darker",
    "near-duplicates": "5 % near-duplicates",
    "swapped-labels": "4 % swapped labels",
    "clear-lesions": "Clear lesions: the same diseases, easy to see (no fault)",
}


def add_dataset() -> None:
    """All ways to add a data set; the page shows running imports itself."""
    if not access.actor().may(access.IMPORT):  # one of the ways reads folders of the server
        st.caption("Only an administrator of this server adds data sets.")
        return
    ways: dict[str, Callable[[], None]] = {
        "Synthetic images": _phantom_form,
        OWN: _path_form,
        "Upload a zip": _upload_form,
        "Kaggle": _kaggle_form,
        "Merge data sets": _merge_form,
        **({FROM_PACS: lambda: pacs_form.show(_pick_target)} if pacs.is_configured() else {}),
    }
    st.session_state.setdefault(WAY, next(iter(ways)))
    way = st.segmented_control(
        "Where do the images come from?",
        list(ways),
        required=True,
        key=WAY,
        wrap=True,
    )
    with shell.errors_shown():
        ways[way]()


def _phantom_form() -> None:
    st.markdown(
        "A program draws the images, with lung masks: everything can be tried without a download. Plant a fault, and "
        "check whether you and your model detect it. Or plant clear lesions, and check whether heat maps point at them."
    )
    with st.form("import-phantom", border=False):
        left, right = st.columns(2)
        images = left.number_input(
            "Number of images",
            FEWEST_IMAGES,
            MOST_IMAGES,
            import_jobs.IMAGES_AT_FIRST,
            100,
            help=f"About {kinds.DRAWN_PER_SECOND} images per second on two idle cores.",
        )
        seed = right.number_input("Seed", 0, value=0, help="The same number and seed give the same images.")
        plant = st.multiselect(
            "Planted on purpose",
            phantom.PLANTS,
            format_func=lambda name: PLANT_WORDS.get(name, name),
            placeholder="None",
        )
        name = st.text_input("Name", placeholder="Phantom images", max_chars=80)
        if st.form_submit_button("Draw the images", type="primary", icon=":material/draw:"):
            import_jobs.start(PhantomRequest(images=images, seed=seed, plant=plant, name=name.strip()))


def _path_form() -> None:
    st.markdown(
        "One folder per class with PNG, JPEG, TIFF or DICOM files, at any depth. Folders for parts (train, test), "
        "patients and lung masks are understood. Files in a folder stay there and are never changed."
    )
    typed = st.text_input(
        "Path of the folder or zip file", key="import-path", placeholder="/home/me/radiography"
    ).strip()
    if not typed:
        return
    source = Path(typed.strip("\"'")).expanduser().absolute()
    with layouts.opening(source):
        is_archive = source.is_file()
    encoding = _pick_encoding(source, str(source)) if is_archive else ""
    spec = _corrected(*importing.files_of(source, encoding), encoding, str(source))
    stem = source.stem if source.suffix.lower() == ".zip" else source.name
    into = _pick_target("path")
    name = stem if into else st.text_input("Name", value=stem, max_chars=80, key=f"import-name-{source}")
    if st.button("Import", type="primary", icon=":material/download:", key="import-path-go", disabled=not spec.classes):
        request = {"source": str(source), "name": name.strip(), "dataset": into}
        import_jobs.start(ImportRequest(**request, **spec.model_dump()))


def _pick_target(key: str) -> str:
    """Id of the data set that images are added to, "" where they are a new one."""
    names = _names()
    if not names:
        return ""
    into = st.selectbox(
        "Images go into",
        ["", *names],
        format_func=lambda name: names.get(name, "A new data set"),
        key=f"import-into-{key}",
    )
    if into:
        st.caption(
            "Images that are there already are left out. Decisions stay, and earlier runs open with their version."
        )
    return into


def _names() -> dict[str, str]:
    """Names of the readable data sets by id; with the id where two have the same."""
    listed = [info for info in data.list_datasets(shell.workspace()) if not info.get("damaged")]
    often = Counter(info["name"] for info in listed)
    return {one["id"]: one["name"] if often[one["name"]] == 1 else f"{one['name']} ({one['id']})" for one in listed}


def _pick_encoding(archive: Path | BinaryIO, key: str) -> str:
    """How the names in an archive are written, where they do not say so."""
    examples = archives.encodings_of(archive)
    if not examples:
        return ""
    return st.selectbox(
        "The names in the archive do not say how they are written. Which of these is right?",
        list(examples),
        format_func=lambda encoding: f"{examples[encoding]} ({archives.ENCODINGS[encoding]})",
        key=f"import-encoding-{key}",
    )


def _corrected(
    names: list[str], content: Callable[[str], bytes], root: str, encoding: str, key: str = ""
) -> LayoutSpec:
    """What an import of files would take, with a choice for each guess. Raises DataError without any class."""
    key = key or root
    tables = {**_pick_tables(names, content, root, key), "encoding": encoding}
    version = hash((root, *names, *map(content, tables.get("tables", ()))))

    def proposal(**choices: Any) -> Layout:
        return _proposed(version, parse(LayoutSpec, {**tables, **choices}).model_dump_json(), root, names, content)

    layout = proposal()
    if layout.below:
        levels = {", ".join(layout.listed): None, ", ".join(layout.below): layout.below}
        level = st.radio("Which folders are the classes?", list(levels), key=f"import-level-{key}")
        layout = proposal(classes=levels[level])
    if any(image.part for image in layout.images):
        named = st.toggle("Folders named train, val or test are the authors' parts", True, key=f"import-parts-{key}")
        tables |= {} if named else {"parts": {}}
        layout = proposal(classes=layout.wanted or tuple(layout.listed))
    counts = {label: layout.counts[label] for label in layout.wanted or layout.counts}
    classes = _pick_classes(counts, f"{key}-{hash(tuple(counts))}")
    if not classes:
        return LayoutSpec(classes=())
    choices = {"classes": classes, **({} if tables.get("columns", {}).get("patient") else _pick_patients(layout, key))}
    chosen = proposal(**choices)
    shell.table(layout_table(chosen), "import")
    for note in layout_notes(chosen):
        st.markdown(f"- {shell.plain(note)}")
    if chosen.left_out:
        with st.expander(f"Left out: {plural(len(chosen.left_out), 'file')}"):
            shell.table(pd.DataFrame(chosen.left_out, columns=["File", "Reason"]), "left-out")
    return parse(LayoutSpec, {**tables, **choices})


@st.cache_resource(max_entries=4, show_spinner="Reading names and tables")
def _proposed(version: int, spec: str, root: str, _names: list[str], _content: Callable[[str], bytes]) -> Layout:
    return importing.proposed(_names, root, LayoutSpec.model_validate_json(spec), _content)


def _pick_patients(layout: Layout, key: str) -> dict[str, Any]:
    """How paths name the patient: fields of a LayoutSpec."""
    ways = {**layouts.PATIENTS, OWN_PATTERN: "", UNKNOWN: ""}
    proposed = next(way for way, pattern in ways.items() if (pattern and pattern == layout.patients) or way == UNKNOWN)
    has_headers = any(not layouts.is_plain(image.path) for image in layout.images)
    way = st.selectbox(
        "Patients",
        list(ways),
        index=list(ways).index(proposed),
        format_func=lambda one: IN_HEADERS if one == UNKNOWN and has_headers else one,
        key=f"import-patients-{key}",
    )
    pattern = ways[way]
    if way == OWN_PATTERN:
        pattern = st.text_input(
            "Pattern",
            key=f"import-pattern-{key}",
            help="A regular expression that finds the patient in an image's path.",
        )
    anew = pattern and st.toggle(
        "Patients' numbers start anew in each class",
        value=layout.anew,
        key=f"import-anew-{key}",
        help="Then patient 1 of two classes is two people.",
    )
    return {"patients": pattern.strip(), "anew": bool(anew)}


def _pick_tables(names: list[str], content: Callable[[str], bytes], root: str, key: str) -> dict[str, Any]:
    """The tables that label the images, if any, and what their columns say: fields of a LayoutSpec."""
    there = [name for name in names if metadata.is_table(name)]
    if not there:
        return {}
    chosen = st.multiselect(
        "Tables with labels",
        there,
        default=[] if _has_classes(names, root) else metadata.likely(there, content),
        key=f"import-tables-{key}",
        placeholder="None: the folders are the classes",
        help="Tables with the same columns follow each other, others are joined by the columns that they share.",
    )
    if not chosen:
        return {}
    table = metadata.read(chosen, content)
    guesses = metadata.guessed(table)
    several = bool(guesses["label"].count("|"))
    columns = {"label": guesses["label"]} if several else {}
    with st.expander(f"Columns of {plural(len(table), 'row')}", expanded=not guesses["path"] or not guesses["label"]):
        for role in metadata.ROLES if not several else [role for role in metadata.ROLES if role != "label"]:
            there = ["", *table.columns]
            index = there.index(guesses[role]) if guesses[role] in there else 0
            columns[role] = st.selectbox(role.capitalize(), there, index=index, key=f"import-column-{role}-{key}")
    takes_chosen = st.toggle(
        "Images with several labels count for the one that is a chosen class",
        key=f"import-several-{key}",
        help="Otherwise images with several labels are left out.",
    )
    chosen_columns = {role: column for role, column in columns.items() if column}
    return {"tables": chosen, "columns": chosen_columns, "several": "chosen" if takes_chosen else "leave_out"}


def _has_classes(names: list[str], root: str) -> bool:
    try:
        return len(layouts.understood(names, root).counts) > 1
    except DataError:
        return False


def _pick_classes(counts: dict[str, int], key: str) -> list[str]:
    """The classes with their counts, of which the user chooses some."""
    chosen = st.multiselect(
        "Classes to import",
        list(counts),
        default=[label for label in counts if label not in layouts.OFF_BY_DEFAULT],
        format_func=lambda label: f"{label} ({count(counts[label])})",
        key=f"import-classes-{key}-{'/'.join(counts)}",  # a table brings other classes than the folders: all are chosen
        help="Lung_Opacity is a fourth class of the database that the course study left out.",
    )
    st.caption(f"{plural(sum(counts[label] for label in chosen), 'image')} of {count(sum(counts.values()))}.")
    return chosen


def _upload_form() -> None:
    st.markdown(
        f"A zip file of at most {import_jobs.UPLOAD_LIMIT} MB with one folder per class. "
        "Import a larger one by its path."
    )
    uploaded = st.file_uploader("Zip file", type="zip", max_upload_size=import_jobs.UPLOAD_LIMIT, key="import-upload")
    if uploaded is None:
        return
    encoding = _pick_encoding(uploaded, uploaded.file_id)
    content = functools.partial(archives.content_in, uploaded, encoding=encoding)
    spec = _corrected(archives.names_in(uploaded, encoding), content, uploaded.name, encoding, uploaded.file_id)
    into = _pick_target("zip")
    label = f"Import {shell.plain(uploaded.name)}"
    if st.button(label, type="primary", icon=":material/download:", key="import-zip-go", disabled=not spec.classes):
        import_jobs.start(_upload_request(uploaded, spec, into))


def _upload_request(uploaded: UploadedFile, spec: LayoutSpec, into: str) -> ImportRequest:
    """Save an upload where its import finds it, and removes it. Raises DataError or NotPermitted."""
    target = import_jobs.saved_upload(uploaded, access.IMPORT)
    request = {"source": str(target), "name": Path(uploaded.name).stem[:80], "dataset": into, "remove_source": True}
    return ImportRequest(**request, **spec.model_dump())


def _kaggle_form() -> None:
    st.markdown(
        f"The [COVID-19 Radiography Database]({KAGGLE_PAGE}) of Qatar University and the University of Dhaka has "
        "21,165 images with lung masks. kagglehub downloads it once from kaggle.com, without an account: about "
        f"{count(importing.KAGGLE_BYTES / 10**6)} MB in its own cache folder."
    )
    st.markdown(
        "Condition: cite Chowdhury et al. 2020 (doi 10.1109/ACCESS.2020.3010287) and Rahman et al. 2021 (doi "
        "10.1016/j.compbiomed.2021.104319). The images come from other collections, whose own terms apply. Read them "
        "on Kaggle's page before you share images."
    )
    fourth = st.toggle("Also import the fourth class, Lung_Opacity (6,012 images)", key="import-kaggle-fourth")
    if st.button("Download and import", type="primary", icon=":material/cloud_download:", key="import-kaggle-go"):
        name = "COVID-19 Radiography Database"
        import_jobs.start(KaggleRequest(name=name, classes=KAGGLE_CLASSES if fourth else None))


def _merge_form() -> None:
    st.markdown(
        "Several data sets become one, in which each is a source. Images that two of them share count once. What is "
        "left out is listed."
    )
    names = _names()
    chosen = st.multiselect("Data sets", list(names), format_func=names.__getitem__, key="merge-of")
    if len(chosen) < 2:
        st.caption("Choose two at least. Of shared images, those of the first count.")
        return
    members = [shell.open_dataset(one) for one in chosen]
    classes = _pick_names(members)
    prefer = st.selectbox(
        "Where shared images have contradicting classes",
        ["", *chosen],
        format_func=lambda one: f"Those of {names[one]} count" if one else "Both are left out",
        key=f"merge-prefer-{'/'.join(chosen)}",
    )
    spec = MergeSpec(members=chosen, classes=classes, prefer=prefer)
    merge = merging.planned(shell.workspace(), spec)
    for warning in merge_warnings(merge):
        st.warning(shell.plain(warning), icon=":material/warning:")
    images = {name: st.column_config.NumberColumn(format="localized") for name in (*merge.names, "Images")}
    shell.table(merge_table(merge), "merge", column_config=images, alt="Images of each class and data set")
    for note in merge_notes(merge):
        st.markdown(f"- {shell.plain(note)}")
    name = st.text_input("Name", value=" + ".join(merge.names)[:80], max_chars=80, key=f"merge-name-{'/'.join(chosen)}")
    if st.button("Merge", type="primary", icon=":material/merge:", key="merge-go"):
        import_jobs.start(MergeRequest(name=name.strip(), **spec.model_dump()))


def _pick_names(members: list[data.Dataset]) -> dict[str, dict[str, str]]:
    """What each class of the members is called in the merged data set, "" where it is left out, if not as before."""
    guesses = merging.proposed(members)
    there = list(dict.fromkeys(label for member in members for label in member.classes))
    classes: dict[str, dict[str, str]] = {}
    for member in members:
        st.markdown(f"**{shell.plain(member.name)}**")
        with st.container(horizontal=True):
            for label, images in member.counts.items():
                into = st.selectbox(
                    f"{shell.plain(label)} ({count(images)})",
                    ["", *there],
                    index=1 + there.index(guesses.get(member.id, {}).get(label, label)),
                    format_func=lambda name: name or "Left out",
                    key=f"merge-{member.id}-{label}-{'/'.join(there)}",
                    width=220,
                )
                if into != label:
                    classes.setdefault(member.id, {})[label] = into
    return classes


def remove_dataset() -> None:
    """Buttons that delete: the data set in use, and folders that are damaged. Each asks once."""
    for info in data.list_datasets(shell.workspace()):
        in_use = info["id"] == st.session_state.get(shell.IN_USE)
        if in_use or info.get("damaged"):
            label = f"Delete {shell.plain(info['name'])}" + (" (damaged)" if info.get("damaged") else "")
            if shell.button(label, access.IMPORT, key=f"delete-{info['id']}", icon=":material/delete:"):
                _confirm_removal(info)


@st.dialog("Delete this data set?")
def _confirm_removal(info: Mapping[str, Any]) -> None:
    identifier = info["id"]
    runs, _ = run_cache.listed()
    waiting = [one.run for one in runs if one.is_active and one.run.spec.dataset == identifier]
    if waiting:
        names = ", ".join(run.name for run in waiting)
        st.warning(f"It is in use: {shell.plain(names)}. Stop that training first.", icon=":material/warning:")
        return
    jobs = queue.jobs_on(shell.workspace(), identifier)
    if jobs:
        titles = shell.plain("; ".join(job.title for job in jobs))
        st.warning(f"Jobs with its images are under way: {titles}. Stop them first.", icon=":material/warning:")
        return
    st.markdown(shell.plain(_what_goes(info)))
    trained = [one.run for one in runs if one.run.spec.dataset == identifier]
    if trained:
        st.markdown(
            f"{plural(len(trained), 'run')} trained on it stay with all results. They can no longer be resumed or "
            "show these images."
        )
    confirm = {"key": "delete-confirmed", "on_click": shell.tried, "args": (_remove, identifier)}
    if st.button("Delete", type="primary", icon=":material/delete:", **confirm):
        st.rerun()


def _remove(identifier: str) -> None:
    """Delete a data set, which is then no longer in use."""
    data.delete_dataset(shell.workspace(), identifier)
    for parameter in ("dataset", "image"):
        st.query_params.pop(parameter, None)
    st.session_state.pop(shell.IN_USE, None)


def _what_goes(info: Mapping[str, Any]) -> str:
    """What deleting destroys, and what it leaves alone."""
    images = plural(sum(info["counts"].values()), "image")
    if info.get("damaged"):
        return "Its folder in the workspace is removed, with all images in it. This cannot be undone."
    if info["root"] is None:
        return f"{images} of “{info['name']}”, made or unpacked in the workspace, are removed. This cannot be undone."
    return f"The table of {images} is removed. The images themselves, in {info['root']}, stay."
