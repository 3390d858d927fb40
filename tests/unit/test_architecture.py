"""The architecture is read from the imports, and held to what docs/architecture.md draws."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import fileserver

PACKAGE = Path(fileserver.__file__).parent

MAX_FUNCTION_LINES = 40
MAX_MODULE_LINES = 300

# Each layer, from low to high, and the layers of the project that it may import beside itself.
MAY_IMPORT = {
    "_version": set(),
    "core": set(),
    "storage": {"core"},
    "grading": {"core", "storage"},
    "services": {"core", "storage", "grading"},
    "accounts": {"core", "storage"},
    "maintenance": {"core", "storage", "grading", "services"},
    "web": {"_version", "accounts", "core", "storage", "grading", "services", "maintenance"},
    "configuration": {"core"},
    "app": {"_version", "core", "storage", "grading", "services", "maintenance", "web", "configuration"},
    "mod_wsgi": {"configuration", "app"},
    "deploy": {"core", "configuration"},
    "cli": {
        "_version",
        "accounts",
        "core",
        "storage",
        "grading",
        "services",
        "maintenance",
        "web",
        "configuration",
        "app",
        "deploy",
    },
    "__init__": {"_version", "app"},
}
WITHOUT_HTTP = {"accounts", "core", "storage", "grading", "services", "maintenance", "configuration"}
HTTP = {"click", "flask", "gunicorn", "jinja2", "werkzeug"}
INPUT_AND_OUTPUT = {
    "asyncio",
    "ctypes",
    "fcntl",
    "glob",
    "http",
    "io",
    "mmap",
    "multiprocessing",
    "os",
    "select",
    "shutil",
    "signal",
    "socket",
    "sqlite3",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "urllib",
}
CALLS_WITH_EFFECTS = {"open", "print", "input", "exec", "eval", "__import__"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def module_id(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def layer_of(dotted: str) -> str:
    """The layer of a module of the project: `fileserver.web.forms` is in `web`."""
    return dotted.split(".")[1] if "." in dotted else "__init__"


def dotted_name(path: Path) -> str:
    parts = ["fileserver", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.AST) -> Iterator[str]:
    """The dotted names that a module imports; of `from fileserver import x` both readings of x."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            yield node.module or ""
            if node.module == "fileserver":
                yield from (f"fileserver.{alias.name}" for alias in node.names if is_submodule(alias.name))


def is_submodule(name: str) -> bool:
    return (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()


def violations(layer: str, source: str) -> list[str]:
    """What a module of *layer* imports, though it must not."""
    found = []
    for name in imported(ast.parse(source)):
        top = name.partition(".")[0]
        if top == "fileserver":
            other = layer_of(name)
            if other != layer and other not in MAY_IMPORT[layer]:
                found.append(name)
        elif (layer in WITHOUT_HTTP and top in HTTP) or (layer == "core" and top in INPUT_AND_OUTPUT):
            found.append(name)
    return found


@pytest.mark.parametrize("path", modules(), ids=module_id)
def test_imports_point_down(path: Path) -> None:
    layer = layer_of(dotted_name(path))
    assert layer in MAY_IMPORT, f"{layer} has no place among the layers yet"
    assert violations(layer, path.read_text()) == []


@pytest.mark.parametrize(
    ("layer", "source"),
    [
        ("core", "from fileserver.storage.local import LocalBucket"),
        ("core", "def late():\n    import fileserver.services"),
        ("core", "from fileserver import services"),
        ("core", "import os.path"),
        ("storage", "from fileserver.grading import archives"),
        ("storage", "from werkzeug.http import http_date"),
        ("grading", "import flask"),
        ("grading", "import fileserver"),
        ("services", "from fileserver.web.forms import form_files"),
        ("configuration", "from fileserver.storage.staging import Staging"),
        ("web", "from fileserver.configuration import load_settings"),
        ("web", "from fileserver.app import create_app"),
        ("app", "from fileserver.cli.main import cli"),
    ],
)
def test_an_import_that_points_up_is_found(layer: str, source: str) -> None:
    assert violations(layer, source)


@pytest.mark.parametrize("path", sorted((PACKAGE / "core").rglob("*.py")), ids=module_id)
def test_the_core_does_no_input_or_output(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    effects = {call.func.id for call in calls if isinstance(call.func, ast.Name)} & CALLS_WITH_EFFECTS
    assert effects == set()


@pytest.mark.parametrize("path", modules(), ids=module_id)
def test_modules_and_functions_stay_short(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= MAX_MODULE_LINES
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    lengths = {function.name: (function.end_lineno or 0) - function.lineno + 1 for function in functions}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES} == {}


@pytest.mark.parametrize("path", modules(), ids=module_id)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))
