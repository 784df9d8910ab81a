"""Training of f(x0, prompt) by the gradients of a reward, with the same result on one process and on several.

The loss is temperature * KL - reward at x0 + f (HyperNoise, Eyring et al. 2025, arXiv:2508.09968, eq. 8). The gradient
of the reward with respect to the noise is computed first and then applied to f, so generator and f have separate
graphs: no adapter is switched between a pass and its gradient, and each sample's gradient can be clipped by itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from gensearch.core.ledger import Cost, Ledger
from gensearch.core.noise import derive, randn
from gensearch.core.requires import require_differentiable, require_gradients
from gensearch.core.types import Model
from gensearch.engine.metered import MeteredModel
from gensearch.files import checkpoint
from gensearch.search.gradient.climb import climb, clip
from hypernoise.artefact import HyperNoise
from hypernoise.config import Distillation, TrainConfig
from hypernoise.distil import distil
from hypernoise.form import build, lookable
from hypernoise.manifest import describe
from hypernoise.memory import Memory
from hypernoise.network import copy_trained, trainable
from hypernoise.objective import Temperature, divergence, dual_ascent, unrolled
from hypernoise.prompts import refuse_benchmarks
from verifiers.adapt import as_verifier
from verifiers.combine import leaves
from verifiers.types import Verifier

if TYPE_CHECKING:
    from accelerate import Accelerator

CHECKPOINT = "checkpoint.safetensors"


class Update(NamedTuple):
    """The metrics of one update, the same in every process.

    Attributes:
        step: updates done.
        reward: mean over the rows that could be scored, before the update.
        nats: mean KL divergence from the base model in nats, to the order of the objective.
        norm: of the whole gradient, before clipping.
        temperature: weight of the KL divergence in units of reward per nat.
        skipped: updates left out so far because a gradient was not finite.
        alive: share of the trained tensors with a gradient that is not zero, in [0, 1].
    """

    step: int
    reward: float = math.nan
    nats: float = math.nan
    norm: float = math.nan
    temperature: float = math.nan
    skipped: int = 0
    alive: float = math.nan


@dataclass
class Trainer:
    """One resumable training run; iterate over it to do the updates, in any number of sessions.

    It starts from the checkpoint in the folder if there is one.

    Attributes:
        config: the recipe.
        model: the generator.
        verifier: the reward, differentiable; a function of (media, prompts) with `differentiable = True` will do.
        prompts: to train on.
        folder: of the checkpoint.
        accelerator: of this process.
        network: f, in training.
        ledger: the cost so far.
        done: updates done.
        skipped: updates left out because a gradient was not finite.
        lesson: the last loss of the distillation; None before it is done.

    Raises:
        ValueError: for a prompt of a benchmark, for a generator or reward without gradients, for the folder of another
            recipe, and for a start of another form.
    """

    config: TrainConfig
    model: Model
    verifier: Verifier
    prompts: list[str]
    folder: Path
    accelerator: Accelerator
    network: nn.Module = field(init=False)
    ledger: Ledger = field(default_factory=Ledger)
    done: int = 0
    skipped: int = 0
    lesson: float | None = None

    def __post_init__(self) -> None:
        self.verifier = as_verifier(self.verifier)
        refuse_benchmarks(self.prompts, "the training set")
        require_gradients(self.model, "a noise hypernetwork")
        require_differentiable(self.verifier, "a noise hypernetwork")
        self.network = build(self.config.form, self.model, self.config.seed)
        self.params = list(trainable(self.network).values())
        self.averaged = self.proposal()
        self.ema = list(trainable(self.averaged.network).values())
        if self.config.start:
            start = HyperNoise.from_pretrained(self.config.start, self.model)
            for network in (self.network, self.averaged.network):
                copy_trained(network, start.network)
        self.temperature = self.config.initial_temperature(math.prod(self.model.noise_shape))
        self.optimizer = make_optimizer(self.config, self.params)
        self.restore()

    def __iter__(self) -> Iterator[Update]:
        """Do the remaining updates, with a checkpoint after every `save_every` of them and after the last.

        A checkpoint is written when the next update is asked for, after the caller has dealt with the last one.
        """
        if self.config.distil and self.lesson is None:
            self.distil(self.config.distil)
        while self.done < self.config.steps:
            update = self.update()
            self.done += 1
            yield update
            if self.done % self.config.save_every == 0 or self.done == self.config.steps:
                self.save()

    def distil(self, recipe: Distillation) -> None:
        """Distil remembered winners; every process does the same.

        Args:
            recipe: the memory, and how to train.

        Raises:
            ValueError: for a memory of another model or verifier, and for one without shifted noises.
        """
        memory = Memory(Path(recipe.memory), self.model, self.verifier.name)
        settings = recipe.model_dump(exclude={"memory"})
        settings |= {"seed": self.config.seed, "template": self.config.template}
        *_, self.lesson = distil(self.network, self.model, memory.winners, **settings)
        copy_trained(self.averaged.network, self.network)
        self.save()

    def update(self) -> Update:
        """Do one update on `batch` rows, of which this process takes every n-th, perhaps none."""
        before = self.ledger.spent
        rows = range(self.config.batch)[self.accelerator.process_index :: self.accelerator.num_processes]
        sums = torch.zeros(3)
        for passes in range(1, self.config.unroll + 1):
            alike = [row for row in rows if row % self.config.unroll == passes - 1]
            pieces = math.ceil(len(alike) / self.model.batch_size)
            for piece in range(pieces):
                loss, found = self.loss(alike[piece::pieces], passes)
                (loss / self.config.batch).backward()
                sums = sums + found
        reward, scored, nats = self.pool(sums, before)
        norm = float(nn.utils.clip_grad_norm_(self.params, self.config.max_norm))
        alive = sum(bool(p.grad.any()) for p in self.params if p.grad is not None) / len(self.params)
        if math.isfinite(norm):  # of the pooled gradients, so all processes agree
            for group in self.optimizer.param_groups:
                group["lr"] = self.config.lr * rate(self.config, self.done)
            self.optimizer.step()
            checkpoint.average(self.ema, self.params, self.config.ema, self.done)
        else:
            self.skipped += 1
        self.optimizer.zero_grad(set_to_none=True)
        mean_reward, mean_nats = reward / scored if scored else math.nan, nats / self.config.batch
        if self.config.budget and math.isfinite(mean_nats):
            self.temperature = dual_ascent(self.temperature, mean_nats, self.config.budget, self.config.budget_rate)
        value = self.temperature.value
        return Update(self.done + 1, mean_reward, mean_nats, norm, value, self.skipped, alive)

    def loss(self, rows: Sequence[int], passes: int = 1) -> tuple[Tensor, Tensor]:
        """Return the loss of some rows of this update, and the sums of rewards, of scored rows and of nats, [3].

        Prompt and noise of a row depend on its number only.

        Args:
            rows: numbers within the update.
            passes: of f, each from where the last one ended.
        """
        config, seed = self.config, self.config.seed
        texts = [self.prompts[derive(seed, "prompt", self.done, row) % len(self.prompts)] for row in rows]
        noises = [derive(seed, "noise", self.done, *([row] if config.noise == "fresh" else [])) for row in rows]
        conditions = lookable(self.model).conditions([config.template.replace("{prompt}", text) for text in texts])
        noise = randn(noises, self.model.noise_shape).to(conditions[0].device)
        f, nats = divergence(
            unrolled(lambda x: self.network(x, *conditions), passes),
            noise,
            order=config.order,
            probes=config.probes,
            seeds=[derive(seed, "probe", self.done, row) for row in rows],
        )
        own = Cost(proposed=passes * config.form.passes, scored=len(leaves(self.verifier)))
        self.ledger.charge(own.times(len(rows)))
        recipes = [(("gaussian", number),) for number in noises]
        metered = MeteredModel(self.model, self.ledger)
        found = climb(metered, self.verifier, texts, [noise + f.detach()], recipes, config.checkpointing)
        (slope,) = found.slope(metered, self.ledger)
        slope = clip(slope, config.sample_norm) if config.sample_norm else slope
        loss = (self.temperature.value * nats - (f * slope.to(f)).flatten(1).sum(1)).sum()
        total = found.scores.total
        sums = [total.nan_to_num(0, 0, 0).sum(), total.isfinite().sum(), nats.detach().sum()]
        return loss, torch.stack([value.cpu().float() for value in sums])

    def pool(self, sums: Tensor, before: Cost) -> list[float]:
        """Sum gradients, sums and costs over all processes, and return the sums.

        Args:
            sums: of this process, [n].
            before: the cost before the update.
        """
        for p in self.params:
            p.grad = self.accelerator.reduce(torch.zeros_like(p) if p.grad is None else p.grad, "sum")
        own = torch.tensor(self.ledger.spent.plus(before.times(-1)))
        numbers = torch.cat([sums, own.float()]).to(self.accelerator.device)
        totals: list[float] = self.accelerator.reduce(numbers, "sum").tolist()
        self.ledger.spent = before.plus(Cost(*map(int, totals[len(sums) :])))
        return totals[: len(sums)]

    def save(self) -> None:
        """Write the checkpoint in the main process, while the others wait."""
        if self.accelerator.is_main_process:
            progress = {
                "done": self.done,
                "skipped": self.skipped,
                "temperature": self.temperature.value,
                "spent": self.ledger.spent._asdict(),
                "lesson": self.lesson,
                "config": self.config.model_dump(mode="json"),
            }
            checkpoint.save(self.folder / CHECKPOINT, self.params, self.ema, self.optimizer, progress)
        self.accelerator.wait_for_everyone()

    def restore(self) -> None:
        """Resume from the checkpoint of the folder, if there is one.

        Raises:
            ValueError: if another recipe wrote it.
        """
        progress = checkpoint.restore(self.folder / CHECKPOINT, self.params, self.ema, self.optimizer)
        if progress is None:
            return
        ours, theirs = json.loads(self.config.model_dump_json()), progress["config"]
        if differ := [name for name in ours if theirs.get(name) != ours[name]]:
            raise ValueError(f"{self.folder} holds another training: {', '.join(differ)} differ. Take another --out")
        self.done, self.skipped, self.lesson = progress["done"], progress["skipped"], progress["lesson"]
        self.temperature = Temperature(progress["temperature"])
        self.ledger.charge(Cost(**progress["spent"]))

    def proposal(self) -> HyperNoise:
        """Return an untrained network as a proposal, which holds the average of the trained one."""
        network = build(self.config.form, self.model, self.config.seed)
        about = {"temperature": 1.0, "rewards": self.verifier.name, "template": self.config.template}
        about["unroll"] = self.config.unroll
        manifest = describe(self.model, self.config.form, **about)
        return HyperNoise(network.eval(), manifest, passes=self.config.unroll)

    def result(self) -> HyperNoise:
        """Return the averaged network with a manifest of its training."""
        about = {"updates": self.done, "batch": self.config.batch, "spent": self.ledger.spent._asdict()}
        manifest = self.averaged.manifest.model_copy(update={"temperature": self.temperature.value, "training": about})
        return HyperNoise(self.averaged.network, manifest, passes=self.config.unroll)


def make_optimizer(config: TrainConfig, params: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimiser of a recipe.

    Args:
        config: the recipe.
        params: to train.
    """
    if config.optimizer == "sgd":
        return torch.optim.SGD(params, config.lr, config.momentum, weight_decay=config.weight_decay)
    return torch.optim.AdamW(params, config.lr, (config.momentum, 0.99), weight_decay=config.weight_decay)


def rate(config: TrainConfig, step: int) -> float:
    """Return the share of the learning rate, in [0, 1]: a linear warm-up and a cosine to `lr_end`.

    Args:
        config: the recipe.
        step: number of the update, from 0.
    """
    rising = min(1.0, (step + 1) / max(1, config.warmup))
    return rising * (config.lr_end + (1 - config.lr_end) * (1 + math.cos(math.pi * step / config.steps)) / 2)
