from __future__ import annotations

import json

import pytest
import torch

from gensearch.core.noise import randn
from gensearch.core.sampling import generate
from gensearch.models.toy.gaussian import GaussianFlow, GaussianMixture, GaussianTurbo, undrawn

COUNT = 1200


def samples(model, prompt="a red star"):
    """The first channel of finished samples, [COUNT, h, w]."""
    recipes = [(("gaussian", seed),) for seed in range(COUNT)]
    with torch.no_grad():
        media = generate(model, [prompt] * COUNT, randn(range(COUNT), model.noise_shape), recipes)
    return undrawn(media)[:, :1]


def assert_normal(x, mean, std):
    """Mean and standard deviation over samples and pixels, within 4 standard errors (0.9 % and 0.7 % of std)."""
    z = (x - mean) / std
    assert abs(z.mean().item()) <= 4 / z.numel() ** 0.5
    assert abs(z.std().item() - 1) <= 4 / (2 * z.numel()) ** 0.5


@pytest.mark.parametrize("churn", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("guidance", [None, 1.7])
def test_finished_samples_have_the_closed_form_marginal(churn, guidance):
    model = GaussianFlow((1, 3, 3), num_steps=4, churn=churn, guidance=guidance, batch_size=100)
    mean, std = model.marginal("a red star")
    assert std < 0.8
    assert_normal(samples(model), mean, std)


@pytest.mark.parametrize(("num_steps", "churn"), [(1, 0.0), (3, 0.5)])
def test_the_distilled_flow_is_exact(num_steps, churn):
    model = GaussianTurbo((1, 3, 3), num_steps=num_steps, churn=churn, batch_size=100, std=1.3)
    mean, std = model.marginal("a red star")
    assert std == pytest.approx(1.3, rel=1e-6)
    assert_normal(samples(model), mean, 1.3)


def test_rewinding_keeps_the_marginals_of_the_path():
    model = GaussianFlow((1, 3, 3), num_steps=4, batch_size=100)
    noise = randn(range(COUNT), model.noise_shape)
    with torch.no_grad():
        state = model.start(["a red star"] * COUNT, noise)
        for _ in range(2):
            state = model.advance(state)
        for step in (3, 2, 1):
            t = float(model.times[step - 1])
            back = (
                state
                if step == 3
                else model.rewind(
                    state, torch.full((COUNT,), step), randn(range(10**6, 10**6 + COUNT), model.noise_shape)
                )
            )
            assert_normal(back.x, (1 - t) * model.condition("a red star"), ((1 - t) ** 2 * 0.64 + t**2) ** 0.5)


def test_the_mixture_posterior_is_that_of_bayes():
    model = GaussianMixture((1, 1, 1), words=("left", "right"), leak=0.5, std=0.4)
    x0 = torch.linspace(-6, 6, 4001).double()
    means = model.network.means.detach().double().flatten()
    weights = torch.tensor([2 / 3, 1 / 3]).double()
    prior = (weights * torch.exp(-((x0[:, None] - means) ** 2) / (2 * 0.16))).sum(1)
    for t, x in ((0.9, 0.3), (0.5, -0.2), (0.2, 1.1)):
        posterior = prior * torch.exp(-((x - (1 - t) * x0) ** 2) / (2 * t**2))
        expected = float((posterior * x0).sum() / posterior.sum())
        with torch.no_grad():
            found = model.network(torch.full((1, 1, 1, 1), x), torch.tensor([t]), model.condition("left")[None])
        assert found.item() == pytest.approx(expected, abs=1e-4)


def test_the_mixture_mostly_shows_the_word_that_was_asked_for():
    model = GaussianMixture((1, 6, 6), words=("red", "green", "blue"), leak=0.25, num_steps=12, batch_size=100)
    with torch.no_grad():
        shown = model.shows(samples(model, "a green thing"), "").argmax(1)
    share = (shown == 1).double().mean().item()
    error = (2 / 9 / COUNT) ** 0.5  # 0.014
    assert abs(share - 2 / 3) <= 4 * error + 0.02  # twelve DDIM steps are not quite exact


def test_guidance_makes_the_mixture_follow_its_prompt():
    shares = []
    for guidance in (None, 3.0):
        model = GaussianMixture((1, 6, 6), words=("red", "blue"), leak=0.5, guidance=guidance, batch_size=100)
        with torch.no_grad():
            shares.append(model.shows(samples(model, "red"), "")[:, 0].mean().item())
    assert shares[1] > shares[0] + 0.1


def test_previews_of_the_flow_are_posterior_means():
    model = GaussianFlow((1, 3, 3), num_steps=4)
    noise = randn(range(5), model.noise_shape)
    with torch.no_grad():
        state = model.start(["a red star"] * 5, noise)
    assert torch.equal(state.clean, model.condition("a red star").expand(5, -1, -1, -1))  # pure noise says nothing


def test_fingerprints_are_short_and_tell_weights_apart():
    one, other = GaussianMixture((3, 16, 16)), GaussianMixture((3, 16, 16), std=0.4)
    assert len(json.dumps(one.fingerprint())) < 400
    changed = {key for key, value in one.fingerprint().items() if other.fingerprint()[key] != value}
    assert changed == {"weights"}
    assert one.fingerprint() == GaussianMixture((3, 16, 16)).fingerprint()
