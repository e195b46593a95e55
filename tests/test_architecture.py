"""The rules that hold the house: who may know whom. Each message names the file and the line."""

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from waiting import LONG

ROOT = Path(__file__).parent.parent
ENTRY = (ROOT / "app.py",)
CORE = ROOT / "covid_core"
PAGES = ROOT / "pages"
PACKAGES = (  # lowest first: each imports only what stands before it
    *("errors", "formatting", "hashing", "files", "work", "workspace", "access"),
    *("backbones", "specs", "cache", "derived", "glossary"),
    *("images", "evaluation", "synthetic", "data", "runs", "weights", "presets", "inference", "nets", "audit"),
    *("figures", "reports", "exchange", "executors", "jobs", "lessons", "commands", "__main__"),
)
JOBS_ONLY = ("sklearn", "openTSNE")  # 1 s to import: in functions that jobs call
MOST_FILES = 15  # of Python in one folder
FORMS = ["look", "see", "say", "tell", "ask", "know", "keep", "find", "give"]
NO_NOUNS = {form + ending for form in FORMS for ending in ("", "s", "ing")}
NO_NOUNS -= {"finding"}  # what an audit puts out
NO_NOUNS |= {"seen", "said", "told", "known", "kept", "found", "gave", "given", "giving", "film", "films"}
KEYS = {"keep"}  # names that stand in files and JSON
PLANTED = """
from typing import TYPE_CHECKING
from covid_core import errors
if TYPE_CHECKING:
    from covid_core.runs import store

def late():
    from covid_core.jobs.queue import launch
"""
RUN_FILES = {
    "status.json",
    "history.csv",
    "predictions.parquet",
    "result.json",
    "model.keras",
    "head.npz",
    "reference.npz",
    "split.parquet",
    "spec.json",
    "launch.json",
    "annotation.json",
}
ROUNDED_ELSEWHERE = {  # what may write decimals beside ``formatting``, and why
    "covid_core/figures/data.py": "the hover of a pixel of a picture: thousands of them",
    "covid_core/runs/store.py": "a moment in a file",
    "pages/panels/compare/calibration.py": "a slider in tenths",
    "pages/shared/comparison_tables.py": "columns of numbers that formatting.as_read has rounded",
}
NAMED = {"name", "label", "note", "image_id", "source", "reason", "author", "patient"}
MARKDOWN = {  # what shows its first argument as Markdown
    *("markdown", "caption", "write", "info", "warning", "error", "success", "button", "checkbox", "toast", "metric"),
    *(
        "expander",
        "popover",
        "subheader",
        "title",
        "header",
        "progress",
        "toggle",
        "radio",
        "segmented_control",
        "pills",
    ),
    *("tabs", "spinner", "status", "download_button", "link_button", "page_link"),
}
MARKDOWN_ARGUMENTS = {"label", "help", "caption", "body", "text"}
BLOCK = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(name + " is blocked", name=name)

sys.meta_path.insert(0, Blocked())
"""


def sources(*folders: Path) -> list[Path]:
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def place(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{node.lineno}"


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """Every module that a file imports, wherever in it, with the place: ``from a import b`` counts as a and a.b."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from ((alias.name, place(path, node)) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{place(path, node)}: a relative import"
            yield node.module, place(path, node)
            yield from ((f"{node.module}.{alias.name}", place(path, node)) for alias in node.names)


def is_below(name: str, *parents: str) -> bool:
    return any(name == parent or name.startswith(parent + ".") for parent in parents)


def outside_nets() -> list[Path]:
    return [path for path in sources(CORE) if CORE / "nets" not in path.parents]


def import_in_fresh_process(modules: list[str], blocked: set[str]) -> subprocess.CompletedProcess:
    code = BLOCK.format(names=sorted(blocked)) + "import importlib\n"
    code += "".join(f"importlib.import_module({name!r})\n" for name in modules)
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=LONG)


def test_the_core_starts_without_tensorflow_keras_streamlit_and_scikit_learn():
    modules = [module_name(path) for path in outside_nets() if path.name != "__main__.py"]
    done = import_in_fresh_process(modules, {"tensorflow", "keras", "streamlit", *JOBS_ONLY})
    assert done.returncode == 0, done.stderr


