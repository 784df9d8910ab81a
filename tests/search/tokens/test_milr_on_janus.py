"""MILR on a tiny Janus of transformers' own classes: what must stay, and what must move."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gensearch.core.noise import randn
from gensearch.engine.run import run, stream
from gensearch.models.tokens.janus import Janus
from gensearch.search.tokens.chains import Chains, How
from gensearch.search.tokens.milr import milr
from gensearch.testing.witness import weights_of
from tests.builders.tiny_janus import janus
from verifiers.controls.redness import Redness

PROMPT = "a photo of two red star"
HOW = How(credit="sampled", anchor=0.0, radius=None, freeze_unconditional=False)


def build(dtype=torch.float32, **options):
    pipeline = janus()
    pipeline.model.to(dtype)
    templates = {"ask": "user : {prompt} plan :", "draw": "user : {prompt} . {plan} draw", "draw_bare": "{prompt} draw"}
    return Janus(pipeline, **{"text_length": 6, "context": 24, "steps": 2, "batch_size": 3, **templates, **options})


STRATEGIES = ["joint", "alt", "t2v", "text", "image"]
IN_BF16 = [pytest.param(torch.bfloat16, name, marks=pytest.mark.slow) for name in STRATEGIES[1:]]


@pytest.mark.parametrize(
    ("dtype", "strategy"), [*((torch.float32, name) for name in STRATEGIES), (torch.bfloat16, "joint"), *IN_BF16]
)
def test_without_a_rate_and_with_its_own_noise_every_picture_is_the_first(dtype, strategy):
    knobs: dict[str, Any] = {
        "iterations": 3,
        "chains": 3,
        "lr": 0.0,
        "noise": "common",
        "baseline": "none",
        "text_share": 0.5,
        "image_share": 0.5,
    }
    rounds = [p.round for p in stream(milr, build(dtype), Redness(), PROMPT, strategy=strategy, **knobs)]
    assert all(torch.equal(r.media, rounds[0].media) for r in rounds)


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_the_network_stays_and_pictures_change(share):
    model = build()
    config, before = model.network.config.to_json_string(), weights_of({"janus": model.network})
    knobs = {"iterations": 4, "chains": 2, "lr": 2.0, "text_share": share, "image_share": share, "baseline": "none"}
    published = {"strategy": "joint", "credit": "argmax"}  # plans of this model take the likeliest words
    outcome = run(milr, model, Redness(), PROMPT, noise="common", **published, **knobs)
    assert len(outcome.lineage) == 10
    assert len({record.score for record in outcome.lineage}) > 2
    assert weights_of({"janus": model.network}) == before
    assert model.network.config.to_json_string() == config


def test_masters_are_fp32_also_over_a_network_in_half_precision():
    """A step of 0.01 from 8 is lost in bfloat16, whose neighbours there are 0.0625 apart."""
    model = build(torch.bfloat16)
    walk = Chains(model, Redness(), PROMPT, ((("gaussian", 3),),))
    walk.begin(randn([3], model.noise_shape), {"text": 1.0, "image": 0.5}, lr=0.01)
    for part in walk.latents.values():
        part.z.fill_(8.0)
    walk.move(("text", "image"), torch.ones(1, 1, dtype=torch.float64), HOW)
    for part in walk.latents.values():
        assert part.z.dtype == torch.float32
        assert 0.009 < float((part.z - 8).abs().max()) < 0.011
