"""The policy gradient on latents against everything that can be listed, and its baselines."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
import torch

from gensearch.core.noise import randn
from gensearch.models.toy.tokens import ToyTokens
from gensearch.search.tokens.latents import Latents, advantages, follow, mean, slope, within


def world(length=3, vocabulary=5, guidance=None, seed=0):
    """A toy, latents of `length` positions in float64, all sequences, their rewards."""
    model = ToyTokens(image_length=length, vocabulary=vocabulary, guidance=guidance)
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(1, length, model.rows, model.width, generator=generator, dtype=torch.float64)
    latents = Latents("image", z.clone(), z, torch.tensor([length]))
    sequences = torch.tensor(list(itertools.product(range(vocabulary), repeat=length)))
    rewards = torch.rand(len(sequences), generator=generator, dtype=torch.float64) * 3 - 1
    return model, latents, sequences, rewards


def expected(model, z, sequences, rewards):
    """J(z) = sum over sequences of p(sequence | z) R(sequence)."""
    log_chance = model.logits("image", z)[0].log_softmax(-1)
    return (log_chance.gather(1, sequences.T).sum(0).exp() * rewards).sum()


def truth(model, latents, sequences, rewards):
    z = latents.z.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(expected(model, z, sequences, rewards), z)
    return gradient


@pytest.mark.parametrize(("length", "vocabulary", "guidance"), [(3, 5, None), (2, 4, 2.5), (4, 3, 0.5)])
def test_the_sum_over_all_sequences_is_the_gradient_of_the_listed_expectation(length, vocabulary, guidance):
    model, latents, sequences, rewards = world(length, vocabulary, guidance)
    chance = model.logits("image", latents.z)[0].softmax(-1).gather(1, sequences.T).prod(0)
    weighted = (chance * rewards * len(sequences))[None]  # slope() takes the mean over samples
    said = torch.ones_like(sequences[None], dtype=torch.bool)
    found = slope(model, latents, sequences[None], said, weighted, "sampled")
    torch.testing.assert_close(found, truth(model, latents, sequences, rewards), rtol=0, atol=1e-12)


def test_of_one_position_it_is_the_covariance_of_token_and_reward():
    """W^T (diag p - p p^T) Q, with Q the mean reward of each token over all that follows."""
    model, latents, sequences, rewards = world(3, 5, None)
    chance = model.logits("image", latents.z)[0].softmax(-1)
    found = truth(model, latents, sequences, rewards)
    for place in range(3):
        others = [k for k in range(3) if k != place]
        weight = chance.gather(1, sequences.T)[others].prod(0) * rewards
        q = torch.stack([weight[sequences[:, place] == token].sum() for token in range(5)])
        p = chance[place]
        slope_of_logits = (torch.diag(p) - p[:, None] * p) @ q
        heads = model.heads["image"].to(slope_of_logits)
        torch.testing.assert_close(found[0, place, 0], heads.T @ slope_of_logits, rtol=0, atol=1e-12)


def sampled(model, latents, count, seed):
    chance = model.logits("image", latents.z)[0].softmax(-1)
    generator = torch.Generator().manual_seed(seed)
    return torch.multinomial(chance, count, replacement=True, generator=generator).T


def estimate(count, credit="sampled", baseline=None, m=None, seed=1):
    """The relative error of the estimate from `count` samples."""
    model, latents, sequences, rewards = world()
    tokens = sampled(model, latents, count, seed)
    place = (tokens * torch.tensor([25, 5, 1])).sum(1)
    gains = rewards[place]
    if baseline:
        gains = advantages(gains.view(-1, m), baseline, None).flatten()
        gains = gains * m / (m - 1) if baseline == "mean" else gains
    found = slope(model, latents, tokens[None], torch.ones_like(tokens[None]).bool(), gains[None], credit)
    right = truth(model, latents, sequences, rewards)
    return float((found - right).norm() / right.norm())


def test_one_sample_estimates_are_unbiased():
    """The error falls with the root of the number of samples: tenfold for a hundred times as many, to a factor 3."""
    few, many = (sum(estimate(n, seed=s) for s in range(8)) / 8 for n in (100, 10_000))
    assert 10 / 3 <= few / many <= 30
    assert estimate(200_000) < 0.03


def test_credit_for_the_likeliest_tokens_is_not_the_gradient():
    assert estimate(200_000, credit="argmax") > 0.5


@pytest.mark.parametrize("m", [2, 5])
def test_leaving_one_out_stays_unbiased(m):
    assert estimate(200_000, baseline="loo", m=m) < 0.03


@pytest.mark.parametrize("scale", [5.0, 1.7])
def test_guidance_passes_the_gradient_on_in_its_own_ratio(scale):
    model, latents, sequences, rewards = world(guidance=scale)
    found = truth(model, latents, sequences, rewards)
    torch.testing.assert_close(found[:, :, 1] * scale, found[:, :, 0] * (1 - scale), rtol=1e-9, atol=1e-12)


def test_an_anchor_pulls_back_by_the_gradient_of_the_divergence():
    model, latents, sequences, _ = world()
    moved = Latents("image", latents.start, latents.start + 0.3, latents.counts)
    z = moved.z.clone().requires_grad_()
    before, after = (model.logits("image", x).log_softmax(-1) for x in (moved.start, z))
    (away,) = torch.autograd.grad((after.exp() * (after - before)).sum(), z)
    none = torch.zeros(1, 4, dtype=torch.float64)
    found = slope(model, moved, sequences[None, :4], torch.ones(1, 4, 3).bool(), none, "sampled", anchor=0.7)
    torch.testing.assert_close(found, -0.7 * away, rtol=1e-9, atol=1e-12)


def test_only_positions_in_play_and_said_tokens_count():
    model, latents, sequences, _ = world()
    part = Latents("image", latents.start, latents.z, torch.tensor([2]))
    gains = torch.ones(1, 5, dtype=torch.float64)
    said = torch.ones(1, 5, 3).bool()
    assert not slope(model, part, sequences[None, :5], said, gains, "sampled")[:, 2].any()
    said[:, :, 0] = False
    found = slope(model, part, sequences[None, :5], said, gains, "sampled")
    assert not found[:, 0].any()
    assert found[:, 1].any()


def test_baselines():
    rewards = torch.tensor([[1.0, 3.0, -torch.inf], [2.0, 2.0, 5.0]], dtype=torch.float64)
    assert advantages(rewards, "none", None).tolist() == [[1, 3, 0], [2, 2, 5]]
    assert advantages(rewards, "loo", None).tolist() == [[-2, 2, 0], [-1.5, -1.5, 3]]
    assert mean(rewards).tolist() == [2, 3]
    assert advantages(rewards, "ema", torch.tensor([0.5, 4.0])).tolist() == [[0.5, 2.5, 0], [-2, -2, 1]]
    assert advantages(rewards, "ema", None).tolist() == [[-1, 1, 0], [-1, -1, 2]]
    lost = torch.tensor([[-torch.inf], [1.0]])
    assert follow(torch.tensor([0.5, 0.0]), lost, decay=0.75).tolist() == [0.5, 0.25]
    assert advantages(torch.tensor([[4.0]]), "loo", None).tolist() == [[0.0]]


def test_latents_reach_as_far_as_their_radius():
    start = torch.randn(2, 3, 2, 5, generator=torch.Generator().manual_seed(1))
    away = torch.randn(2, 3, 2, 5, generator=torch.Generator().manual_seed(2))
    near, far = within(start + 1e-3 * away, start, 0.5), within(start + 100 * away, start, 0.5)
    torch.testing.assert_close(near, start + 1e-3 * away)
    torch.testing.assert_close((far - start).norm(dim=-1), 0.5 * start.norm(dim=-1))
    torch.testing.assert_close(torch.cosine_similarity(far - start, away, dim=-1), torch.ones(2, 3, 2))


@pytest.mark.parametrize(("share", "counts"), [(0.0, [0, 0]), (0.5, [1, 2]), (1.0, [3, 5]), (0.2, [0, 1])])
def test_a_share_of_each_plan_is_in_play(share, counts):
    model = ToyTokens(text_length=5, image_length=7)
    trace = model.trace(model.start(["a", "b"], randn([1, 2], model.noise_shape)))
    trace = trace._replace(lengths=torch.tensor([3, 5]))
    assert Latents.take("text", trace, share).counts.tolist() == counts
    image = Latents.take("image", trace, share)
    assert image.counts.tolist() == [math.floor(7 * share)] * 2
    assert image.z.shape == (2, math.floor(7 * share), 1, model.width)


@pytest.mark.parametrize(("length", "share"), [(300, 0.21), (75, 0.84), (100, 0.29), (576, 0.02)])
def test_shares_of_long_plans_are_not_rounded_down_by_floating_point(length, share):
    model = ToyTokens(text_length=2, image_length=2)
    trace = model.trace(model.start(["a"], randn([1], model.noise_shape)))
    trace = trace._replace(lengths=torch.tensor([length]), text_states=torch.zeros(1, length, 1, model.width))
    assert Latents.take("text", trace, share).counts.tolist() == [int(length * Fraction(str(share)))]