def test_all_that_pages_import_starts_without_tensorflow_keras_and_scikit_learn():
    components = [module_name(path) for path in sources(PAGES / "panels", PAGES / "shared", PAGES / "server")]
    done = import_in_fresh_process(
        ["streamlit", *components, *core_modules_of_pages()], {"tensorflow", "keras", *JOBS_ONLY}
    )
    assert done.returncode == 0, done.stderr


def core_modules_of_pages() -> list[str]:
    existing = {module_name(path) for path in sources(CORE)}
    named = {name for path in [*ENTRY, *sources(PAGES)] for name, _ in imports(path)}
    return sorted(named & existing)


def test_tensorflow_is_imported_in_nets_only():
    found = [
        (name, at) for path in outside_nets() for name, at in imports(path) if is_below(name, "tensorflow", "keras")
    ]
    assert not found


def test_nets_are_reached_by_jobs_alone_and_by_name():
    """An import would cost TensorFlow's start; jobs name a function, and a worker imports it when the job begins."""
    files = [*outside_nets(), *sources(PAGES), *ENTRY]
    assert not [at for path in files for name, at in imports(path) if is_below(name, "covid_core.nets")]
    named = [
        (node.value, path)
        for path in files
        for node in nodes(path)
        if isinstance(node, ast.Constant) and re.fullmatch(r"covid_core\.[\w.]+:\w+", str(node.value))
    ]
    assert {path.parent for _, path in named} == {CORE / "jobs"}
    for name, path in named:
        module, _, function = name.partition(":")
        target = ROOT / f"{module.replace('.', '/')}.py"
        defined = {node.name for node in nodes(target) if isinstance(node, ast.FunctionDef)}
        assert function in defined, f"{path}: {name}"


def rank(path: Path) -> int:
    """The place of a file's package in the order; the pages and app.py stand above all of it."""
    if CORE not in path.parents:
        return len(PACKAGES) + (path in ENTRY)
    return PACKAGES.index(path.relative_to(CORE).parts[0].removesuffix(".py"))


def imported_files(path: Path) -> Iterator[tuple[Path, str]]:
    """Every file of this project that a file imports, with the place; also inside functions and for types alone."""
    for name, at in imports(path):
        target = ROOT / name.replace(".", "/")
        for candidate in (target.with_suffix(".py"), target / "__init__.py"):
            if candidate.is_file() and candidate not in (path, CORE / "__init__.py"):  # that one imports nothing
                yield candidate, at


def upward_imports(files: list[Path]) -> list[str]:
    return [
        f"{at}: {target.relative_to(ROOT)}"
        for path in files
        for target, at in imported_files(path)
        if rank(target) > rank(path)
    ]


