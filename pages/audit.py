"""What is wrong with a data set's images, and can their class be read off the source?"""

from collections.abc import Callable

import streamlit as st

from covid_core.audit.quality.findings import UNREADABLE
from covid_core.data.dataset import Dataset
from covid_core.formatting import duration, moment, plural
from covid_core.jobs.kinds import AuditRequest
from covid_core.reports import audit_text
from pages.panels.audit import decision_form, decision_log, duplicates, findings, map_panel, shared_images, shortcuts
from pages.shared import audit_panel, gallery, job_panel, shell
from pages.shared.audit_panel import Audited

QUESTION = "What is wrong with these images, and can the class be read off the source?"
FINDINGS, COPIES, LADDER, AGAINST, MAP, DECISIONS = (
    "Findings",
    "Copies",
    "Does it give the class away?",
    "Another data set",
    "Map",
    "Decisions",
)


def main() -> None:
    shell.heading(QUESTION)
    answer = st.container()
    dataset = shell.pick_dataset()
    if dataset is None:
        return
    decision_form.last_one(dataset)
    at_work = audit_panel.panel(dataset)
    audited = None
    with shell.errors_shown():
        audited = audit_panel.latest(dataset)
    if audited is None:
        return
    with answer:
        _answer(audited, at_work)
    audit_panel.is_outdated(audited, at_work)
    _show_tabs(audited, at_work)
    gallery.show_open_image(dataset)
    st.divider()
    st.page_link("train.py", label=_next(dataset), icon=":material/arrow_forward:")


def _answer(audited: Audited, at_work: bool) -> None:
    """What was found, in words; without an audit, what one would do and the button that starts it."""
    found = audited.found
    if found is None and at_work:
        st.markdown("**Not known yet: the images are being audited.**")
    elif found is None:
        st.markdown(f"**Not known yet: nobody has audited these {plural(len(audited.dataset.images), 'image')}.**")
    else:
        verdict = audit_text.ladder(found.ladder).headline if found.ladder else found.ladder_reason
        pairs = audit_text.duplicates(audited.pairs[~audited.pairs["dismissed"]])
        st.markdown(f"**{shell.plain(verdict)}** {_findings_in_words(audited)} {pairs}")
        took = duration(sum(found.seconds.values()))
        st.caption(f"Audited {moment(found.made)}, in {took}.")


def _findings_in_words(audited: Audited) -> str:
    """How many findings of what kind, the three most frequent by name."""
    table = audited.findings[~audited.findings["dismissed"]]
    unread = int((table["finding"] == UNREADABLE).sum())
    table = table[table["finding"] != UNREADABLE]
    kinds = table["finding"].value_counts()
    if kinds.empty:
        told = "No image has a finding"
    else:
        named = ", ".join(f"{name} {images:,}" for name, images in kinds.head(3).items())
        more = f" and {plural(len(kinds) - 3, 'kind')} more" if len(kinds) > 3 else ""
        images = plural(table["image_id"].nunique(), "image has a finding", "images have findings")
        told = f"{images} of {plural(len(kinds), 'kind')} ({named}{more})"
    return f"{told}; {plural(unread, 'file')} could not be read." if unread else f"{told}."


def _show_tabs(audited: Audited, at_work: bool) -> None:
    """Only the open tab computes; its name is in the address."""
    contents: dict[str, Callable[[], None]] = {
        FINDINGS: lambda: _of_audit(audited, at_work, findings.show),
        COPIES: lambda: _of_audit(audited, at_work, duplicates.show),
        LADDER: lambda: _of_audit(audited, at_work, shortcuts.show),
        AGAINST: lambda: shared_images.show(audited, at_work),
        MAP: lambda: map_panel.tab(audited.dataset),
        DECISIONS: lambda: decision_log.show(audited),
    }
    tabs = st.tabs(list(contents), key="tab", bind="query-params")
    for tab, show in zip(tabs, contents.values(), strict=True):
        if tab.open:
            with tab, shell.errors_shown():
                show()


def _of_audit(audited: Audited, at_work: bool, show: Callable[[Audited], None]) -> None:
    """A tab that needs an audit, or how to come by one."""
    if audited.found is not None:
        show(audited)
        return
    request = AuditRequest(dataset=audited.dataset.id)
    with st.container(border=True):
        st.markdown(
            f"**No audit yet.** {audit_panel.WHAT_IT_DOES} With {plural(len(audited.dataset.images), 'image')} it "
            f"takes about {job_panel.expected(request)}; the page stays usable meanwhile."
        )
        if not at_work:
            audit_panel.offer(audited.dataset)


def _next(dataset: Dataset) -> str:
    left = dataset.taken_out
    return "Next: train on the images that are left" if len(left) else "Next: train a classifier on these images"


main()
