"""The one schema: roles, characters of prompts, numbers from text, presets and what is given beside them."""

from __future__ import annotations

import pytest

from gensearch.config.make import make_config
from gensearch.config.run import RunConfig
from gensearch.engine.run import stream
from gensearch.models.toy.gaussian import GaussianTurbo
from gensearch.search.noise.best_of_n import best_of_n
from verifiers.controls.random import RandomScore
from verifiers.yaml import parse_yaml

WRITTEN = {
    "ideographic space": "赤い星\u3000青い輪",
    "zero-width non-joiner": "می\u200cخواهم",
    "emoji joined by zero-width joiners": "👩\u200d🚀",
    "no-break space": "10\u00a0stars",
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_prompts_of_all_scripts_are_taken_at_both_entrances(kind):
    assert RunConfig(prompt=WRITTEN[kind]).prompt == WRITTEN[kind]
    stream(best_of_n, GaussianTurbo((1, 2, 2)), RandomScore(), WRITTEN[kind], n=1)


@pytest.mark.parametrize("character", ["\n", "\0", "\x1b", "\x85", "\ud800", "\u2028", "\u2029"])
def test_control_characters_are_refused_at_both_entrances(character):
    for enter in (
        lambda prompt: RunConfig(prompt=prompt),
        lambda prompt: stream(best_of_n, GaussianTurbo((1, 2, 2)), RandomScore(), prompt, n=1),
    ):
        # pydantic has a word of its own for surrogates
        with pytest.raises(ValueError, match="control character .* at position 1; remove it|valid string"):
            enter(f"a{character}star")


@pytest.mark.parametrize(("text", "number"), [("1e2", 100.0), ("2.5E+1", 25.0), (".5e1", 5.0), ("16", 16)])
def test_numbers_are_those_of_yaml_1_2(text, number):
    assert make_config(sets=["prompt=x", f"compute={text}"]).compute == number


@pytest.mark.parametrize("text", ["e5", "1e", "1e2x", "0x1e2z", "ViT-B-32", "1.2.3e4"])
def test_other_text_stays_text(text):
    assert parse_yaml(text, "here") == text


def test_a_bounding_knob_replaces_the_budget_of_a_preset():
    best = "shapes_turbo__best_of_16"
    assert make_config(best, prompt="x").compute == 16
    assert make_config(best, prompt="x", knobs={"n": 64}).compute is None
    assert make_config(best, ["knobs.n=64"], prompt="x").compute is None
    assert make_config(best, prompt="x", knobs={"n": 64}, compute=9.0).compute == 9
    assert make_config(best, ["compute=9"], prompt="x", knobs={"n": 64}).compute == 9
    assert make_config(best, prompt="x", knobs={"n": None}).compute == 16
    walk = "shapes_turbo__zero_order_16"
    assert make_config(walk, prompt="x", knobs={"neighbours": 3}).compute == 16
    assert make_config(walk, prompt="x", knobs={"rounds": 3}).compute is None
    assert make_config(walk, prompt="x", search="best_of_n", knobs={"n": 3}).compute is None


def test_nothing_selects_for_the_control():
    with pytest.raises(ValueError, match="'random' would pick the winner, and unguided would be no control"):
        RunConfig(prompt="x", search="unguided", select="random")


def test_a_rank_vote_only_selects():
    assert RunConfig(prompt="x", select="rank(random,shapes/judge)").select == "rank(random,shapes/judge)"
    for roles in ({"verifier": "rank(random)"}, {"holdout": ["rank(random)"]}):
        with pytest.raises(ValueError, match=r"'rank\(random\)' can only select"):
            RunConfig(prompt="x", **roles)


def test_names_that_are_not_registered_are_for_others_to_refuse():
    assert RunConfig(prompt="x", verifier="mine", holdout=["theirs"]).verifier == "mine"