def test_the_order_names_every_package():
    there = {path.stem for path in CORE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert set(PACKAGES) | {"__init__"} == there
    assert len(set(PACKAGES)) == len(PACKAGES)


def test_no_import_goes_up_the_order():
    assert not list(imports(CORE / "__init__.py"))
    assert not upward_imports([path for path in [*sources(CORE, PAGES), *ENTRY] if path != CORE / "__init__.py"])


def test_an_import_up_the_order_is_found_wherever_it_stands(tmp_path, monkeypatch):
    """In a function, and for types alone; the file is read as if it lay in the data package."""
    planted = tmp_path / "covid_core" / "data" / "planted.py"
    planted.parent.mkdir(parents=True)
    for name in ("covid_core/runs/store.py", "covid_core/errors.py", "covid_core/jobs/queue.py"):
        target = tmp_path / name
        target.parent.mkdir(exist_ok=True)
        target.touch()
    planted.write_text(PLANTED)
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    monkeypatch.setitem(globals(), "CORE", tmp_path / "covid_core")
    assert upward_imports([planted]) == [
        "covid_core/data/planted.py:5: covid_core/runs/store.py",
        "covid_core/data/planted.py:8: covid_core/jobs/queue.py",
    ]


def test_no_files_import_each_other_in_a_circle():
    files = [*sources(CORE, PAGES), *ENTRY]
    waiting = {path: {target for target, _ in imported_files(path)} & set(files) for path in files}
    while free := {path for path, targets in waiting.items() if not targets}:
        waiting = {path: targets - free for path, targets in waiting.items() if path not in free}
    assert not waiting, "in or above a circle"


def test_the_parts_of_a_page_are_used_by_that_page_alone():
    """What two pages use lies in shared."""
    startup = PAGES / "server/startup.py"  # imports all, so that no page waits for it
    for path in [path for path in sources(PAGES) if path != startup]:
        for target, at in imported_files(path):
            of = target.relative_to(PAGES).parts if PAGES in target.parents else ()
            if of[:1] == ("panels",) and len(of) > 2:
                assert path == PAGES / f"{of[1]}.py" or PAGES / "panels" / of[1] in path.parents, at


def test_no_folder_holds_more_files_than_a_head():
    counts = Counter(path.parent.relative_to(ROOT).as_posix() for path in sources(CORE, PAGES))
    assert not {folder: found for folder, found in counts.items() if found > MOST_FILES}


def test_modules_are_named_by_nouns_of_the_field():
    words = {word for path in sources(CORE, PAGES) for word in path.stem.split("_")}
    assert not words & NO_NOUNS


def names(node: ast.AST) -> list[str]:
    """What a node names: a function, a class, a parameter, a field or a variable."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.arg):
        return [node.arg]
    return [node.id] if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else []


def test_what_is_defined_is_named_by_nouns_of_the_field():
    wrong = {
        place(path, node): name
        for path in sources(CORE, PAGES)
        for node in nodes(path)
        for name in names(node)
        if name not in KEYS and set(re.findall(r"[A-Z]?[a-z]+", name)) & {*NO_NOUNS, *map(str.title, NO_NOUNS)}
    }
    assert not wrong


def test_the_core_knows_no_screen():
    found = [
        (name, at)
        for path in sources(CORE)
        for name, at in imports(path)
        if is_below(name, "streamlit", "pages", "app", "plotly") and not (is_drawing(path) and is_below(name, "plotly"))
    ]
    assert not found


def is_drawing(path: Path) -> bool:
    return CORE / "figures" in path.parents


def test_evaluation_stands_on_the_ground_floor():
    allowed = ("covid_core.errors", "covid_core.formatting", "covid_core.hashing", "covid_core.evaluation")
    found = [
        (name, at)
        for path in sources(CORE / "evaluation")
        for name, at in imports(path)
        if is_below(name, "covid_core") and name != "covid_core" and not is_below(name, *allowed)
    ]
    assert not found


def importers(name: str) -> set[str]:
    """The files of core and pages that import a package."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in sources(CORE, PAGES)
        for imported, _ in imports(path)
        if is_below(imported, name)
    }


def test_only_the_codec_knows_pillow_and_only_dicom_knows_pydicom():
    assert importers("PIL") == {"covid_core/images/codec.py"}
    assert {Path(name).parent.as_posix() for name in importers("pydicom")} == {"covid_core/images/dicom"}


def test_only_decoding_opens_pictures():
    found = {
        path.relative_to(ROOT).as_posix()
        for path in sources(CORE, PAGES)
        for node in nodes(path)
        if isinstance(node, ast.Attribute) and node.attr in ("open", "frombytes") and is_named(node.value, "Image")
    }
    assert found == {"covid_core/images/codec.py"}


def test_pydicom_is_imported_when_a_dicom_file_is_read_and_not_before():
    code = "import sys, covid_core.images.codec, covid_core.images.sandbox; sys.exit('pydicom' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=LONG).returncode == 0


