"""Distillation from the winners of searches, before or instead of training by the reward."""

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


def training_pairs(winners: Sequence[Winner], model: Model) -> tuple[list[str], Tensor, Tensor]:
    """Return prompts, initial noises of searches, and shifts to the noises of their winners, [n, *noise_shape] each.

    Only searches that shift their noise have a target: those whose recipes end exactly (gradient searches) or nearby
    (zero-order). The winner of best-of-n is one of its initial noises, with a shift of zero.

    Args:
        winners: remembered winners of searches on this model.
        model: the generator.

    Raises:
        ValueError: if no winner has a shifted noise.
    """
    shape = model.noise_shape
    start = (
        torch.cat([randn([winner.recipe[0][1]], shape) for winner in winners]) if winners else torch.zeros(0, *shape)
    )
    end = torch.cat([remake(winner.recipe, shape) for winner in winners]) if winners else start
    if not winners or torch.equal(start, end):
        raise ValueError(
            f"none of {len(winners)} winners has a shifted noise, so there is nothing to distil; "
            "remember runs of reno or dno"
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
    """Regress f(x0, prompt) on the shifts that searches found from x0, and yield the loss of each step.

    The loss is the mean square error per element, with AdamW and a cosine learning rate. The network is changed in
    place.

    Args:
        network: an untrained noise network of the generator.
        model: the generator.
        winners: remembered winners of searches on this model.
        steps: number of updates, at least 0.
        batch: winners per update, at least 1.
        lr: the initial learning rate.
        seed: determines which winners are drawn.
        template: the text that the network is conditioned on, with {prompt}.

    Raises:
        ValueError: if no winner has a shifted noise.
    """
    prompts, start, shift = training_pairs(winners, model)
    texts = [template.replace("{prompt}", prompt) for prompt in prompts]
    optimizer = torch.optim.AdamW(list(trainable(network).values()), lr, weight_decay=0.0)
    for step in range(steps):
        rows = [derive(seed, "lesson", step, row) % len(prompts) for row in range(min(batch, len(prompts)))]
        conditions = lookable(model).conditions([texts[row] for row in rows])
        device = conditions[0].device
        for group in optimizer.param_groups:
            group["lr"] = lr * (1 + math.cos(math.pi * step / steps)) / 2
        loss = (network(start[rows].to(device), *conditions) - shift[rows].to(device)).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)  # also after the last step: no gradient is left for later training
        yield float(loss.detach())
