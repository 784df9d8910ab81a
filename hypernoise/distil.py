"""Distillation: learn from the winners of searches before, or instead of, learning from the reward itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from gensearch.core.noise import derive, randn, remake
from gensearch.core.types import Model
from hypernoise.form import lookable
from hypernoise.memory import Winner
from hypernoise.network import trainable


def lessons(winners: Sequence[Winner], model: Model) -> tuple[list[str], Tensor, Tensor]:
    """Prompts, the noises that searches began with, and the way from there to the winners, [n, *noise_shape] each.

    Only a search that moves its noise shows a way: recipes that end exactly (gradient searches) or nearby (zero-order).
    The winner of best-of-n is one plain noise among others, and teaches where to stay: a way of zero. Raises ValueError
    if no winner moved.
    """
    shape = model.noise_shape
    start = (
        torch.cat([randn([winner.recipe[0][1]], shape) for winner in winners]) if winners else torch.zeros(0, *shape)
    )
    end = torch.cat([remake(winner.recipe, shape) for winner in winners]) if winners else start
    if not winners or torch.equal(start, end):
        raise ValueError(
            f"none of {len(winners)} winners moved its noise, so there is no way to learn; remember some of reno or dno"
        )
    return [winner.prompt for winner in winners], start, end - start


def distil(
    network: nn.Module,
    model: Model,
    winners: Sequence[Winner],
    *,
    steps: int,
    batch: int,
    lr: float,
    seed: int = 0,
    template: str = "{prompt}",
) -> Iterator[float]:
    """Regress f(x0, prompt) on the way that a search took from x0 (ReNO traces as a teacher); yields each loss.

    The loss is the mean square error per element; f reads prompts through `template`. The network is changed in place;
    raises ValueError as `lessons` does.
    """
    prompts, start, way = lessons(winners, model)
    texts = [template.replace("{prompt}", prompt) for prompt in prompts]
    optimizer = torch.optim.AdamW(list(trainable(network).values()), lr, weight_decay=0.0)
    for step in range(steps):
        rows = [derive(seed, "lesson", step, row) % len(prompts) for row in range(min(batch, len(prompts)))]
        conditions = lookable(model).conditions([texts[row] for row in rows])
        device = conditions[0].device
        for group in optimizer.param_groups:
            group["lr"] = lr * (1 + math.cos(math.pi * step / steps)) / 2
        loss = (network(start[rows].to(device), *conditions) - way[rows].to(device)).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)  # also after the last one: nothing is left for what is learned next
        yield float(loss.detach())
