"""The rules of the tree: one direction of imports, no circles, light imports, small files, no pickles.

python tests/test_architecture.py     # the rooms, what each imports, circles, and the longest files and functions
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("verifiers", "gensearch", "hypernoise", "app")  # each imports only itself and those before it
LAZY_UPWARDS = "gensearch/cli/main.py"  # the one file that may reach upwards, inside functions
ROOMS = (  # from the ground up; a module lies in the room with the longest name that fits
    "verifiers.types",
    "verifiers.calls",
    "verifiers.names",
    "verifiers.card",
    "verifiers.entry",
    "verifiers.yaml",
    "verifiers.batches",
    "verifiers.adapt",
    "verifiers.objects",
    "verifiers.combine",
    "verifiers.controls",
    "verifiers.embedding",
    "verifiers.vlm",
    "verifiers.detect",
    "verifiers.video",
    "verifiers.tournament",
    "verifiers.forms",
    "verifiers.catalogue",
    "verifiers",
    "gensearch.packages",
    "gensearch.files",
    "gensearch.core",
    "gensearch.models",
    "gensearch.models.probed",
    "gensearch.models.native",
    "gensearch.models.tokens",
    "gensearch.models.chunks",
    "gensearch.models.toy",
    "gensearch.search.knobs",
    "gensearch.search.noise",
    "gensearch.search.gradient",
    "gensearch.search.tokens",
    "gensearch.search.chunks",
    "gensearch.search",
    "gensearch.shapes",
    "gensearch.shapes.train",
    "gensearch.shapes.train.pictures",
    "gensearch.shapes.train.clips",
    "gensearch.shapes.train.judges",
    "gensearch.shapes.train.tokens",
    "gensearch.shapes.train.__main__",
    "gensearch.engine",
    "gensearch.config",
    "gensearch.registry",
    "gensearch.runs",
    "gensearch.resolve",
    "gensearch.pipeline",
    "gensearch.estimate",
    "gensearch.evaluate",
    "gensearch.evaluate.report",
    "gensearch.evaluate.forecast",
    "gensearch.evaluate.benchmarks",
    "gensearch.testing",
    "gensearch",
    "hypernoise",
    "app",
    "gensearch.cli",
    "gensearch.__main__",
)
PICKLES = {".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth"}
NOT_OURS = {"build", "dist", "site", "__pycache__"}


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


def modules(sources: dict[str, str]) -> dict[str, str]:
    """The modules of our packages: dotted name -> source."""
    ours = {name: source for name, source in sources.items() if name.split("/")[0] in LAYERS}
    return {name.removesuffix(".py").replace("/", ".").removesuffix(".__init__"): s for name, s in ours.items()}


def graph(sources: dict[str, str]) -> dict[str, set[str]]:
    """What each module imports of ours, inside functions and under TYPE_CHECKING as well."""
    found: dict[str, set[str]] = {}
    for name, source in sources.items():
        found[name] = set()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                found[name] |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                found[name] |= inner | ({str(node.module)} if inner - sources.keys() else set())
        found[name] = {target for target in found[name] if target in sources and target != name}
    return found


def circles(arrows: dict[str, set[str]]) -> list[tuple[str, ...]]:
    """Groups of modules that import each other, directly or by way of others."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            new = arrows[waiting.pop()] - seen
            seen |= new
            waiting += new
        return seen

    far = {name: reached(name) for name in arrows}
    return sorted({tuple(sorted(b for b in far[a] if a in far[b])) for a in arrows if a in far[a]})


def room(module: str) -> str:
    """The room that a module lies in."""
    return max((name for name in ROOMS if module == name or module.startswith(f"{name}.")), key=len)


def climbing(arrows: dict[str, set[str]]) -> list[str]:
    """Imports of a room above one's own."""
    level = {name: place for place, name in enumerate(ROOMS)}
    pairs = [(name, target) for name, targets in arrows.items() for target in targets]
    return sorted(f"{a} -> {b}" for a, b in pairs if level[room(b)] > level[room(a)])


def upward_imports(name: str, source: str) -> list[str]:
    """Layers above its own that a file imports without being allowed to."""
    above = LAYERS[LAYERS.index(name.split("/")[0]) + 1 :]
    return [layer for layer, lazy in imports(source) if layer in above and not (lazy and name == LAZY_UPWARDS)]