def is_named(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def test_only_the_store_knows_the_files_of_a_run():
    found = [
        (node.value, place(path, node))
        for path in [*sources(CORE, PAGES), *ENTRY]
        if path != CORE / "runs/store.py"
        for node in nodes(path)
        if isinstance(node, ast.Constant) and node.value in RUN_FILES
    ]
    assert not found


def is_style_sheet(call: ast.Call) -> bool:
    """``st.html(STYLE)``: a file of ours, the same for everybody, with nothing formatted into it."""
    return [ast.unparse(argument) for argument in call.args] == ["STYLE"] and not call.keywords


def test_no_page_writes_formatted_html():
    found = [
        place(path, node)
        for path in [*sources(PAGES), *ENTRY]
        for node in nodes(path)
        if (isinstance(node, ast.keyword) and node.arg == "unsafe_allow_html")
        or (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "html"
            and isinstance(node.func.value, ast.Name)
            and not is_style_sheet(node)
        )
    ]
    assert not found


def test_no_page_shows_a_name_as_markdown():
    """Of what is named by people: each goes through ``shell.plain``, also where it happens to be a word of ours."""
    found = [
        place(path, name)
        for path in sources(PAGES)
        for node in nodes(path)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MARKDOWN
        for shown in [*node.args[:1], *(one.value for one in node.keywords if one.arg in MARKDOWN_ARGUMENTS)]
        for name in raw_names(shown)
    ]
    assert not found, "a name on screen goes through shell.plain"


def raw_names(node: ast.AST) -> list[ast.AST]:
    """``run.name`` and ``entry["name"]`` in a text, outside any call."""
    if isinstance(node, ast.Attribute):
        return [node] if node.attr in NAMED else []
    if isinstance(node, ast.Subscript):
        return [node] if isinstance(node.slice, ast.Constant) and node.slice.value in NAMED else []
    if isinstance(node, ast.JoinedStr | ast.FormattedValue | ast.BinOp | ast.IfExp | ast.BoolOp):
        return [name for part in ast.iter_child_nodes(node) for name in raw_names(part)]
    return []


def test_numbers_are_rounded_by_formatting_alone():
    found = [
        place(path, node)
        for path in sources(CORE, PAGES)
        for node in nodes(path)
        if writes_decimals(node) or (PAGES in path.parents and is_table_rounded(node))
    ]
    outside = [one for one in found if one.partition(":")[0] not in {*ROUNDED_ELSEWHERE, "covid_core/formatting.py"}]
    assert not outside, "a number on screen goes through covid_core/formatting.py"
    assert not set(ROUNDED_ELSEWHERE) - {one.partition(":")[0] for one in found}, "an exception that nothing needs"


def writes_decimals(node: ast.AST) -> bool:
    """An f-string's ``{value:.1%}``, or a text with ``.2f`` in it: a template of ours, the browser's or the grid's."""
    if isinstance(node, ast.FormattedValue) and node.format_spec:
        return bool(re.search(r"\.\d[f%]'$", ast.unparse(node.format_spec)))
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(re.search(r"\.\df", node.value))


def is_table_rounded(node: ast.AST) -> bool:
    """``frame.round(3)``: halves to even, and a CSV file without its digits."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "round"
        and not (isinstance(node.func.value, ast.Name) and node.func.value.id == "np")
    )


def test_no_error_is_swallowed_unseen():
    found = [
        place(path, node)
        for path in [*sources(CORE, PAGES), *ENTRY]
        for node in nodes(path)
        if isinstance(node, ast.ExceptHandler) and (node.type is None or only_passes(node))
    ]
    assert not found, "bare except, or except that only passes"


def test_no_sentence_quotes_the_text_of_a_system_error():
    """It names folders of this machine; ``errors.cause`` leaves them out."""
    found = [
        place(path, part)
        for path in [*sources(CORE, PAGES), *ENTRY]
        for node in nodes(path)
        if isinstance(node, ast.ExceptHandler) and re.search("OSError|Exception|UNREADABLE", ast.unparse(node.type))
        for part in ast.walk(node)
        if isinstance(part, ast.FormattedValue) and is_named(part.value, node.name)
    ]
    assert not found


def only_passes(handler: ast.ExceptHandler) -> bool:
    return all(isinstance(statement, ast.Pass) for statement in handler.body)


def test_the_page_table_lists_every_page():
    listed = tomllib.loads((PAGES / "navigation.toml").read_text(encoding="utf-8"))
    assert {f"{page}.py" for page in listed} == {path.name for path in PAGES.glob("*.py")} - {
        "dashboard.py",
        "__init__.py",
    }


def test_what_tells_cached_results_apart_is_part_of_their_key():
    """Streamlit leaves arguments with a leading underscore out of a cache's key: right for objects, which are told by
    the other arguments, and wrong for those others."""
    hidden = [
        f"{place(path, node)}: {argument.arg}"
        for path in sources(PAGES)
        for node in nodes(path)
        if isinstance(node, ast.FunctionDef) and any("st.cache_" in ast.unparse(one) for one in node.decorator_list)
        for argument in node.args.args
        if argument.arg.startswith("_")
        and ast.unparse(argument.annotation).partition("[")[0] in ("str", "int", "tuple")
    ]
    assert not hidden
