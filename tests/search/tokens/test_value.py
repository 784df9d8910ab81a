"""Value models rank the pictures of one prompt by their first states, and only there."""

from __future__ import annotations

import math

import pytest
import torch

from gensearch.search.tokens.value import Group, Value, accuracy, fit, ranking_loss


def groups(count, seed, length=6, width=5, siblings=8, noise=0.0):
    """Pictures whose reward is a direction in their states, plus something that all of a group share."""
    generator = torch.Generator().manual_seed(seed)
    direction = torch.tensor([1.0, -2.0, 0.0, 0.5, 0.0])
    for _ in range(count):
        own = torch.randn(siblings, 1, 1, width, generator=generator)
        states = own + noise * torch.randn(siblings, length, 2, width, generator=generator)
        yield Group(states, own[:, 0, 0] @ direction + 10 * torch.randn((), generator=generator))


def value(seed=0, **sizes):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Value(**{"width": 5, "length": 6, **sizes})


def test_the_loss_is_least_where_values_are_rewards_over_the_temperature():
    rewards = torch.tensor([0.1, 0.7, 0.3], dtype=torch.float64)
    best = (rewards / 0.4).requires_grad_()
    loss = ranking_loss(best, rewards, 0.4)
    (slope,) = torch.autograd.grad(loss, best)
    assert slope.abs().max() < 1e-12
    shares = (rewards / 0.4).softmax(0)
    assert float(loss.detach()) == pytest.approx(float(-(shares * shares.log()).sum().detach()))
    assert torch.allclose(ranking_loss(best + 5, rewards, 0.4), loss), "only differences count"


def test_what_is_fitted_orders_unseen_groups_at_every_depth_and_an_unfitted_one_does_not():
    taught, unseen = list(groups(60, 0, noise=0.3)), list(groups(40, 1, noise=0.3))
    fitted = value()
    before = accuracy(fitted, unseen, 3)
    fit(fitted, taught, epochs=12, lr=3e-3)
    assert abs(before - 0.5) < 0.25
    assert all(accuracy(fitted, unseen, depth) > 0.85 for depth in (2, 4, 6))


def test_labels_in_disorder_teach_nothing():
    """The standard error of the share over 40 groups of 28 pairs is below 0.04."""
    generator = torch.Generator().manual_seed(5)
    mixed = [Group(g.states, g.rewards[torch.randperm(8, generator=generator)]) for g in groups(60, 0)]
    fitted = value()
    fit(fitted, mixed, epochs=4, lr=1e-3)
    assert abs(accuracy(fitted, list(groups(40, 1)), 3) - 0.5) < 0.16


def test_groups_without_a_difference_are_left_out():
    fitted = value()
    before = {name: tensor.clone() for name, tensor in fitted.state_dict().items()}
    fit(fitted, [Group(torch.randn(4, 6, 1, 5), torch.ones(4))], epochs=3, lr=0.1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in fitted.state_dict().items())
    assert math.isnan(accuracy(fitted, [Group(torch.randn(4, 6, 1, 5), torch.ones(4))], 2))


def test_accuracy_counts_pairs_of_unequal_rewards_and_ties_of_values_as_half():
    class Fixed(Value):
        def forward(self, states):
            return states[:, 0, 0, 0]

    shown = torch.tensor([3.0, 1.0, 1.0])[:, None, None, None].expand(3, 6, 1, 5)
    # better pairs: (0, 1), (0, 2), (2, 1); the last is a tie of values
    assert accuracy(Fixed(5, 6), [Group(shown, torch.tensor([1.0, 0.0, 0.5]))], 2) == pytest.approx(2.5 / 3)


def test_only_the_prompts_row_of_guidance_counts():
    states = torch.randn(3, 4, 2, 5)
    other = states.clone()
    other[:, :, 1] += 1
    assert torch.equal(value()(states), value()(other))


def test_a_file_gives_the_same_values_and_anything_else_one_clear_line(tmp_path):
    own, states = value(seed=3), torch.randn(3, 4, 1, 5)
    own.save(tmp_path / "value.safetensors")
    again = Value.load(tmp_path / "value.safetensors")
    assert torch.equal(own(states), again(states))
    assert not any(p.requires_grad for p in again.parameters())
    (tmp_path / "torn.safetensors").write_bytes((tmp_path / "value.safetensors").read_bytes()[:50])
    (tmp_path / "text.safetensors").write_text("{}")
    for name in ("torn", "text", "missing"):
        with pytest.raises(ValueError, match=rf"{name}.safetensors holds no value model .*; fit one with"):
            Value.load(tmp_path / f"{name}.safetensors")


def test_states_of_another_width_are_refused():
    with pytest.raises(ValueError, match="reads states of width 5, not 7; fit another"):
        value()(torch.randn(2, 3, 1, 7))