def length(node: ast.stmt) -> int:
    """The lines of a statement."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def oversized(name: str, source: str) -> list[str]:
    """What is too long in a file: itself (300 lines, tests 500) or a function (60 lines)."""
    found = [name] if len(source.splitlines()) >= (500 if name.startswith("tests/") else 300) else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and length(node) >= 60:
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
    assert {name: up for name, up in found.items() if up} == {}, (
        f"imports go one way, {' <- '.join(LAYERS)}; move what is shared down to the package that is imported"
    )


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


def test_no_modules_import_each_other_in_a_circle():
    assert circles(graph(modules(SOURCES))) == [], (
        "these modules import each other; move what both need into a module below them (core/ for maths of searches)"
    )


def test_rooms_import_only_rooms_below_them():
    arrows = graph(modules(SOURCES))
    assert len(arrows) > 200
    assert climbing(arrows) == [], (
        "these import a folder above their own. Import from the module that defines a name (from verifiers.types "
        "instead of verifiers, from gensearch.core instead of gensearch), or move what is shared into a folder below; "
        "ROOMS in this file has the order"
    )
    empty = set(ROOMS) - {room(name) for name in arrows}
    assert not empty, f"no module lies in {empty}; take it out of ROOMS in this file"


def test_circles_and_climbing_on_examples():
    sources = {
        "gensearch.core.types": "def f():\n    from gensearch.engine.run import run",
        "gensearch.engine.run": "from gensearch.core import types\nfrom gensearch.core.noise import Rng",
        "gensearch.core.noise": "import torch, gensearch.engine.run as r",
        "gensearch.files.atomic": "if TYPE_CHECKING:\n    from gensearch.core.types import State",
    }
    arrows = graph(sources)
    assert circles(arrows) == [("gensearch.core.noise", "gensearch.core.types", "gensearch.engine.run")]
    assert climbing(arrows) == [
        "gensearch.core.noise -> gensearch.engine.run",
        "gensearch.core.types -> gensearch.engine.run",
        "gensearch.files.atomic -> gensearch.core.types",
    ]


def test_tests_import_builders_and_no_other_test():
    tests = {name: source for name, source in SOURCES.items() if name.startswith("tests/")}
    named = {name: re.findall(r"^\s*(?:from|import) (tests[\w.]*)", source, re.M) for name, source in tests.items()}
    assert {name: found for name, found in named.items() if any("builders" not in n for n in found)} == {}, (
        "move what tests share to tests/builders/ and import it from there"
    )


def test_importing_gensearch_is_light():
    loaded = loaded_by("import gensearch", "gensearch", "diffusers", "transformers", "gradio")
    assert loaded == {"gensearch"}, "import these inside the function that needs them"


def test_the_catalogue_needs_no_torch():
    assert loaded_by("import verifiers.catalogue", "verifiers.catalogue", "torch") == {"verifiers.catalogue"}, (
        "import the class of a verifier inside its builder in verifiers/catalogue.py"
    )


def test_help_needs_no_torch():
    statement = "sys.argv = ['gensearch', '--help']; from gensearch.cli.main import main; main()"
    assert loaded_by(statement, "gensearch.cli.main", "torch") == {"gensearch.cli.main"}, (
        "something that `gensearch --help` imports loads torch; import it inside the function that needs it"
    )


def test_loaded_modules_are_seen_also_after_an_exit():
    assert loaded_by("import wave; sys.exit(2)", "wave", "colorsys") == {"wave"}


def test_files_and_functions_are_short():
    assert len(SOURCES) > 10
    assert [long for name, source in SOURCES.items() for long in oversized(name, source)] == [], (
        "split it: files have less than 300 lines (tests 500), functions less than 60"
    )


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
    assert pickles(list(FILES)) == [], "save weights as safetensors"
    assert pickles(["a/model.safetensors", "a/model.PT", "b.bin", "c.binary"]) == ["a/model.PT", "b.bin"]


def test_every_package_folder_is_packaged():
    assert without_init(list(FILES)) == [], "add an empty __init__.py to these folders"
    assert without_init(["app/__init__.py", "app/tabs/a.py", "app/static/x.css", "docs/b.py"]) == ["app/tabs"]


def longest(count: int = 10) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """The longest files and functions of our packages, in lines."""
    ours = {name: source for name, source in SOURCES.items() if name.split("/")[0] in LAYERS}
    files = sorted(((len(source.splitlines()), name) for name, source in ours.items()), reverse=True)
    functions = sorted(
        (
            (length(node), f"{name}: {node.name}")
            for name, source in ours.items()
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ),
        reverse=True,
    )
    return files[:count], functions[:count]


def show() -> None:
    """Print the rooms from the ground up, what each imports, circles, and what is longest."""
    arrows = graph(modules(SOURCES))
    for name in ROOMS:
        inside = [module for module in arrows if room(module) == name]
        below = sorted({room(target) for module in inside for target in arrows[module]} - {name}, key=ROOMS.index)
        print(f"{name:34} {len(inside):3} modules <- {', '.join(below) or 'nothing of ours'}")
    print(f"circles: {circles(arrows) or 'none'}; imports of a room above: {climbing(arrows) or 'none'}")
    for title, rows in zip(("longest files", "longest functions"), longest(), strict=True):
        print(title, *(f"{lines:5} {name}" for lines, name in rows), sep="\n")


if __name__ == "__main__":
    show()
