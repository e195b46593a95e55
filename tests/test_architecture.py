"""The rules that hold the house: who may know whom. Each message names the file and the line."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from waiting import LONG

ROOT = Path(__file__).parent.parent
ENTRY = (ROOT / "app.py",)
CORE = ROOT / "covid_core"
PAGES = ROOT / "pages"
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
}
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


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text(encoding="utf-8")))


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


def test_the_core_starts_without_tensorflow_keras_and_streamlit():
    modules = [module_name(path) for path in outside_nets() if path.name != "__main__.py"]
    done = import_in_fresh_process(modules, {"tensorflow", "keras", "streamlit"})
    assert done.returncode == 0, done.stderr


def test_all_that_pages_import_starts_without_tensorflow_and_keras():
    components = [module_name(path) for path in sources(PAGES / "panels", PAGES / "shared", PAGES / "server")]
    done = import_in_fresh_process(["streamlit", *components, *core_modules_of_pages()], {"tensorflow", "keras"})
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


def test_only_the_worker_imports_nets_and_only_inside_a_function():
    found = [
        (name, at)
        for path in [*outside_nets(), *sources(PAGES), *ENTRY]
        for name, at in imports(path)
        if is_below(name, "covid_core.nets")
    ]
    assert {at.partition(":")[0] for _, at in found} == {"covid_core/jobs/worker.py"}, found
    worker = ast.parse((CORE / "jobs/worker.py").read_text(encoding="utf-8"))
    outer = [node.module for node in worker.body if isinstance(node, ast.ImportFrom)]
    assert not [name for name in outer if is_below(name, "covid_core.nets")]


def test_the_core_knows_no_screen():
    found = [
        (name, at)
        for path in sources(CORE)
        for name, at in imports(path)
        if is_below(name, "streamlit", "pages", "app", "plotly") and not (is_drawing(path) and is_below(name, "plotly"))
    ]
    assert not found


def is_drawing(path: Path) -> bool:
    return CORE / "figures" in path.parents or path == CORE / "reports/tables.py"


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


def test_only_images_and_decoding_know_pillow_and_only_dicom_knows_pydicom():
    assert importers("PIL") == {"covid_core/images/codec.py", "covid_core/images/raster.py"}
    assert importers("pydicom") == {"covid_core/images/dicom.py"}


def test_only_decoding_opens_pictures():
    found = {
        path.relative_to(ROOT).as_posix()
        for path in sources(CORE, PAGES)
        for node in nodes(path)
        if isinstance(node, ast.Attribute) and node.attr in ("open", "frombytes") and is_named(node.value, "Image")
    }
    assert found == {"covid_core/images/raster.py"}


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


def test_no_page_writes_html():
    found = [
        place(path, node)
        for path in [*sources(PAGES), *ENTRY]
        for node in nodes(path)
        if (isinstance(node, ast.keyword) and node.arg == "unsafe_allow_html")
        or (isinstance(node, ast.Attribute) and node.attr == "html" and isinstance(node.value, ast.Name))
    ]
    assert not found


def test_no_error_is_swallowed_unseen():
    found = [
        place(path, node)
        for path in [*sources(CORE, PAGES), *ENTRY]
        for node in nodes(path)
        if isinstance(node, ast.ExceptHandler) and (node.type is None or only_passes(node))
    ]
    assert not found, "bare except, or except that only passes"


def only_passes(handler: ast.ExceptHandler) -> bool:
    return all(isinstance(statement, ast.Pass) for statement in handler.body)


def test_the_page_table_lists_every_page():
    tree = nodes(PAGES / "dashboard.py")
    listed = {n.value for n in tree if isinstance(n, ast.Constant) and str(n.value).endswith(".py")}
    assert listed == {path.name for path in PAGES.glob("*.py")} - {"dashboard.py", "__init__.py"}


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
