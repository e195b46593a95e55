"""The Audit page's view of single images: how many findings of each kind, which go with the class, and their images."""

import numpy as np
import pandas as pd
import streamlit as st

from covid_core.audit import tables
from covid_core.audit.quality.findings import RULES, UNREADABLE
from covid_core.data.pixels import SUMMARY_SIZE, open_pixels
from covid_core.figures import audit as figures
from covid_core.formatting import count, plural, share
from covid_core.reports import audit_text
from pages.panels.audit import decision_form
from pages.shared import gallery, presentation, shell, url_state
from pages.shared.audit_panel import Audited

AT_ONCE = 24  # images on a page of the gallery
VISIBLE = 0.01  # of a class; a bar of less cannot be seen
CHOSEN, PAGE, KIND = "chosen", "page", "kind"


def show(audited: Audited) -> None:
    st.markdown(
        "Each image is measured. A measure beyond its limit is a finding: a hint, not a verdict. A finding matters if "
        "it spoils the image, or if it goes with the class (*shortcut learning*)."
    )
    _summary(audited)
    _by_class(audited)
    _images(audited)
    _unreadable(audited)


def _summary(audited: Audited) -> None:
    """One row per kind of finding that there is, with its limit and the reason for that."""
    table = audited.audit.quality.summary
    there, absent = table[table["images"] > 0], table[table["images"] == 0]
    if len(there):
        images = {"Images": st.column_config.NumberColumn(format="localized")}
        alt = "Kinds of findings, with their limits and reasons"
        shell.table(_shown(there), "findings", column_config=images, alt=alt)
    common = there[there["common"]]
    if len(common):
        names = ", ".join(f"“{name}”" for name in common["finding"])
        st.caption(
            f"{names}: at least one image in five. Such a common finding is a property of the data set. Check where "
            "the images come from before you leave any out."
        )
    if len(absent):
        with st.expander(f"Not present: {plural(len(absent), 'kind')}", icon=":material/check:"):
            shell.table(_shown(absent), "findings-absent", alt="Kinds of findings that no image has")


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    table = table.sort_values("images", ascending=False, kind="stable")
    return pd.DataFrame(
        {
            "Finding": table["finding"],
            "Images": table["images"],
            "Share": table["share"].map(share),
            "Limit": [audit_text.limit_in_words(row.finding, row.limit) for row in table.itertuples()],
            "Belongs to the data set": np.where(table["common"], "yes", ""),
            "Not measured": table["unknown"],
            "Why this limit": table["reason"],
        }
    )


def _by_class(audited: Audited) -> None:
    """Whether a finding goes with the class, so that it could be a shortcut."""
    table = tables.findings_by_class(audited.findings, audited.labels)
    if table.empty:
        return
    st.subheader("Does a finding go with the class?")
    st.markdown(f"**{shell.plain(audit_text.association(table))}**")
    frequent = table.groupby("finding", sort=False).filter(lambda rows: rows["share"].max() >= VISIBLE)
    if len(frequent):
        words, title = figures.findings_in_words(frequent), "Findings per class"
        shell.chart(figures.finding_bars(frequent), "findings-by-class", alt=words, title=title, caption=words)
    if len(frequent) < len(table):
        st.caption(f"Findings in less than {share(VISIBLE, 0)} of every class are in the table only.")
    with st.expander("Figures"):
        shown = table.assign(share=table["share"].map(share))
        names = {"finding": "Finding", "label": "Class", "found": "With it", "images": "Images", "share": "Share"}
        shown = shown.rename(columns={**names, "association": "Cramér's V"})
        shell.table(shown, "findings-by-class-figures", table, digits=3)


# Images


def _images(audited: Audited) -> None:
    """The images with one kind of finding, worst first, and what can be done about them."""
    of_images = audited.findings[audited.findings["finding"] != UNREADABLE]
    counts = of_images[~of_images["dismissed"]]["finding"].value_counts()
    st.subheader("The images")
    if not len(of_images):
        st.info("No image has a finding.", icon=":material/check:")
        return
    kinds = sorted(of_images["finding"].unique(), key=lambda name: -counts.get(name, 0))
    words = {name: f"{name} ({count(counts.get(name, 0))})" for name in kinds}
    kind = url_state.choice(st.pills, "Finding", words, "finding", required=True)
    rows = of_images[of_images["finding"] == kind]
    dismissed = int(rows["dismissed"].sum())
    if dismissed and not st.toggle(f"Show {plural(dismissed, 'dismissed image')}, too", key=f"dismissed-{kind}"):
        rows = rows[~rows["dismissed"]]
    if len(rows):
        _pages(audited, kind, rows)


def _pages(audited: Audited, kind: str, rows: pd.DataFrame) -> None:
    st.caption(f"Worst first. {shell.plain(RULES[kind].reason)}")
    pages = -(-len(rows) // AT_ONCE)
    page = st.pagination(pages, key=f"findings-page-{audited.dataset.id}-{kind}-{pages}") if pages > 1 else 1
    shown = rows.iloc[(page - 1) * AT_ONCE : page * AT_ONCE]
    names = list(shown["image_id"])
    key = f"choose-{audited.dataset.id}-{kind}"
    _actions(audited, kind, names, list(rows["image_id"]), key)
    pixels = open_pixels(shell.workspace(), audited.dataset, SUMMARY_SIZE)
    places = [audited.dataset.row_of(name) for name in names]
    captions = [("Dismissed. " if row.dismissed else "") + audit_text.finding_text(row) for row in shown.itertuples()]
    gallery.image_grid(
        audited.dataset,
        places,
        pixels,
        "finding-image",
        captions,
        below=None
        if presentation.is_on()
        else lambda name: st.checkbox(f"Choose {shell.plain(gallery.short_name(name))}", key=f"{key}-{name}"),
    )


def _actions(audited: Audited, kind: str, here: list[str], all_names: list[str], key: str) -> None:
    """Buttons for the images that were chosen, all of this page, or all of this kind."""
    chosen = [name for name in here if st.session_state.get(f"{key}-{name}")]
    scopes = {CHOSEN: ("Chosen below", chosen), PAGE: ("This page", here), KIND: (f"All with “{kind}”", all_names)}
    words = {scope: f"{label} ({count(len(names))})" for scope, (label, names) in scopes.items()}
    with st.container(border=True, key="finding-actions"):
        which = st.segmented_control(
            "What the buttons apply to",
            list(scopes),
            required=True,
            default=CHOSEN,
            format_func=words.__getitem__,
            key="finding-scope",
            wrap=True,
        )
        names = scopes[which][1]
        with st.container(horizontal=True):
            proposals = decision_form.of_images(names, audited.dataset, kind)
            decision_form.buttons(audited.dataset, proposals, "finding", len(names))


def _unreadable(audited: Audited) -> None:
    """Files that are no image, each with its reason."""
    table = audited.findings[audited.findings["finding"] == UNREADABLE]
    if len(table):
        st.subheader("Files that were left out")
        shown = table[["image_id", "reason"]].rename(columns={"image_id": "File", "reason": "Reason"})
        shell.table(shown, "unreadable", alt="Files that were left out, with the reason")
