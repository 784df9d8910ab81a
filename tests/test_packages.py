"""The check for a foreign `verifiers`, and where the presets are."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gensearch import packages

ROOT = Path(__file__).parents[1]


def import_with_first_on_path(folder: Path) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); import gensearch; print(gensearch.__version__)"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_foreign_verifiers_is_named_with_the_way_out(tmp_path):
    foreign = tmp_path / "verifiers" / "__init__.py"
    foreign.parent.mkdir()
    foreign.write_text("raise RuntimeError('größer: the check must not import this')\n", encoding="latin-1")
    done = import_with_first_on_path(tmp_path)
    message = done.stderr.splitlines()[-1]
    assert done.returncode == 1
    assert message.startswith("ImportError: ")
    assert str(foreign) in message
    assert "pip uninstall verifiers" in message


def test_our_verifiers_passes_wherever_it_lies_and_versions_agree(tmp_path):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    (tmp_path / "verifiers").symlink_to(ROOT / "verifiers", target_is_directory=True)
    done = import_with_first_on_path(tmp_path)
    assert (done.returncode, done.stdout) == (0, f"{version}\n")


def test_no_verifiers_at_all_is_said(monkeypatch):
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="Python finds none"):
        packages.require_own_verifiers()


@pytest.mark.parametrize("inside", [True, False])
def test_presets_are_found_in_a_wheel_and_in_a_checkout(tmp_path, monkeypatch, inside):
    presets = tmp_path / "gensearch" / "configs" if inside else tmp_path / "configs"
    presets.mkdir(parents=True)
    monkeypatch.setattr(packages, "files", lambda name: tmp_path / name)
    assert packages.configs() == presets
