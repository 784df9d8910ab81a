"""What a recipe asks of training is done: averaging, decay, checkpointing, precision, and in the end a gain."""

from __future__ import annotations

import pytest
import torch

from gensearch.models.native.stable_diffusion import StableDiffusion
from hypernoise.network import trainable
from hypernoise.watch import Watch
from tests.builders import tiny
from tests.builders.calls import Calls
from tests.builders.hypernoise import trainer
from tests.builders.identity import Linear
from verifiers.controls.redness import Redness

LOW_RANK = {"kind": "low_rank", "rank": 2}


def turbo(dtype: torch.dtype = torch.float32) -> StableDiffusion:
    pipeline = tiny.stable_diffusion()
    if dtype != torch.float32:
        pipeline.to(dtype)
    model = StableDiffusion(pipeline, steps=1, guidance_scale=0, batch_size=2)
    for network in (model.pipeline.unet, model.pipeline.vae, model.pipeline.text_encoder):
        network.requires_grad_(False)
    return model


@pytest.mark.parametrize("decay", [0.3, 0.99])
def test_the_average_follows_its_recurrence(tmp_path, decay):
    """e <- d e + (1 - d) p after update n = 0, 1, ..., with d = min(decay, (1 + n) / (10 + n))."""
    run = trainer(tmp_path, ema=decay, steps=8)
    expected = [p.detach().clone() for p in run.params]
    for n, _ in enumerate(run):
        d = min(decay, (1 + n) / (10 + n))
        expected = [d * e + (1 - d) * p.detach() for e, p in zip(expected, run.params, strict=True)]
        for ours, e in zip(run.ema, expected, strict=True):
            assert torch.allclose(ours, e, rtol=1e-5, atol=1e-7)
    assert max((p - e).abs().max() for p, e in zip(run.params, run.ema, strict=True)) > 1e-3
    assert all(torch.equal(e, p) for e, p in zip(run.ema, trainable(run.result().network).values(), strict=True))


@pytest.mark.parametrize(("optimizer", "momentum"), [("adamw", 0.9), ("sgd", 0.0)])
def test_weights_without_a_gradient_decay(tmp_path, optimizer, momentum):
    settings = {"optimizer": optimizer, "momentum": momentum, "weight_decay": 0.5, "lr": 0.1, "steps": 3}
    run = trainer(tmp_path, verifier=Linear(torch.zeros(2, 2, 2)), **settings)
    before = [p.detach().clone() for p in run.params]
    updates = list(run)
    assert {update.norm for update in updates} == {0.0}
    for b, p in zip(before, run.params, strict=True):
        assert torch.allclose(p, b * 0.95**3, rtol=1e-5)


def test_low_rank_comes_alive_in_three_updates(tmp_path):
    run = trainer(tmp_path, turbo(), Redness(), form=LOW_RANK, steps=3, batch=2, temperature=1e-4)
    first, second, third = (update.alive for update in run)
    assert 0 < first < second < third == 1


def test_checkpointing_is_on_while_slopes_are_taken_and_changes_nothing(tmp_path):
    outcomes = []
    for flag in (False, True):
        model = turbo()
        unet, vae = model.pipeline.unet, model.pipeline.vae
        calls = Calls(unet=unet, block=unet.down_blocks[1].resnets[0], decoder=vae.decoder.mid_block)
        run = trainer(tmp_path / str(flag), model, Redness(), checkpointing=flag, batch=4, steps=1, temperature=1e-4)
        outcomes.append((next(iter(run)).norm, calls.seen))
        assert not unet.is_gradient_checkpointing
    (plain, once), (thrifty, twice) = outcomes
    assert once == {"unet": 2, "block": 2, "decoder": 2}
    assert twice == {"unet": 2, "block": 4, "decoder": 4}
    assert plain == pytest.approx(thrifty, rel=1e-4)


@pytest.mark.slow
def test_a_generator_in_bf16_trains_weights_in_fp32(tmp_path):
    whole, half = (
        trainer(tmp_path / str(d), turbo(d), Redness(), form=LOW_RANK, steps=3, batch=4, temperature=1e-4, lr=1e-3)
        for d in (torch.float32, torch.bfloat16)
    )
    assert isinstance(half.model, StableDiffusion)
    assert {p.dtype for p in half.model.pipeline.unet.parameters()} == {torch.bfloat16}
    for a, b in zip(whole, half, strict=True):
        assert b.reward == pytest.approx(a.reward, rel=0.02)
        assert b.norm == pytest.approx(a.norm, rel=0.2)
    kept = [*half.params, *half.ema, *(t for p in half.params for t in half.optimizer.state[p].values())]
    assert {tensor.dtype for tensor in kept} == {torch.float32}
    assert half.skipped == 0


@pytest.mark.slow
def test_pictures_turn_red_on_prompts_that_nothing_was_trained_on(tmp_path):
    settings = {"form": LOW_RANK, "steps": 15, "batch": 4, "lr": 1e-2, "temperature": 1e-3, "ema": 0.5}
    run = trainer(tmp_path, turbo(), Redness(), **settings)
    watch = Watch(run.model, run.verifier, ["a green cat", "two red circles", "a dog"], seeds=4)
    before = watch.measure(run.result())
    rewards = [update.reward for update in run]
    after = watch.measure(run.result())
    assert (before.gain, before.nats) == (0, 0)
    assert after.gain > 5 * after.error > 0
    assert after.gain > 0.01
    assert min(rewards[-3:]) > max(rewards[:3])
