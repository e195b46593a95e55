"""Images of a PACS for a data set: what a query matches becomes a class."""

import zipfile
from collections.abc import Callable

import streamlit as st

from covid_core import access, files
from covid_core.errors import DataError, cause
from covid_core.formatting import count, file_size
from covid_core.jobs.kinds import ImportRequest
from covid_core.workspace import new_id
from pages.shared import import_jobs, pacs, shell

MOST, MOST_BYTES = 2_000, 4 * 10**9  # images and bytes of one query from the page
REFUSED = ("/", "\\", ".")  # in a name of a class, or at its beginning


def show(pick_target: Callable[[str], str]) -> None:
    """The form; ``pick_target`` is that of all ways to add a data set."""
    st.markdown(
        "All plain radiographs that the query matches become one class. Fetch the other classes afterwards, into the "
        f"same data set. One query: at most {count(MOST)} images and {file_size(MOST_BYTES)}. The DICOM files are "
        "removed when their import ends. Pixels, a hash of the patient, sex, age, view, device and pixel size stay."
    )
    label = st.text_input("Class of these images", key="import-pacs-class", max_chars=80).strip()
    if label and not _is_name(label):
        st.error("A name of a class has no slash, and no point at its beginning.", icon=":material/error:")
    into = pick_target("pacs")
    if asked := pacs.query("import", "" if _is_name(label) else "Write the class of these images first."):
        import_jobs.start(_request(asked, label, into))


def _is_name(label: str) -> bool:
    return bool(label) and not any(sign in label for sign in REFUSED[:2]) and not label.startswith(REFUSED[2])


def _request(asked: pacs.Query, label: str, into: str) -> ImportRequest:
    """Fetch into an archive where its import finds it, and removes it. Raises CovidCoreError."""
    access.check(shell.workspace(), access.IMPORT, what=asked.server.name)
    target = shell.workspace().uploads / f"{new_id(asked.server.name)}.zip"
    try:
        with files.published(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for name, content in pacs.fetched(asked, MOST, MOST_BYTES):
                archive.writestr(f"{label}/{name}", content)
    except OSError as error:
        raise DataError(f"The images cannot be saved: {cause(error)}.") from error
    request = {"source": str(target), "name": asked.server.name, "dataset": into, "remove_source": True}
    return ImportRequest(**request, classes=(label,))
