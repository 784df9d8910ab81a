"""The rules of the tree: one direction of imports, light imports, small files, no pickles."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("verifiers", "gensearch", "hypernoise", "app")  # each imports only itself and those before it
LAZY_UPWARDS = "gensearch/cli/main.py"  # the one file that may reach upwards, inside functions
PICKLES = {".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth"}
NOT_OURS = {"build", "dist", "__pycache__"}


def tree(folder: Path = ROOT) -> Iterator[Path]:
    """Our files: nothing hidden, built or left behind by runs."""
    for path in sorted(folder.iterdir()):
        made_by_runs = path == ROOT / "runs"
        if path.name.startswith(".") or path.name in NOT_OURS or made_by_runs or (path / "pyvenv.cfg").exists():
            continue
        if path.is_dir():
            yield from tree(path)
        else:
            yield path


FILES = {path.relative_to(ROOT).as_posix(): path for path in tree()}
SOURCES = {name: path.read_text(encoding="utf-8") for name, path in FILES.items() if path.suffix == ".py"}


def imports(source: str) -> Iterator[tuple[str, bool]]:
    """Top-level names that a module imports, and whether it does so lazily, inside a function."""
    module = ast.parse(source)
    functions = [n for n in ast.walk(module) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    lazy = {id(inner) for function in functions for inner in ast.walk(function)}
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], id(node) in lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module).split(".")[0], id(node) in lazy


def upward_imports(name: str, source: str) -> list[str]:
    """Layers above its own that a file imports without being allowed to."""
    above = LAYERS[LAYERS.index(name.split("/")[0]) + 1 :]
    return [layer for layer, lazy in imports(source) if layer in above and not (lazy and name == LAZY_UPWARDS)]


def oversized(name: str, source: str) -> list[str]:
    """What is too long in a file: itself (300 lines, tests 500) or a function (60 lines)."""
    found = [name] if len(source.splitlines()) >= (500 if name.startswith("tests/") else 300) else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno + 1 >= 60:
            found.append(f"{name}: {node.name}")
    return found


def pickles(names: list[str]) -> list[str]:
    """Files in formats that can execute code when loaded."""
    return [name for name in names if Path(name).suffix.lower() in PICKLES]


def without_init(names: list[str]) -> list[str]:
    """Folders of our packages that hold modules but no __init__.py: packaging would leave them out."""
    folders = {str(Path(n).parent) for n in names if n.endswith(".py") and n.split("/")[0] in LAYERS}
    return sorted(folder for folder in folders if f"{folder}/__init__.py" not in names)


def loaded_by(statement: str, *modules: str) -> set[str]:
    """Which of some modules a fresh interpreter holds after a statement, whatever it exits with."""
    code = f"import sys\ntry:\n    {statement}\nexcept SystemExit:\n    pass\n"
    code += f"print('loaded:', *(m for m in {modules!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_imports_go_one_way():
    found = {name: upward_imports(name, s) for name, s in SOURCES.items() if name.split("/")[0] in LAYERS}
    assert len(found) > len(LAYERS)
    assert {name: up for name, up in found.items() if up} == {}


@pytest.mark.parametrize(
    ("name", "source", "up"),
    [
        ("verifiers/embedding/clip.py", "from gensearch.core.types import Media", ["gensearch"]),
        ("verifiers/embedding/clip.py", "def f():\n    import app.web", ["app"]),
        ("gensearch/engine/run.py", "if True:\n    import hypernoise.train as t, torch", ["hypernoise"]),
        ("gensearch/engine/run.py", "class A:\n    async def f(self):\n        from app import web", ["app"]),
        ("gensearch/cli/main.py", "import hypernoise", ["hypernoise"]),
        ("gensearch/cli/main.py", "def demo():\n    from app import web\n    import hypernoise", []),
        ("hypernoise/train.py", "from app import web\nimport gensearch, verifiers", ["app"]),
        ("app/web.py", "import hypernoise, gensearch, verifiers", []),
        ("gensearch/search/a.py", "from . import app\nfrom apparatus import x", []),
    ],
)
def test_the_import_rule_on_examples(name, source, up):
    assert upward_imports(name, source) == up


def test_importing_gensearch_is_light():
    assert loaded_by("import gensearch", "gensearch", "diffusers", "transformers", "gradio") == {"gensearch"}


def test_help_needs_no_torch():
    statement = "sys.argv = ['gensearch', '--help']; from gensearch.cli.main import main; main()"
    assert loaded_by(statement, "gensearch.cli.main", "torch") == {"gensearch.cli.main"}


def test_loaded_modules_are_seen_also_after_an_exit():
    assert loaded_by("import wave; sys.exit(2)", "wave", "colorsys") == {"wave"}


def test_files_and_functions_are_short():
    assert len(SOURCES) > 10
    assert [long for name, source in SOURCES.items() for long in oversized(name, source)] == []


def test_the_size_rule_on_examples():
    def function(lines: int) -> str:
        return "def f():\n" + "    x = 1\n" * (lines - 1)

    assert oversized("app/a.py", "x = 1\n" * 299) == []
    assert oversized("app/a.py", "x = 1\n" * 300) == ["app/a.py"]
    assert oversized("tests/a.py", "x = 1\n" * 499) == []
    assert oversized("tests/a.py", "x = 1\n" * 500) == ["tests/a.py"]
    assert oversized("app/a.py", function(59)) == []
    assert oversized("app/a.py", function(60)) == ["app/a.py: f"]


def test_no_pickles():
    assert pickles(list(FILES)) == []
    assert pickles(["a/model.safetensors", "a/model.PT", "b.bin", "c.binary"]) == ["a/model.PT", "b.bin"]


def test_every_package_folder_is_packaged():
    assert without_init(list(FILES)) == []
    assert without_init(["app/__init__.py", "app/tabs/a.py", "app/static/x.css", "docs/b.py"]) == ["app/tabs"]
