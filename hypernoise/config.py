"""The training recipe of a noise hypernetwork, as one schema for YAML files and the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from gensearch.config.explain import explain
from gensearch.config.make import entries, split
from gensearch.config.panel import Name
from gensearch.config.yaml import read_preset
from gensearch.core.limits import MAX_SEED
from gensearch.packages import configs
from hypernoise.form import Form, LowRankForm, Strict
from hypernoise.objective import Temperature

PRESETS = "hypernoise"  # the folder of recipes within `configs`
Fraction = Annotated[float, Field(ge=0, lt=1)]


class Distillation(Strict):
    """Distillation before training: winners of past searches, as `gensearch train remember` collects them."""

    memory: Name  # folder of the winners
    steps: PositiveInt = 200  # updates
    batch: PositiveInt = 32  # winners of one update
    lr: PositiveFloat = 1e-3  # initial learning rate


class TrainConfig(Strict):
    """How f(x0, prompt) is trained by the gradients of a reward; unknown keys are refused."""

    model: Name = "shapes/turbo"  # the generator
    options: dict[str, Any] = {}  # how it is loaded; batch_size is the number of rows of one network pass
    rewards: Name = "shapes/clip"  # a differentiable verifier, or a weighted sum of several
    allow_noncommercial: bool = False  # rewards whose licence forbids commercial use
    prompts: Name = "shapes"  # `shapes`, or a text file with one prompt per line
    validation: PositiveInt = 24  # prompts held out of training for validation
    template: str = Field("{prompt}", pattern=r"\{prompt\}")  # text that the network is conditioned on
    form: Form = LowRankForm()  # of the noise network

    start: Name | None = None  # a trained hypernetwork of the same form, whose weights training starts from
    distil: Distillation | None = None  # from winners of past searches, before training by the reward

    temperature: PositiveFloat | None = None  # weight of the KL divergence in units of reward per nat, or instead
    mean_weight: PositiveFloat | None = None  # the weight on the mean square of f over elements, as in released code
    unroll: Annotated[int, Field(ge=1, le=8)] = 1  # rows take 1 to so many passes of f in turn
    order: PositiveInt = 1  # terms of the KL divergence: 1 is |f|^2 / 2, 2 corrects it to second order
    probes: PositiveInt = 1  # random vectors per row for the terms beyond the first
    budget: PositiveFloat | None = None  # KL divergence to reach in nats: `temperature` is then adapted from its value
    budget_rate: PositiveFloat = 0.05  # largest change of log(temperature) in one update

    steps: NonNegativeInt = 1000  # updates by the reward; 0 stops after the distillation
    batch: PositiveInt = 64  # rows of one update, over all processes
    noise: Literal["fresh", "shared"] = "fresh"  # shared: one noise for all rows of an update, as in released code
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: PositiveFloat = 1e-4  # learning rate
    lr_end: Annotated[float, Field(ge=0, le=1)] = 1.0  # share of the learning rate at the end of a cosine schedule
    warmup: NonNegativeInt = 0  # updates of linear warm-up
    momentum: Fraction = 0.9  # of SGD, and beta 1 of AdamW
    weight_decay: NonNegativeFloat = 0.0
    max_norm: PositiveFloat = 1.0  # of the whole gradient, which is clipped to it
    sample_norm: PositiveFloat | None = None  # of the reward gradient of one sample with respect to its noise
    ema: Fraction = 0.99  # decay of the exponential moving average of the weights
    checkpointing: bool = False  # activation checkpointing of generator, decoder and reward: less memory, more time
    seed: int = Field(0, ge=0, le=MAX_SEED)  # determines weights, prompts and noises

    save_every: PositiveInt = 200  # updates between checkpoints
    watch_every: PositiveInt = 50  # updates between validations
    watch_seeds: Annotated[int, Field(ge=2)] = 4  # noises for each validation prompt

    @model_validator(mode="after")
    def check_weight(self) -> TrainConfig:
        """Check that the weight of the KL divergence is given in one of its two conventions.

        Raises:
            ValueError: if it is given in both or in neither.
        """
        if (self.temperature is None) == (self.mean_weight is None):
            raise ValueError(
                "give the weight of the KL divergence as `temperature` or as `mean_weight`, not both or neither"
            )
        return self

    def initial_temperature(self, elements: int) -> Temperature:
        """Return the weight of the KL divergence.

        Args:
            elements: of one noise.
        """
        if self.temperature is not None:
            return Temperature(self.temperature)
        return Temperature.from_mean(float(self.mean_weight or 0), elements)


def make_config(config: str, sets: Sequence[str] = ()) -> TrainConfig:
    """Read a recipe and apply settings to it.

    Args:
        config: the name of a preset, or the path of a YAML file.
        sets: texts such as "steps=200" or "form.rank=8", applied in order.

    Raises:
        ValueError: for the first problem, naming the field and the rule.
    """
    data = read_preset(config, configs() / PRESETS)
    for text in sets:
        key, value = split(text, "--set", "steps=200 or form.rank=8")
        field, dot, entry = key.partition(".")
        data[field] = {**entries(data, field), entry: value} if dot else value
    try:
        return TrainConfig.model_validate(data)
    except ValidationError as error:
        raise ValueError(explain(error, TrainConfig)) from None
