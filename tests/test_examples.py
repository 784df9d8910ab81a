"""Every example runs offline, as a reader would run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples"
SAYS = {  # what each of them must print
    "wrap_a_pipeline": "spent 8 NFE",
    "own_verifier": "for the best of 16",
    "own_search": "greedy_walk: guide",
    "evaluate_two_methods": "best4:",
    "train_a_hypernetwork": "hypernetwork: mean redness",
}


def test_each_example_is_known_and_short():
    found = {path.stem: path.read_text().splitlines() for path in FOLDER.glob("*.py")}
    assert found.keys() == SAYS.keys()
    for name, lines in found.items():
        written = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
        assert 10 <= len(written) <= 32, f"{name} has {len(written)} lines"
        assert compile("\n".join(lines), name, "exec").co_consts[0].strip(), f"{name} has no docstring"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SAYS)
def test_the_example_runs(name, tmp_path):
    offline = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(FOLDER / f"{name}.py")]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **offline}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert SAYS[name] in done.stdout
