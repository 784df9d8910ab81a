"""How far the law of what a job returns is from that of the base model: KL divergence in nats."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import torch

from gensearch.core.divergence import CHOOSING, SHIFTING, choice_nats, first_order_nats
from gensearch.core.limits import CONTROLS
from gensearch.core.noise import first_seed, gaussian
from gensearch.core.result import Result
from gensearch.engine.job import Job
from verifiers.controls.random import RandomScore


class Law(NamedTuple):
    """KL divergence from the base model, in nats; NaN where it is not known.

    Attributes:
        kl: Its mean over many outcomes is the divergence of the law or an upper bound of it. The share of a
            hypernetwork is an estimate.
        kl_first_order: 1/2 |shift|^2 of the winner's noise, which is exact for a constant shift and no bound otherwise.
    """

    kl: float
    kl_first_order: float


def law(job: Job, prompt: str, found: Result) -> Law:
    """What one outcome of a job tells of its law.

    Args:
        job: What was run.
        prompt: On which prompt.
        found: The outcome.
    """
    search, recipe = job.search.__name__, found.best.recipe
    judged = (job.panel.guide, job.panel.select)
    blind = search in CONTROLS or all(isinstance(verifier, RandomScore) for verifier in judged)
    chosen = choice_nats(search, found, blind)
    kl = chosen + proposed(job, prompt, first_seed(recipe)) if math.isfinite(chosen) else math.nan
    changed = any(move in ("chunk", "prompt") for move, *_ in recipe)
    known = search in CHOOSING | SHIFTING and not changed and "tokens" not in job.model.verbs
    return Law(kl, first_order_nats(recipe, job.model.noise_shape) if known else math.nan)


def proposed(job: Job, prompt: str, seed: int) -> float:
    """The logarithm of the density of the proposed noise of a seed over that of N(0, I), in nats.

    0 for plain noise; NaN for a proposal that does not offer it, and where memory does not suffice, with a warning.
    """
    if job.propose is gaussian:
        return 0.0
    log_ratio = getattr(job.propose, "log_ratio", None)
    if log_ratio is None:
        return math.nan
    try:
        return float(log_ratio(job.model, [prompt], [seed]))
    except torch.OutOfMemoryError:
        warnings.warn(
            "the KL divergence of the proposed noise is left out: its second derivatives do not fit in memory",
            stacklevel=2,
        )
        return math.nan
