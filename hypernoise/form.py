"""The forms that a noise network can take, as data, and how to build each for a generator."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, cast

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt
from torch import nn

from gensearch.core.types import Model
from gensearch.core.verbs import Lookable
from hypernoise.network import Difference, Lowpass, LowRank, Tokens


class Strict(BaseModel):
    """Unknown keys and infinite numbers are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LowRankForm(Strict):
    """LoRA on the generator itself, its last layer silenced (HyperNoise, arXiv:2508.09968). One more pass.

    With a `grid` it moves the lowest frequencies only: the subspace form, for few ranks.
    """

    kind: Literal["low_rank"] = "low_rank"
    rank: PositiveInt = 128
    scaling: PositiveFloat = 2.0  # of what LoRA adds; peft's alpha is scaling * rank
    grid: PositiveInt | None = None  # how many frequencies along each side it moves; None: all of them
    passes: ClassVar[int] = 1


class DifferenceForm(Strict):
    """LoRA on the generator, less what the generator says without it. Two more passes."""

    kind: Literal["difference"] = "difference"
    rank: PositiveInt = 128
    scaling: PositiveFloat = 2.0
    passes: ClassVar[int] = 2


class TokensForm(Strict):
    """A small transformer of its own on the lowest frequencies of the noise; counted as one more pass."""

    kind: Literal["tokens"] = "tokens"
    grid: PositiveInt | None = None  # how many frequencies along each side; None: all of them
    width: PositiveInt = 96
    depth: PositiveInt = 1
    heads: PositiveInt = 4
    passes: ClassVar[int] = 1


Form = Annotated[LowRankForm | DifferenceForm | TokensForm, Field(discriminator="kind")]


def lookable(model: Model) -> Lookable:
    """The model, if its network can be copied and asked; raises ValueError for another."""
    if "look" not in model.verbs:
        raise ValueError(
            f"{model.name} ({type(model).__name__} adapter) does not let its network be copied; take a native model"
        )
    return cast(Lookable, model)


def build(form: Form, model: Model, seed: int = 0) -> nn.Module:
    """An untrained noise network, zero everywhere, on the generator's device; its weights depend on `seed` only.

    Raises ValueError for a generator that cannot be copied and for a grid larger than its noise.
    """
    base: Any = lookable(model)
    text = base.conditions(["a"])[0]
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # noqa: TID251 - layers draw their own first weights
        if isinstance(form, LowRankForm):
            only = Lowpass(form.grid, *base.noise_shape[-2:]) if form.grid else None
            network: nn.Module = LowRank(
                base.network, base.look, rank=form.rank, scaling=form.scaling, last=base.last_layer, only=only
            )
        elif isinstance(form, DifferenceForm):
            network = Difference(base.network, base.look, rank=form.rank, scaling=form.scaling)
        else:
            grid = form.grid or min(base.noise_shape[-2:])
            sizes = {"width": form.width, "depth": form.depth, "heads": form.heads}
            network = Tokens(base.noise_shape, text.shape[-1], grid=grid, **sizes)
    return network.to(text.device)
