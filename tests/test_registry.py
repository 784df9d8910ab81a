from __future__ import annotations

import pytest

from gensearch import registry
from verifiers.combine import WeightedSum
from verifiers.embedding.clip import CLIPScore
from verifiers.names import leaf_names
from verifiers.types import Verifier


def test_a_local_clip_folder_is_a_verifier_by_name(tmp_path):
    with pytest.raises(ValueError, match="open_clip_config.json"):
        registry.verifier(f"clip:{tmp_path}")


def test_unknown_open_clip_models_suggest_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'ViT-B-32'"):
        registry.verifier("clip:ViT-B32@openai")


def test_sums_of_registered_names_are_read_without_loading():
    assert registry.parse_verifier("0.5*random+shapes/judge") == [("random", 0.5), ("shapes/judge", 1.0)]
    with pytest.raises(ValueError, match="did you mean 'random'"):
        registry.parse_verifier("2*randon")


@pytest.mark.parametrize("weight", ["inf", "-inf", "nan", "1e999"])
def test_weights_are_finite(weight):
    with pytest.raises(ValueError, match=f"the weight of 'random' is {weight}; give a finite one"):
        registry.parse_verifier(f"shapes/judge+{weight}*random")


@pytest.mark.parametrize("term", ["x*random", "*random"])
def test_a_weight_is_a_number(term):
    with pytest.raises(ValueError, match="is no weight"):
        registry.parse_verifier(term)


def test_a_folder_may_have_any_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a+b", "a", "a+random", "c*d@e"):
        (tmp_path / name).mkdir()
    assert registry.parse_verifier("clip:a+b") == [("clip:a+b", 1)]
    assert registry.parse_verifier("clip:a+shapes/judge") == [("clip:a", 1), ("shapes/judge", 1)]
    assert registry.parse_verifier("2*clip:a+b+0.5*random") == [("clip:a+b", 2), ("random", 0.5)]
    assert registry.parse_verifier("random+clip:a+random") == [("random", 1), ("clip:a+random", 1)]
    assert registry.parse_verifier("3*clip:c*d@e") == [("clip:c*d@e", 3)]
    assert registry.parse_verifier("clip:" + "x" * 9000 + "\0") == [("clip:" + "x" * 9000 + "\0", 1)]
    with pytest.raises(ValueError, match=r"c\*d@e has no open_clip_config.json"):
        registry.verifier("clip:c*d@e")


def test_names_of_single_judges_are_read_whether_they_exist_or_not():
    assert leaf_names("2*first + random") == {"first", "random"}
    assert leaf_names("rank(a, 0.5*b+c)") == {"a", "b", "c"}


def test_a_single_judge_is_loaded_once():
    loaded: dict[str, Verifier] = {}
    alone = registry.verifier("random", loaded=loaded)
    both = registry.verifier("2*random+shapes/judge", loaded=loaded)
    vote = registry.verifier("rank(shapes/judge,random)", loaded=loaded)
    assert set(loaded) == {"random", "shapes/judge"}
    assert isinstance(both, WeightedSum)
    assert isinstance(vote, WeightedSum)
    assert both.terms[0].verifier is vote.terms[1].verifier is alone
    assert vote.name == "rank(shapes/judge,random)"


def test_networks_run_on_the_device_that_is_asked_for():
    both, alone = registry.verifier("0.5*shapes/clip+random", device="meta"), registry.verifier("shapes/clip")
    assert isinstance(both, WeightedSum)
    judge = both.terms[0].verifier
    assert isinstance(judge, CLIPScore)
    assert isinstance(alone, CLIPScore)
    assert judge.device.type == "meta"
    assert judge.dtype.itemsize == 4
    assert alone.device.type == "cpu"
