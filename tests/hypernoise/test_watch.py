"""Validation: every metric of a known f has its value in closed form."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gensearch.core.noise import derive, randn
from hypernoise.artefact import HyperNoise
from hypernoise.form import TokensForm
from hypernoise.manifest import describe
from hypernoise.watch import Watch
from tests.builders.identity import Identity, Linear

PROMPTS = ["a red star", "a blue cat", "two green dogs"]
DIRECTION = randn([3], (2, 2, 2))[0]
FORM = TokensForm(width=8, heads=2)


class Affine(nn.Module):
    """f = scale * x + shift, and with `conditional` a sign that depends on the prompt."""

    def __init__(self, scale: float, shift: torch.Tensor, conditional: bool = False) -> None:
        super().__init__()
        self.scale, self.shift, self.conditional = scale, shift, conditional

    def forward(self, noise: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        push = self.shift.expand(len(noise), -1, -1, -1)
        if self.conditional:
            push = push * text[:, :1, :1, None].sign()
        return self.scale * noise + push


def measured(network: nn.Module, verifier=None):
    model = Identity()
    proposal = HyperNoise(network, describe(model, FORM, temperature=1.0, rewards="linear"))
    watch = Watch(model, verifier or Linear(DIRECTION), PROMPTS, seeds=5, root=1)
    return watch, watch.measure(proposal)


def test_a_constant_shift():
    shift = 0.7 * DIRECTION
    watch, seen = measured(Affine(0.0, shift))
    assert seen.gain == pytest.approx(float((shift * DIRECTION).sum()), rel=1e-5)
    assert seen.error == pytest.approx(0, abs=1e-5)
    assert seen.swap == pytest.approx(0, abs=1e-5), "it does not depend on the prompt"
    assert seen.rms == pytest.approx(float(shift.square().mean().sqrt()), rel=1e-5)
    assert [seen.nats, seen.nats2] == pytest.approx([float(shift.square().sum() / 2)] * 2, rel=1e-5)
    assert seen.diversity == pytest.approx(1, rel=1e-5)
    assert seen.reward == pytest.approx(float(watch.plain[1].mean()) + seen.gain, rel=1e-5)


def test_a_plain_function_is_measured_as_the_verifier_that_it_is():
    whole = Linear(DIRECTION)

    def linear(media, prompts):
        total = whole(media, prompts).total
        media.zero_()  # it may do with its copy what it likes
        return total.tolist()

    seen, expected = (measured(Affine(0.0, 0.7 * DIRECTION), verifier)[1] for verifier in (linear, whole))
    assert seen.reward == pytest.approx(expected.reward)
    assert (seen.diversity, seen.gain) == pytest.approx((expected.diversity, expected.gain), rel=1e-5)


@pytest.mark.parametrize("scale", [-0.5, -0.1, 0.3])
def test_a_shrinking_or_growing_map(scale):
    watch, seen = measured(Affine(scale, torch.zeros(2, 2, 2)))
    assert seen.diversity == pytest.approx(1 + scale, rel=1e-5)
    nats = scale**2 * watch.noise.square().flatten(1).sum(1) / 2
    assert seen.nats == pytest.approx(float(nats.mean()), rel=1e-5)
    assert seen.nats2 == pytest.approx(float(nats[:8].mean()) + 8 * scale**2 / 2, rel=1e-4)  # tr J^2 / 2 = d s^2 / 2


def test_a_network_that_listens_loses_with_another_prompt():
    _, seen = measured(Affine(0.0, 0.5 * DIRECTION, conditional=True))
    signs = [float(Identity().conditions([prompt])[0][0, 0, 0].sign()) for prompt in PROMPTS]
    unit = float(0.5 * DIRECTION.square().sum())
    assert seen.gain == pytest.approx(unit * sum(signs) / 3, rel=1e-4)
    others = signs[1:] + signs[:1]
    assert seen.swap == pytest.approx(unit * sum(a - b for a, b in zip(signs, others, strict=True)) / 3, abs=1e-5)


def test_saturation_counts_values_at_the_ends():
    class Clamped(Identity):
        def render(self, state):
            return state.clean.clamp(0, 1)

    model = Clamped()
    watch = Watch(model, Linear(DIRECTION), PROMPTS, seeds=4)
    network = Affine(0.0, torch.zeros(2, 2, 2))
    seen = watch.measure(HyperNoise(network, describe(model, FORM, temperature=1.0, rewards="linear")))
    assert seen.saturation == pytest.approx(float(((watch.noise <= 0) | (watch.noise >= 1)).float().mean()))


def test_its_noises_belong_to_prompts_and_stay_the_same():
    one, two = (Watch(Identity(), Linear(DIRECTION), prompts, seeds=2) for prompts in (PROMPTS, PROMPTS[1:]))
    assert torch.equal(one.noise[2:], two.noise)
    assert torch.equal(one.noise[:1], randn([derive(0, "watch", PROMPTS[0], 0)], (2, 2, 2)))
