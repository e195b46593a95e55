"""What the tests of all pages share: a page opened by its address in the whole app, and all its words."""

from collections.abc import Mapping
from pathlib import Path

from streamlit.testing.v1 import AppTest

from covid_core.glossary import GLOSSARY
from pages.shared import shell

ENTRIES = {term.markdown for term in GLOSSARY.values()}
APP = Path(__file__).parents[2] / "pages" / "dashboard.py"
PATIENCE = 120  # seconds for one run of a page: it ends a page that hangs, and judges no machine


def opened(page: str = "", session: Mapping[str, object] | None = None, **address: str) -> AppTest:
    """The app on one of its pages ("train"; Home without a name), as somebody who follows an address sees it: one run.

    Args:
        page: name of its file in pages/.
        session: what the browser session remembers before.
        address: query parameters.
    """
    app = AppTest.from_file(str(APP), default_timeout=PATIENCE)
    for name, value in (session or {}).items():
        app.session_state[name] = value
    for name, value in address.items():
        app.query_params[name] = value
    if page:
        app.switch_page(f"{page}.py")  # before the first run a page is found by its file's name, which is its address
    app.run()
    assert not app.exception
    return app


def words(page: AppTest) -> str:
    """Everything that the page says outside its widgets and tables, without what escaped Markdown adds.

    The glossary entries behind "?" are no words of the page.
    """
    kinds = [page.title, page.markdown, page.info, page.success, page.warning, page.error, page.toast, page.caption]
    said = [element.value for kind in kinds for element in kind]
    text = "\n".join(text for text in said if text.partition("\n\n")[0] not in ENTRIES)
    return text.replace("\\", "").replace(shell.WORD_JOINER, "")
