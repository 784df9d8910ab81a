"""The passport: known verifiers on made-up pools, whose every number has a closed form."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from gensearch.core.best_of import best_of
from gensearch.evaluate.passport import behaviour, look, passport
from gensearch.evaluate.pool import Pool
from gensearch.models.toy.gaussian import GaussianTurbo
from verifiers.types import Scores


def pool(place, samples=16):
    """Noise pictures; right are those whose red is above its median, so that redness is an exact judge."""
    generator = torch.Generator().manual_seed(place)
    pixels = torch.randint(0, 256, (samples, 3, 12, 12), generator=generator, dtype=torch.uint8)
    red = pixels[:, 0].float().mean((1, 2))
    return Pool(f"prompt {place}", "ab"[place % 2], pixels, (red > red.median()).float(), red)


POOLS = [pool(place) for place in range(6)]


class Red:
    """The mean red, times a sign, optionally with NaN, with constant scores or scores that depend on the batch."""

    name, differentiable = "red", True

    def __init__(self, sign=1.0, fault=""):
        self.sign, self.fault = sign, fault

    def __call__(self, media, prompts, *, progress=1.0):
        total = self.sign * media[:, 0].mean((1, 2))
        if self.fault == "nan":
            total = total.masked_fill(media[:, 0, 0, 0] < 0.5, torch.nan)
        if self.fault == "constant":
            total = total * 0
        if self.fault == "batch":
            total = total + torch.arange(len(media)) * 0.01
        if self.fault == "graph":
            total = total.detach()
        return Scores(total)


class Comparing(Red):
    """Compares by red; `bias` prefers the first picture, `mute` gives no verdict on some."""

    def __init__(self, bias=0.0):
        super().__init__()
        self.bias = bias

    def compare(self, a, b, prompts):
        return (100 * (a - b)[:, 0].mean((1, 2)) + self.bias).sigmoid()


def check(verifier, pools=POOLS):
    said: list[str] = []
    found = passport(verifier, GaussianTurbo((3, 6, 6), batch_size=4), pools, said.append)
    assert len(said) == len(pools)
    return json.loads(json.dumps(found, allow_nan=False))


def test_a_perfect_verifier():
    found = check(Red())
    assert found["accuracy"] == {"mean": 1, "low": 1, "high": 1, "prompts": 6}
    assert found["spearman"]["mean"] == pytest.approx(1)
    assert (found["ties"], found["unscored"], found["monotone"], found["gradient"]) == (0, 0, True, "yes")
    for n, gain in found["best_of"].items():
        assert gain["mean"] == pytest.approx(found["best_of_exact_judge"][n]["mean"])
    assert found["best_of"]["1"]["mean"] == pytest.approx(0.5)
    assert found["best_of"]["16"]["mean"] == 1
    assert found["batch"]["same_bits_in_another_order"]
    assert found["batch"]["largest_change_alone"] < 1e-6
    assert (found["verifier"], found["on"], found["prompts"], found["samples"]) == ("red", GaussianTurbo().name, 6, 16)
    assert found["scores_per_second"] == pytest.approx(1 / found["seconds_per_score"])
    assert "pairwise" not in found


def test_a_perverse_verifier_falls():
    found = check(Red(-1))
    assert found["accuracy"]["mean"] == 0
    assert found["spearman"]["mean"] == pytest.approx(-1)
    assert not found["monotone"]
    assert found["best_of"]["16"]["mean"] == 0


def test_a_constant_verifier_ties():
    found = check(Red(fault="constant"))
    assert (found["ties"], found["accuracy"]["mean"], found["spearman"]["mean"]) == (1, 0.5, None)
    assert found["sensitivity"] == dict.fromkeys(found["sensitivity"])
    assert found["gradient"] == "claimed, but there is none"
    assert all(gain["mean"] == pytest.approx(0.5) for gain in found["best_of"].values())


def test_faults_are_found():
    missing = np.mean([(one.pixels[:, 0, 0, 0].float() / 255 < 0.5).float().mean() for one in POOLS])
    assert check(Red(fault="nan"))["unscored"] == pytest.approx(missing)
    faulty = behaviour(Red(fault="batch"), POOLS[0])
    assert not faulty["batch"]["same_bits_in_another_order"]
    assert faulty["batch"]["largest_change_alone"] == pytest.approx(0.07, abs=1e-5)
    assert behaviour(Red(fault="graph"), POOLS[0])["gradient"] == "claimed, but there is none"


def test_best_of_n_is_the_estimator_over_prompts_and_tags():
    noisy = [one._replace(exact=one.exact.flip(0)) for one in POOLS]
    found = check(Red(), noisy)
    each = [best_of(one.share.numpy(), one.exact.numpy(), 4) for one in noisy]
    assert found["best_of"]["4"]["mean"] == pytest.approx(np.mean([np.mean(each[::2]), np.mean(each[1::2])]))


def test_comparisons_are_asked_in_both_orders():
    fair, biased = check(Comparing())["pairwise"], check(Comparing(bias=1000.0))["pairwise"]
    assert (fair["accuracy"]["mean"], fair["flips"], fair["unscored"]) == (1, 0, 0)
    assert (biased["accuracy"]["mean"], biased["flips"]) == (0.5, 1)


def test_changes_are_measured_on_the_first_samples():
    seen = look(Red(), POOLS[0])
    assert {len(changes) for changes in seen.changes.values()} == {4}
    assert all((changes >= 0).all() for changes in seen.changes.values())
    assert seen.changes["shift"].max() > 0


def test_no_prompts_are_refused():
    with pytest.raises(ValueError, match="no prompts to check a verifier on"):
        check(Red(), [])
