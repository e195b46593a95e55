"""The formats of a course report whose pictures a browser makes: Word, PDF and the zip."""

import asyncio
import io
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import docx
import pytest
from choreographer.browsers.chromium import Chromium
from docx.oxml.ns import qn
from made_runs import all_parts, made_run
from PIL import Image
from plotly.graph_objects import Figure
from system_tools import require
from waiting import LONG

from covid_core.commands import main
from covid_core.errors import InvalidChoice
from covid_core.figures import light
from covid_core.reports.course import formats, pictures, sections, subject
from covid_core.reports.course.document import Chart, Discussion, Picture, Table

SIZES = {"train": 60, "validation": 30, "test": 60}
ROOT = Path(__file__).parents[3]
DRAWING = """
import plotly.graph_objects as go
from covid_core.reports.course import pictures
from covid_core.reports.course.document import Chart

pictures.pictures([Chart("bar", "Bar", "", "", go.Figure(go.Bar(y=[1])))], ["png"], titled=False)
pictures.printed(b"<p>A page</p>")
"""
NAMES_SERVER = "htons(53)"  # of a call that looks up the address of a name
needs_browser = pytest.mark.skipif(
    not Chromium.find_browser(skip_local=False) and "COVID_CORE_REQUIRE_BROWSER" not in os.environ,
    reason="no Chrome is installed",
)


@pytest.fixture(scope="module")
def about(place) -> subject.Subject:
    return subject.subject_of(place, [made_run(place, all_parts(SIZES, n, seed=n), f"Run {n}") for n in (1, 2)])


@pytest.fixture(scope="module")
def document(about):
    return sections.document_of(about)


def of_kind(document, *kinds):
    return [block for section in document.sections for block in section.blocks if isinstance(block, kinds)]


@pytest.mark.parametrize("hanging", [1, 2])
def test_where_a_browser_hangs_another_one_draws_and_after_that_there_is_an_error(monkeypatch, hanging):
    started = []

    async def drawn(*arguments: object) -> dict[tuple[str, str], bytes]:
        started.append(arguments)
        if len(started) <= hanging:
            await asyncio.Event().wait()
        return {("accuracy", "svg"): b"<svg"}

    monkeypatch.setattr(pictures, "_drawn", drawn)
    monkeypatch.setattr(pictures, "LONGEST", 0.2)
    if hanging == 1:
        assert pictures.pictures([], ["svg"], titled=False) == {("accuracy", "svg"): b"<svg"}
    else:
        with pytest.raises(InvalidChoice, match="Chrome"):
            pictures.pictures([], ["svg"], titled=False)
    assert len(started) == 2


def test_a_high_figure_is_lower_on_paper_and_another_one_is_not():
    chart = Chart("bars", "Bars", "", "", Figure(layout={"height": 600}))
    assert chart.on_paper["layout"]["height"] < 500
    assert replace(chart, figure=Figure(layout={"height": 340})).on_paper["layout"]["height"] == 340


@needs_browser
def test_word_has_every_heading_table_figure_and_box(about, document):
    made = formats.FORMATS["docx"].files(document, about, "report")
    word = docx.Document(io.BytesIO(made["report.docx"]))
    headings = [line.text for line in word.paragraphs if line.style.name == "Heading 1"]
    assert headings == [section.title for section in document.sections]
    shown = of_kind(document, Table)
    pairs = word.element.body.xpath(".//w:tbl[.//w:drawing]")
    assert len(word.tables) == len(shown) + len(of_kind(document, Discussion)) + len(pairs)
    alts = [one._inline.docPr.get("descr") for one in word.inline_shapes]
    assert alts == [block.alt for block in of_kind(document, Chart, Picture)]
    captions = word.element.body.xpath(".//w:p[w:pPr/w:pStyle/@w:val='Caption']")
    assert len(captions) == len(shown) + len(alts)
    best = next(t for t in word.tables if t.cell(0, 0).text == "Model" and len(t.rows) > 2)
    bold = [[run.bold for run in row.cells[0].paragraphs[0].runs] for row in best.rows]
    assert bold[:3] == [[True], [True], [False]]
    assert best.rows[0]._tr.trPr.find(qn("w:tblHeader")) is not None


@needs_browser
def test_the_zip_has_the_page_the_notebook_its_data_and_every_figure_and_table(about, document):
    made = formats.FORMATS["zip"].files(document, about, "report")
    with zipfile.ZipFile(io.BytesIO(made["report.zip"])) as archive:
        names = set(archive.namelist())
        charts = [block.key for block in of_kind(document, Chart)]
        with Image.open(io.BytesIO(archive.read(f"report/figures/{charts[0]}.png"))) as picture:
            assert picture.width == round(light.WIDTH * 300 / 96)
            assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert archive.read(f"report/figures/{charts[0]}.svg").startswith(b"<svg")
        drawing = archive.read(f"report/figures/{charts[0]}.svg").decode()
    chart = of_kind(document, Chart)[0]
    assert chart.title in drawing and chart.caption.split(". ")[0] in drawing
    expected = {"report/report.html", "report/report.ipynb", "report/report-data/runs.csv"}
    expected |= {f"report/figures/{key}.{kind}" for key in charts for kind in ("svg", "png")}
    expected |= {f"report/tables/{block.key}.{kind}" for block in of_kind(document, Table) for kind in ("csv", "tex")}
    assert expected <= names


@needs_browser
def test_the_pdf_is_the_printed_page(about, document):
    made = formats.FORMATS["pdf"].files(document, about, "report")["report.pdf"]
    assert made.startswith(b"%PDF") and made.count(b"/Type /Page\n") >= 3


@needs_browser
def test_the_browser_that_draws_asks_for_no_other_computer(tmp_path):
    require("strace")
    trace = tmp_path / "calls"
    command = ["strace", "-f", "-qq", "-e", "trace=connect", "-o", str(trace), sys.executable, "-c", DRAWING]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=LONG)
    assert trace.stat().st_size
    assert NAMES_SERVER not in trace.read_text()


@pytest.mark.parametrize("format", ["docx", "pdf", "zip"])
def test_without_a_browser_the_formats_that_need_none_are_named(place, about, format, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "chrome"))
    monkeypatch.setenv("COVID_CORE_HOME", str(place.root))
    assert main.main(["report", about.runs[0].id, "--format", format, "--to", str(tmp_path)])
    assert "the formats html and ipynb need none" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
