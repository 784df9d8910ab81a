"""The forms of a noise network as data, and how each is built for a generator."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, cast

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt
from torch import nn

from gensearch.core.types import Model
from gensearch.core.verbs import Lookable
from hypernoise.network import Difference, Lowpass, LowRank, Tokens


class Strict(BaseModel):
    """A schema that refuses unknown keys and infinite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LowRankForm(Strict):
    """LoRA on the denoiser with zeros for its last layer, for one more network pass (HyperNoise, arXiv:2508.09968).

    With a `grid` the shift lies in the lowest frequencies: the subspace form, for low ranks.

    Attributes:
        rank: of LoRA.
        scaling: factor of what LoRA adds; peft's alpha is scaling * rank.
        grid: frequencies along each side that are shifted; None for all of them.
        passes: network passes of one shift.
    """

    kind: Literal["low_rank"] = "low_rank"
    rank: PositiveInt = 128
    scaling: PositiveFloat = 2.0
    grid: PositiveInt | None = None
    passes: ClassVar[int] = 1


class DifferenceForm(Strict):
    """The output of the denoiser with LoRA minus its output without, for two more network passes.

    Attributes:
        rank: of LoRA.
        scaling: factor of what LoRA adds; peft's alpha is scaling * rank.
        passes: network passes of one shift.
    """

    kind: Literal["difference"] = "difference"
    rank: PositiveInt = 128
    scaling: PositiveFloat = 2.0
    passes: ClassVar[int] = 2


class TokensForm(Strict):
    """A small transformer on the lowest frequencies of the noise, counted as one more network pass.

    Attributes:
        grid: frequencies along each side; None for all of them.
        width: of the transformer.
        depth: number of layers.
        heads: attention heads, a divisor of `width`.
        passes: network passes that one shift counts as.
    """

    kind: Literal["tokens"] = "tokens"
    grid: PositiveInt | None = None
    width: PositiveInt = 96
    depth: PositiveInt = 1
    heads: PositiveInt = 4
    passes: ClassVar[int] = 1


Form = Annotated[LowRankForm | DifferenceForm | TokensForm, Field(discriminator="kind")]


def lookable(model: Model) -> Lookable:
    """Return the model as one whose network can be copied and called on pure noise.

    Args:
        model: a generator.

    Raises:
        ValueError: for a generator without this capability.
    """
    if "look" not in model.verbs:
        raise ValueError(
            f"{model.name} ({type(model).__name__} adapter) does not let its network be copied; take a native model"
        )
    return cast(Lookable, model)


def build(form: Form, model: Model, seed: int = 0) -> nn.Module:
    """Build an untrained noise network, zero everywhere, on the device of the generator.

    Args:
        form: which kind, and its sizes.
        model: the generator.
        seed: determines the initial weights.

    Raises:
        ValueError: for a generator whose network cannot be copied, and for a grid that is larger than its noise.
    """
    base = lookable(model)
    text = base.conditions(["a"])[0]
    height, width = base.noise_shape[-2:]
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # noqa: TID251 - layers draw their own first weights
        if isinstance(form, LowRankForm):
            only = Lowpass(form.grid, height, width) if form.grid else None
            network: nn.Module = LowRank(
                base.network, base.look, rank=form.rank, scaling=form.scaling, last=base.last_layer, only=only
            )
        elif isinstance(form, DifferenceForm):
            network = Difference(base.network, base.look, rank=form.rank, scaling=form.scaling)
        else:
            (channels,) = base.noise_shape[:-2]
            sizes = {"width": form.width, "depth": form.depth, "heads": form.heads}
            network = Tokens((channels, height, width), text.shape[-1], grid=form.grid or min(height, width), **sizes)
    return network.to(text.device)
