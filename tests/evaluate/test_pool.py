"""Stored pools: what is read again is what was made, more samples begin with the same ones, and others are refused."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from gensearch.evaluate.pool import World, make, pools, world_of
from gensearch.models.toy.gaussian import GaussianTurbo
from gensearch.shapes.judge import ShapesJudge
from gensearch.shapes.tracker import ShapesTracker
from verifiers.types import Scores

LINES = [{"prompt": f"a photo of {n}", "tag": tag} for n, tag in (("a ring", "one"), ("two stars", "two"))]


class Threshold:
    """Whether a picture is lighter than grey; counts its calls."""

    name, differentiable = "threshold", False

    def __init__(self, scale=1.0):
        self.scale, self.calls = scale, 0

    def __call__(self, media, prompts, *, progress=1.0):
        self.calls += 1
        return Scores((media.flatten(1).mean(1) > 0.5).float() * self.scale)


def world():
    return World(lambda per_tag: LINES, Threshold(), Threshold(0.5))


def model(**options):
    return GaussianTurbo((3, 6, 6), batch_size=4, **options)


def same(ours, theirs):
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in zip(ours, theirs, strict=True))


def test_pools_are_made_once_and_read_again(tmp_path):
    judges = world()
    made = list(pools(model(), LINES, 6, world=judges, folder=tmp_path))
    calls = judges.exact.calls
    again = list(pools(model(), LINES, 6, world=judges, folder=tmp_path))
    assert judges.exact.calls == calls == 2
    assert all(same(a, b) for a, b in zip(made, again, strict=True))
    assert torch.equal(made[0].exact, Threshold()(made[0].media, []).total)
    assert torch.equal(made[0].share, made[0].exact / 2)
    assert made[0].pixels.dtype == torch.uint8
    assert made[0].prompts == ["a photo of a ring"] * 6


def test_fewer_are_a_part_and_more_begin_with_the_same(tmp_path):
    few = list(pools(model(), LINES, 3, world=world(), folder=tmp_path))
    more = list(pools(model(), LINES, 8, world=world(), folder=tmp_path))
    part = list(pools(model(), LINES, 3, world=world(), folder=tmp_path))
    for small, large, cut in zip(few, more, part, strict=True):
        assert torch.equal(large.pixels[:3], cut.pixels)
        assert (small.pixels.int() - cut.pixels.int()).abs().max() <= 1  # other physical batches, other last bits


def test_samples_differ_between_prompts_and_seeds():
    one, two = (make(model(), line, 4, world(), 0).pixels for line in LINES)
    assert not torch.equal(one, two)
    assert not torch.equal(one, make(model(), LINES[0], 4, world(), 1).pixels)


def test_a_folder_of_another_seed_and_damage_are_refused(tmp_path):
    list(pools(model(), LINES, 2, world=world(), folder=tmp_path))
    with pytest.raises(ValueError, match="with seed 0, not of .* with seed 1; take another folder"):
        list(pools(model(), LINES, 2, world=world(), folder=tmp_path, seed=1))
    next(tmp_path.glob("*.safetensors")).write_bytes(b"x")
    with pytest.raises(ValueError, match="is no stored pool"):
        list(pools(model(), LINES, 2, world=world(), folder=tmp_path))


def test_the_world_fits_what_the_model_draws():
    assert isinstance(world_of(SimpleNamespace(verbs=frozenset())).exact, ShapesJudge)
    assert isinstance(world_of(SimpleNamespace(verbs=frozenset({"chunks"}))).exact, ShapesTracker)
