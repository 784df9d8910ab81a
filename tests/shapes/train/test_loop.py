from __future__ import annotations

import os
from typing import Any

import pytest
import torch

from gensearch.shapes.train.loop import Batches, ahead, fit, spare


def task(model: torch.nn.Linear, stop_at: int | None = None):
    def loss(step: int, generator: torch.Generator) -> torch.Tensor:
        if step == stop_at:
            raise KeyboardInterrupt
        x = torch.randn(8, 3, generator=generator)
        return (model(x) - x.sum(1, keepdim=True)).square().mean()

    return loss


def model() -> torch.nn.Linear:
    layer = torch.nn.Linear(3, 1)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    return layer


@pytest.mark.parametrize("orthogonal", [False, True])
def test_a_run_that_was_cut_off_ends_with_the_same_bits(tmp_path, orthogonal):
    def run(layer: torch.nn.Linear, folder: str, stop_at: int | None = None) -> None:
        matrices = [layer.weight] if orthogonal else []
        options: dict[str, Any] = dict(steps=40, lr=0.05, warmup=5, save_every=10, matrices=matrices)
        fit(layer, task(layer, stop_at), folder=tmp_path / folder, **options)

    whole, cut = model(), model()
    run(whole, "whole")
    with pytest.raises(KeyboardInterrupt):
        run(cut, "cut", stop_at=27)
    cut = model()  # what a new process starts from
    run(cut, "cut")
    assert torch.equal(whole.weight, cut.weight)
    assert torch.equal(whole.bias, cut.bias)
    assert not torch.equal(whole.weight, model().weight)


def test_training_reaches_the_solution_and_leaves_the_average_in_the_model(tmp_path):
    layer = model()
    fit(layer, task(layer), folder=tmp_path, steps=400, lr=0.05, ema_decay=0.95)
    assert torch.allclose(layer.weight, torch.ones(1, 3), atol=0.02)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]


def test_some_parameters_can_learn_more_slowly(tmp_path):
    """Adam's first step is as long as its rate, whatever the gradient."""
    layer = model()
    options: dict[str, Any] = {"steps": 1, "lr": 0.05, "warmup": 1, "ema_decay": 0.0, "weight_decay": 0.0}
    fit(layer, task(layer), folder=tmp_path, slow={"bias": 0.1}, **options)
    assert layer.weight.abs().tolist()[0] == pytest.approx([0.05] * 3, rel=1e-3)
    assert layer.bias.abs().item() == pytest.approx(0.005, rel=1e-3)


@pytest.mark.parametrize("gpu", [False, True])
def test_batches_come_in_order_wherever_they_are_made(monkeypatch, gpu):
    """Beside a GPU other processes make them; a run that resumes begins in the middle."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)

    def make(step: int) -> tuple[torch.Tensor, list[int]]:
        return torch.full((2,), step), [os.getpid()]

    made = list(ahead(make, range(3, 9)))
    assert [int(x[0]) for x, _ in made] == [3, 4, 5, 6, 7, 8]
    assert all((pid != os.getpid()) == (gpu and spare() > 0) for _, (pid,) in made)
    batches = Batches(make, 9)
    assert [int(batches(step)[0][0]) for step in (5, 6, 7)] == [5, 6, 7]
