"""From noise to reward, and the gradient back: shared by gradient searches and the training of noise hypernetworks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gensearch.core.kernels import rows
from gensearch.core.ledger import Cost, Ledger
from gensearch.core.noise import derive, master, randn
from gensearch.core.price import price
from gensearch.core.sampling import generate
from gensearch.core.types import Model, Noise, Recipe, Round
from gensearch.search.gradient.regularise import Regulariser
from verifiers.batches import padding
from verifiers.combine import leaves
from verifiers.types import Media, Scores, Verifier

SWITCH, FLAG = "set_grad_checkpointing", "grad_checkpointing"  # of open_clip's networks, and of the parts it switches


class Climb(NamedTuple):
    """The media and scores of some noise, and the graph that leads back to it.

    Media and scores are detached; `slope` uses up the graph.
    """

    media: Media
    scores: Scores
    noise: tuple[Noise, ...]  # leaves [b, *noise_shape]: x_T and, if they are optimised, the noises of the steps
    total: Tensor  # [b] with graph

    def slope(self, model: Model, ledger: Ledger) -> tuple[Noise, ...]:
        """d total / d noise of every sample, fp32, shaped like `noise`; charged as one backward pass per forward one.

        A sample that could not be scored, or whose gradient is not finite, gets zeros: its step is left out.

        Raises:
            ValueError: A verifier that says that it is differentiable returned scores without a graph.
        """
        size, unit = len(self.total), Cost(backward=price(model).nfe)
        ledger.require(f"gradients of {size} samples", unit.times(size))
        with torch.inference_mode(False), torch.enable_grad():
            wanted = self.total.masked_fill(self.total.isinf(), 0).sum()
            found = torch.autograd.grad(wanted, self.noise, allow_unused=True) if wanted.requires_grad else (None,)
        if found[0] is None and bool(self.total.isfinite().any()):
            raise ValueError(
                "the verifier says that it is differentiable, and its total depends on no pixel by autograd; compute "
                "it with torch alone, or say differentiable = False and take dno or zero_order"
            )
        gradients = [torch.zeros_like(x) if g is None else g for g, x in zip(found, self.noise, strict=False)]
        ledger.charge(unit.times(size), unit.times(padding(size, model.batch_size)))
        return tuple(finite(g) for g in gradients)

    def round(self, recipes: Sequence[Recipe], turn: int) -> Round:
        """These samples as round `turn` of a search (0, 1, ...) in which every sample has one child."""
        size = len(recipes)
        ids = range(turn * size, (turn + 1) * size)
        return Round(
            self.media, self.scores, tuple(recipes), tuple(ids), tuple(id - size if turn else None for id in ids)
        )


@contextmanager
def recomputing(model: Model, verifier: Verifier) -> Iterator[None]:
    """Keep few activations of generator, decoder and verifiers, and compute the others again in the backward pass.

    Activation checkpointing (Chen et al. 2016, arXiv:1604.06174): the same gradients for less memory and about one more
    forward pass, which the ledger does not count. Networks without checkpointing are left alone, and all are left as
    they were found.
    """
    parts = getattr(getattr(model, "pipeline", None), "components", {}).values()
    switched = [part for part in parts if getattr(part, "_supports_gradient_checkpointing", False)]
    switched = [part for part in switched if not part.is_gradient_checkpointing]
    networks = [getattr(leaf, "model", None) for leaf in leaves(verifier)]
    towers: list[Any] = [network for network in networks if hasattr(network, SWITCH)]
    found = [(part, getattr(part, FLAG)) for t in towers for part in t.modules() if hasattr(part, FLAG)]
    try:
        for part in switched:
            part.enable_gradient_checkpointing()
        for tower in towers:
            getattr(tower, SWITCH)(True)
        yield
    finally:
        for part in switched:
            part.disable_gradient_checkpointing()
        for tower in towers:
            getattr(tower, SWITCH)(False)
        for part, flag in found:
            setattr(part, FLAG, flag)


def finite(gradient: Tensor) -> Tensor:
    """Gradients [b, *] with zeros for every row that holds a value that is not finite."""
    (whole,) = rows(gradient, gradient.isfinite().flatten(1).all(1))
    return torch.where(whole, gradient, 0)


def climb(
    model: Model,
    verifier: Verifier,
    prompts: Sequence[str],
    noise: Sequence[Noise],
    recipes: Sequence[Recipe],
    checkpointing: bool = False,
) -> Climb:
    """Generate and score with gradients; `noise` is x_T and perhaps the noises of the steps, fp32 masters.

    Whatever dtype the networks compute in, the leaves stay in fp32. Steps without a noise of their own take it from
    the recipes, the same in every call (common random numbers). `checkpointing` saves memory, see `recomputing`.
    """
    thrifty = recomputing(model, verifier) if checkpointing else nullcontext()
    with torch.inference_mode(False), torch.enable_grad(), thrifty:
        leaves = tuple(master(x.detach()).clone().requires_grad_() for x in noise)
        media = generate(model, prompts, leaves[0], recipes, leaves[1:])
        scores = verifier(media, prompts)
    parts = {name: value.detach() for name, value in scores.parts.items()}
    return Climb(media.detach(), Scores(scores.total.detach(), parts), leaves, scores.total)


def downhill(keep: Regulariser, noise: Noise, start: Noise) -> Noise:
    """d penalty / d noise of every sample [b, *noise_shape]; free, since no network takes part."""
    with torch.inference_mode(False), torch.enable_grad():
        leaf = noise.detach().clone().requires_grad_()
        penalty = keep.penalty(leaf, start.clone()).sum()
        return torch.autograd.grad(penalty, leaf)[0] if penalty.requires_grad else torch.zeros_like(leaf)


def clip(gradient: Tensor, most: float) -> Tensor:
    """Gradients [b, *], each sample's own norm cut to `most`: a batch mate's size changes nothing."""
    norms = gradient.flatten(1).norm(dim=1).clamp(min=1e-12)
    (share,) = rows(gradient, (most / norms).clamp(max=1))
    return gradient * share


class EstimatedGradient:
    """A verifier without gradients, with an estimated one: the hybrid gradient of DNO (arXiv:2405.18881).

    The gradient of its total at each picture is the mean over `probes` random directions d ~ N(0, I) in pixel space of
    (total(picture + reach * d) - total(picture)) / reach * d; it is passed back to the noise exactly. Directions depend
    on the call and on each sample's own seed, so that a sample moves as it would alone. A probe that cannot be scored
    counts as flat.
    """

    differentiable = True

    def __init__(self, verifier: Verifier, probes: int, seeds: Sequence[int], reach: float = 0.01) -> None:
        self.verifier = verifier
        self.name = verifier.name
        self.probes = probes
        self.seeds = seeds
        self.reach = reach
        self.calls = 0

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """The verifier's own scores; the gradient of `total` is the estimate. Costs 1 + `probes` scores a sample."""
        with torch.no_grad():
            scores = self.verifier(media, prompts, progress=progress)
            slope = torch.zeros_like(media)
            for probe in range(self.probes):
                seeds = [derive(seed, "sound", self.calls, probe) for seed in self.seeds]
                direction = randn(seeds, media.shape[1:]).to(media)
                there = self.verifier((media + self.reach * direction).clamp(0, 1), prompts, progress=progress)
                (rise,) = rows(media, ((there.total - scores.total) / self.reach).nan_to_num(0, 0, 0))
                slope += rise * direction / self.probes
            self.calls += 1
        return scores._replace(total=scores.total + ((media - media.detach()) * slope).flatten(1).sum(1))
