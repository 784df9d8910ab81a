"""`gensearch generate` with verifiers and searches of one's own, with panels, and with verifiers that fail."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from gensearch.cli.main import main
from gensearch.runs.format import read_json, remarks

WORDS = ["generate", "a red star", "--model", "toy/turbo", "--out", "out"]
CODE = """
import torch

calls = 0

def bright(media, prompts):
    return media.flatten(1).mean(1)

def failing(media, prompts):
    global calls
    calls += 1
    if calls == 3:
        raise RuntimeError("CUDA out of\\nmemory")
    return [float(image.mean()) for image in media]

def blind(media, prompts):
    return [None if float(image.mean()) > 0.5 else 1 for image in media]

def mine(model, verifier, prompt, *, rng, ledger, n: int = 2):
    from gensearch.search.noise.best_of_n import best_of_n
    yield from best_of_n(model, verifier, prompt, rng=rng, ledger=ledger, n=n)
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("code_of_a_user.py").write_text(CODE)
    yield
    sys.modules.pop("code_of_a_user", None)


def gensearch(*words: str) -> str | int | None:
    with pytest.raises(SystemExit) as left:
        main(words)
    return left.value.code


def test_a_function_and_a_search_of_ones_own_by_module_and_name(capsys):
    own = [
        "--verifier",
        "code_of_a_user:bright",
        "--search",
        "code_of_a_user:mine",
        "--holdout",
        "code_of_a_user:blind",
    ]
    assert gensearch(*WORDS, *own, "--knob", "n=3") == 0
    config = read_json(Path("out/config.json"))["config"]
    assert (config["verifier"], config["search"]) == ("code_of_a_user:bright", "code_of_a_user:mine")
    result = read_json(Path("out/result.json"))
    assert list(result["holdout"]) == ["code_of_a_user:blind"]
    assert result["best"]["score"] >= result["base"]["score"]
    sys.modules.pop("code_of_a_user")
    Path("code_of_a_user.py").unlink()
    assert gensearch("replay", "out") == 0  # a recipe needs no verifier
    assert "bit-exact" in capsys.readouterr().out
    assert gensearch(*WORDS, *own, "--knob", "n=3") == 2
    assert "there is no 'code_of_a_user' in" in capsys.readouterr().err


def test_an_error_in_a_late_round_publishes_the_best_and_the_same_command_goes_on(capsys):
    words = [*WORDS, "--verifier", "code_of_a_user:failing", "--knob", "n=24", "--batch-size", "4"]
    assert gensearch(*words) == 1
    said = capsys.readouterr()
    errors = [line for line in said.err.splitlines() if line]
    assert len(errors) == 1
    assert errors[0].startswith("error: CUDA out of memory; this is the best so far")
    assert "note: an error ended it after 8 finished samples: CUDA out of memory" in said.out
    assert Path("out/best.png").is_file()
    assert "in failing" in Path("out/error.txt").read_text()
    assert "an error ended it" in Path("out/report.html").read_text()
    assert not Path("out/DONE").exists()
    assert read_json(Path("out/result.json"))["stopped"] == "error"
    assert gensearch(*words) == 0
    assert Path("out/DONE").exists()
    assert not Path("out/error.txt").exists()
    assert len(read_json(Path("out/result.json"))["curve"]) == 24


def test_unscored_samples_and_unspent_budget_are_said(capsys):
    assert gensearch(*WORDS, "--verifier", "code_of_a_user:blind", "--knob", "n=12", "--compute", "16") == 0
    result, said = read_json(Path("out/result.json")), capsys.readouterr().out
    assert result["unscored"] > 0
    assert f"note: {result['unscored']} samples could not be scored and did not compete" in said
    assert "note: 4 of 16 work were not spent" in said
    assert remarks({"curve": [], "stopped": "budget", "unscored": 0, "ledger": {"limit": {"work": 4}}}) == []


PANEL = """
verifiers:
- {name: redness, weight: 2, shift: 0.5, scale: 0.1}
- {name: random, weight: 0.5}
- {name: "code_of_a_user:bright", role: select}
- {name: "code_of_a_user:blind", role: holdout}
"""


def test_a_panel_from_a_file_gives_roles_weights_and_scales(capsys):
    Path("panel.yaml").write_text(PANEL)
    assert gensearch(*WORDS, "--panel", "panel.yaml", "--knob", "n=2") == 0
    config = read_json(Path("out/config.json"))["config"]
    assert (config["verifier"], config["select"]) == ("2*redness+0.5*random", "code_of_a_user:bright")
    assert config["holdout"] == ["code_of_a_user:blind"]
    first = json.loads(Path("out/rounds.jsonl").read_text().splitlines()[0])
    red, luck = (first["parts"][name] for name in ("redness", "random"))
    assert first["scores"] == pytest.approx([2 * (a - 0.5) / 0.1 + 0.5 * b for a, b in zip(red, luck, strict=True)])
    assert (
        gensearch(
            "generate",
            "a red star",
            "--model",
            "toy/turbo",
            "--set",
            f"verifiers={json.dumps(config['verifiers'])}",
            "--knob",
            "n=2",
            "--out",
            "out",
        )
        == 0
    )
    assert "finished already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("verifiers: [{name: redness, wieght: 2}]", "unknown key 'verifiers.0.wieght'; did you mean 'weight'"),
        ("verifiers: [{name: redness, role: judge}]", "should be 'guide', 'select' or 'holdout'"),
        ("verifiers: [{name: redness, role: holdout}]", "no verifier of the panel guides"),
        ("verifiers: [{name: redness, scale: 0}]", "the scale of 'redness' is 0"),
        ("verifiers: [{name: redness}, {name: random, role: holdout, weight: 2}]", "'random' enters no sum"),
        ("verifiers: [{name: redness}, {name: redness, role: holdout}]", "'redness' also guides or selects"),
        ("verifiers: [{name: rednes}]", "no verifier is called 'rednes'; did you mean 'redness'"),
        ("guides: [redness]", "panel.yaml: verifiers: Field required"),
    ],
)
def test_an_unfit_panel_is_one_line(text, words, capsys):
    Path("panel.yaml").write_text(text)
    assert gensearch(*WORDS, "--panel", "panel.yaml") == 2
    error = capsys.readouterr().err.strip()
    assert words in error
    assert "\n" not in error
    assert not Path("out").exists()


def test_a_panel_and_roles_beside_it_are_refused(capsys):
    Path("panel.yaml").write_text("verifiers: [{name: redness}]")
    assert gensearch(*WORDS, "--panel", "panel.yaml", "--holdout", "random") == 2
    assert "and the panel gives the roles; leave out one of them" in capsys.readouterr().err
    assert gensearch(*WORDS, "--panel", "none.yaml") == 2
    assert "there is no panel 'none.yaml'" in capsys.readouterr().err
