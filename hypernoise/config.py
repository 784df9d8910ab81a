"""The recipe of a noise hypernetwork, as one schema for YAML files and the command line."""

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
from gensearch.config.run import Name
from gensearch.config.yaml import read_preset
from gensearch.core.limits import MAX_SEED
from gensearch.packages import configs
from hypernoise.form import Form, LowRankForm, Strict
from hypernoise.objective import Temperature

PRESETS = "hypernoise"  # the folder of recipes within `configs`
Fraction = Annotated[float, Field(ge=0, lt=1)]


class Lessons(Strict):
    """Winners of past searches to learn from first, as `gensearch train remember` gathers them."""

    memory: Name  # a folder
    steps: PositiveInt = 200
    batch: PositiveInt = 32
    lr: PositiveFloat = 1e-3


class TrainConfig(Strict):
    """How to learn f(x0, prompt) from the gradients of a reward. Unknown keys are refused."""

    model: Name = "shapes/turbo"
    options: dict[str, Any] = {}  # how to load it; its batch_size is the number of rows in one pass
    rewards: Name = "shapes/clip"  # a differentiable verifier, or a weighted sum of several
    prompts: Name = "shapes"  # `shapes`, or a text file with one prompt to a line
    validation: PositiveInt = 24  # prompts kept out of training, to watch it with
    template: str = Field("{prompt}", pattern=r"\{prompt\}")  # what the network reads of a prompt
    form: Form = LowRankForm()

    distil: Lessons | None = None

    temperature: PositiveFloat | None = None  # price of one nat (a sum over elements) in units of reward, or else
    mean_weight: PositiveFloat | None = None  # the weight on the mean square of f over elements, as in released code
    order: PositiveInt = 1  # terms of the divergence: 1 is |f|^2 / 2, 2 corrects it to second order
    probes: PositiveInt = 1  # random vectors for the terms beyond the first
    budget: PositiveFloat | None = None  # nats to spend: the temperature then starts as given and follows them
    budget_rate: PositiveFloat = 0.05

    steps: NonNegativeInt = 1000  # updates by the reward itself; 0 stops after the lessons
    batch: PositiveInt = 64  # rows of one update, over all processes
    noise: Literal["fresh", "shared"] = "fresh"  # shared: one noise for all rows of an update, as in released code
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: PositiveFloat = 1e-4
    lr_end: Annotated[float, Field(ge=0, le=1)] = 1.0  # share of it that is left after a cosine's descent
    warmup: NonNegativeInt = 0  # updates
    momentum: Fraction = 0.9  # of SGD, and the first of AdamW's
    weight_decay: NonNegativeFloat = 0.0
    max_norm: PositiveFloat = 1.0  # of the whole gradient
    sample_norm: PositiveFloat | None = None  # of one sample's reward gradient with respect to its noise
    ema: Fraction = 0.99
    checkpointing: bool = False  # of the generator, decoder and reward: less memory, more time
    seed: int = Field(0, ge=0, le=MAX_SEED)

    save_every: PositiveInt = 200
    watch_every: PositiveInt = 50
    watch_seeds: Annotated[int, Field(ge=2)] = 4  # noises for each validation prompt

    @model_validator(mode="after")
    def check_price(self) -> TrainConfig:
        """One price, in one convention."""
        if (self.temperature is None) == (self.mean_weight is None):
            raise ValueError("give the price of moving noise as `temperature` or as `mean_weight`, not both or neither")
        return self

    def price(self, elements: int) -> Temperature:
        """The temperature of a noise with so many elements."""
        if self.temperature is not None:
            return Temperature(self.temperature)
        return Temperature.from_mean(float(self.mean_weight or 0), elements)


def make_config(config: str, sets: Sequence[str] = ()) -> TrainConfig:
    """A recipe from a preset or YAML file, then `a.b=c` texts; raises ValueError naming the field and the rule."""
    data = read_preset(config, configs() / PRESETS)
    for text in sets:
        key, value = split(text, "--set", "steps=200 or form.rank=8")
        field, dot, entry = key.partition(".")
        data[field] = {**entries(data, field), entry: value} if dot else value
    try:
        return TrainConfig.model_validate(data)
    except ValidationError as error:
        raise ValueError(explain(error, TrainConfig)) from None
