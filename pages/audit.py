"""What is wrong with a data set's images, and can their class be predicted without the lungs?"""

from collections.abc import Callable

import streamlit as st

from covid_core.formatting import duration, moment, plural
from covid_core.jobs.kinds import AuditRequest
from covid_core.reports import audit_text
from pages.panels.audit import decision_form, decision_log, duplicates, findings, map_panel, shared_images, shortcuts
from pages.shared import audit_panel, gallery, import_jobs, job_panel, shell
from pages.shared.audit_panel import Audited

QUESTION = "What is wrong with these images, and can the class be predicted without the lungs?"


def main() -> None:
    shell.heading(QUESTION)
    answer = st.container()
    dataset = shell.pick_dataset()
    if dataset is None:
        import_jobs.no_dataset()
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
    st.page_link("train.py", label="Next: train on these images", icon=":material/arrow_forward:")


def _answer(audited: Audited, at_work: bool) -> None:
    """The result of the audit in words; without an audit, whether one is at work."""
    audit = audited.audit
    if audit is None:
        images = plural(len(audited.dataset.images), "image")
        state = f"The audit of these {images} is running." if at_work else f"These {images} are not audited yet."
        st.markdown(f"**{state}**")
        return
    verdict = audit_text.ladder(audit.ladder).headline if audit.ladder else audit.ladder_reason
    in_force = [table[~table["dismissed"]] for table in (audited.findings, audited.pairs)]
    rest = f"{audit_text.kinds_of_findings(in_force[0])} {audit_text.duplicates(in_force[1])}"
    st.markdown(f"**{shell.plain(verdict)}** {shell.plain(rest)}")
    st.caption(f"Audited {moment(audit.made)}, in {duration(sum(audit.seconds.values()))}.")


def _show_tabs(audited: Audited, at_work: bool) -> None:
    """Only the open tab computes; its name is in the address."""
    contents: dict[str, Callable[[], None]] = {
        "Findings": lambda: _of_audit(audited, at_work, findings.show),
        "Duplicates": lambda: _of_audit(audited, at_work, duplicates.show),
        "Shortcut learning": lambda: _of_audit(audited, at_work, shortcuts.show),
        "Another data set": lambda: shared_images.show(audited, at_work),
        "Map": lambda: map_panel.tab(audited.dataset),
        "Decisions": lambda: decision_log.show(audited),
    }
    tabs = st.tabs(list(contents), key="tab", bind="query-params")
    for tab, show in zip(tabs, contents.values(), strict=True):
        if tab.open:
            with tab, shell.errors_shown():
                show()


def _of_audit(audited: Audited, at_work: bool, show: Callable[[Audited], None]) -> None:
    """A tab that needs an audit, or the way to one."""
    if audited.audit is not None:
        show(audited)
        return
    with st.container(border=True):
        if at_work:
            audit_panel.progress(audited.dataset)
            return
        request = AuditRequest(dataset=audited.dataset.id)
        st.markdown(
            f"**No audit yet.** {audit_panel.WHAT_IT_DOES} It takes about {job_panel.expected(request)} for "
            f"{plural(len(audited.dataset.images), 'image')}."
        )
        audit_panel.offer(audited.dataset)


main()
