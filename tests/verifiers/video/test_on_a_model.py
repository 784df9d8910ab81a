"""Verifiers of clips by name, on the embedded video model and from the command line."""

from __future__ import annotations

import importlib
import json

import pytest
import torch

from gensearch import SearchPipeline, registry
from gensearch.cli import main as cli
from verifiers.card import Card
from verifiers.names import KINDS

PROMPT = "a red star moving fast to the left"
VIDEO = {name for name, entry in registry.VERIFIERS.items() if entry.module.startswith("verifiers.video.")}


@pytest.mark.parametrize("guide", ["staged:shapes/clip-frames", "grid:shapes/clip@13"])
def test_they_guide_a_tree_of_chunks_and_score_its_winner(guide):
    pipe = SearchPipeline.from_pretrained(
        "shapes/video", verifier=guide, holdout=["flicker", "smoothness"], search="tree_of_frames", compute=2
    )
    out = pipe(PROMPT)
    clip = torch.as_tensor(out.result.best.media)[None]
    score = registry.verifier(guide)(clip, [PROMPT]).total.item()
    assert out.result.best.score == pytest.approx(score, abs=1e-5)
    assert out.result.unscored == 0
    for name in ("flicker", "smoothness"):
        assert out.holdout[name][0] == pytest.approx(registry.verifier(name)(clip, [PROMPT]).total.item(), abs=1e-6)


def test_they_run_from_the_command_line(tmp_path, capsys):
    out = tmp_path / "run"
    words = ["generate", PROMPT, "--model", "shapes/video", "--verifier", "staged:shapes/clip-frames"]
    with pytest.raises(SystemExit) as left:
        cli.main([*words, "--holdout", "motion", "--compute", "2", "--out", str(out)])
    assert left.value.code == 0
    assert "hold-out motion: 0.0" in capsys.readouterr().out
    assert json.loads((out / "result.json").read_bytes())["ledger"]["spent"]["scored"] == 2


@pytest.mark.parametrize("name", sorted(VIDEO))
def test_every_name_has_a_card(name):
    card = importlib.import_module(registry.VERIFIERS[name].module).CARD
    assert isinstance(card, Card)
    assert "clips" in card.input
    assert card.price
    assert card.range


def test_kinds_have_builders():
    from verifiers.catalogue import SOURCES

    assert set(KINDS) == set(SOURCES)
    assert len(VIDEO) == 11
