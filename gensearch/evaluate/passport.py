"""The passport of a verifier: how far it can be trusted on samples of one generator, before it guides a search.

Best-of-n gains follow the accuracy on pairs of one generator, not that on pairs of different ones (MMRB2, 2025,
arXiv:2512.16899), so all pairs here are samples of one model for one prompt.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gensearch.core.best_of import best_of
from gensearch.core.noise import derive, randn
from gensearch.core.perturb import KINDS, perturbed
from gensearch.core.sampling import generate
from gensearch.core.types import Model
from gensearch.evaluate.agreement import flipped, pair_accuracy, spearman, tied
from gensearch.evaluate.bootstrap import interval
from gensearch.evaluate.pool import Pool
from verifiers.types import Media, Verifier

SIZES = (1, 4, 16, 64)  # of best-of-n, as far as the pools go
CHANGED = 4  # samples of each prompt that are scored after small changes
COMPARED = 2  # pairs of each prompt that a pairwise verifier is asked about, in both orders


class Seen(NamedTuple):
    """What was measured on the samples of one prompt.

    Attributes:
        tag: The kind of prompt.
        exact: The exact judge's verdict, [n].
        share: The share of the prompt that is fulfilled, [n].
        scores: The verifier's, [n]; NaN for what it could not score.
        changes: Kind of change -> absolute change of each score, [<= CHANGED].
        verdicts: P(right is better) of pairs (right, wrong), right first; empty without `compare`.
        turned: P(wrong is better) of the same pairs, wrong first.
        seconds: That the scores took.
    """

    tag: str
    exact: np.ndarray
    share: np.ndarray
    scores: np.ndarray
    changes: dict[str, np.ndarray]
    verdicts: np.ndarray
    turned: np.ndarray
    seconds: float


@torch.no_grad()
def look(verifier: Verifier, pool: Pool) -> Seen:
    """Score the samples of one prompt, some of them after small changes, and ask about pairs if it compares.

    Args:
        verifier: What is checked.
        pool: The samples.
    """
    began = time.perf_counter()
    total = verifier(pool.media, pool.prompts).total
    seconds = time.perf_counter() - began
    few = pool.media[:CHANGED]
    changes = {
        kind: numbers(verifier(perturbed(few, kind), pool.prompts[: len(few)]).total - total[: len(few)])
        for kind in KINDS
    }
    right, wrong = (torch.nonzero(pool.exact.eq(verdict)).flatten()[:COMPARED] for verdict in (1, 0))
    count = min(len(right), len(wrong))
    forward = backward = np.empty(0)
    if count and (compare := getattr(verifier, "compare", None)):
        good, bad, prompts = pool.media[right[:count]], pool.media[wrong[:count]], pool.prompts[:count]
        forward, backward = numbers(compare(good, bad, prompts)), numbers(compare(bad, good, prompts))
    shifts = {kind: np.abs(change) for kind, change in changes.items()}
    return Seen(pool.tag, numbers(pool.exact), numbers(pool.share), numbers(total), shifts, forward, backward, seconds)


def numbers(values: Tensor) -> np.ndarray:
    """Scores as float64; infinite ones as NaN."""
    found = values.detach().double().cpu().numpy()
    return np.where(np.isfinite(found), found, np.nan)


def passport(verifier: Verifier, model: Model, pools: Iterable[Pool], say: Callable[[str], None]) -> dict[str, Any]:
    """Check a verifier on the pools of a generator.

    Args:
        verifier: What is checked.
        model: Made the pools; one batch is made again, for the time of a sample.
        pools: Of each prompt, with as many samples each.
        say: Called with the progress.

    Raises:
        ValueError: The verifier cannot score these media or prompts.
    """
    seen: list[Seen] = []
    pool = None
    for pool in pools:
        seen.append(look(verifier, pool))
        say(f"{len(seen)} prompts, {seen[-1].seconds:.2f} s for {len(pool.pixels)} scores of the last")
    if pool is None:
        raise ValueError("there are no prompts to check a verifier on; take --prompts 1 or more")
    each = sum(look.seconds for look in seen) / sum(len(look.scores) for look in seen)
    sample = pace(model, pool.prompt)
    return {
        "verifier": verifier.name,
        "on": model.name,
        "prompts": len(seen),
        "samples": len(seen[0].scores),
        **agreement(seen),
        **behaviour(verifier, pool),
        "seconds_per_score": each,
        "scores_per_second": 1 / each,
        "share_of_a_sample": each / sample,
    }


def agreement(seen: Sequence[Seen]) -> dict[str, Any]:
    """What the scores say about agreement with the exact judge, with intervals over prompts.

    Args:
        seen: What was measured, by prompt.
    """
    scores = np.concatenate([one.scores for one in seen])
    found: dict[str, Any] = {
        "accuracy": over_prompts([pair_accuracy(one.scores, one.exact) for one in seen]),
        "spearman": over_prompts([spearman(one.scores, one.share) for one in seen]),
        "ties": known_mean([tied(one.scores) for one in seen]),
        "unscored": float(np.isnan(scores).mean()),
        "sensitivity": {kind: sensitivity(seen, kind) for kind in KINDS},
        "best_of": gains(seen, [one.scores for one in seen]),
        "best_of_exact_judge": gains(seen, [one.exact for one in seen]),
    }
    means = [gain["mean"] for gain in found["best_of"].values()]
    found["monotone"] = all(after > before - 1e-9 for before, after in pairwise(means))
    verdicts, turned = (np.concatenate([getattr(one, name) for one in seen]) for name in ("verdicts", "turned"))
    if len(verdicts):
        mean = (verdicts + 1 - turned) / 2
        right = np.where(np.isnan(mean), np.nan, (mean > 0.5) + 0.5 * (mean == 0.5))
        places = np.cumsum([len(one.verdicts) for one in seen])[:-1]
        found["pairwise"] = {
            "accuracy": over_prompts([known_mean(part) for part in np.split(right, places)]),
            "flips": known(flipped(verdicts, turned)),
            "unscored": float(np.isnan(mean).mean()),
        }
    return found


def gains(seen: Sequence[Seen], guides: Sequence[np.ndarray]) -> dict[str, Any]:
    """The share of right samples that best-of-n picks by some scores, mean over tags, for each n."""
    tags = [one.tag for one in seen]
    fit = [n for n in SIZES if n <= min(len(scores) for scores in guides)]
    return {
        str(n): as_json(interval([best_of(g, one.exact, n) for g, one in zip(guides, seen, strict=True)], tags))
        for n in fit
    }


def sensitivity(seen: Sequence[Seen], kind: str) -> float | None:
    """The mean absolute change of a score by one kind of small change, in standard deviations within a prompt."""
    spreads = [np.nanstd(one.scores, ddof=1) for one in seen if (~np.isnan(one.scores)).sum() > 1]
    spread, change = known_mean(spreads), known_mean(np.concatenate([one.changes[kind] for one in seen]))
    return known(change / spread) if spread and change is not None else None


def behaviour(verifier: Verifier, pool: Pool) -> dict[str, Any]:
    """Whether scores depend on the rest of their batch, and whether there are gradients where they are claimed.

    Args:
        verifier: What is checked.
        pool: The samples of one prompt.
    """
    media, prompts = pool.media[:8], pool.prompts[:8]
    with torch.no_grad():
        total = verifier(media, prompts).total
        turned = verifier(media.flip(0), prompts).total.flip(0)
        alone = torch.cat([verifier(row[None], prompts[:1]).total for row in media])
    apart = (total - alone).abs().nan_to_num(0).max()
    return {
        "batch": {"same_bits_in_another_order": same(total, turned), "largest_change_alone": float(apart)},
        "gradient": slope(verifier, media[:2], prompts[:2]),
    }


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two rows of scores agree bit for bit, NaN included."""
    return torch.equal(one.isnan(), other.isnan()) and torch.equal(one.nan_to_num(0), other.nan_to_num(0))


def slope(verifier: Verifier, media: Media, prompts: Sequence[str]) -> str:
    """Whether scores have gradients: "yes", "no", or "claimed, but there is none"."""
    if not verifier.differentiable:
        return "no"
    with torch.enable_grad():
        leaf = media.clone().requires_grad_()
        total = verifier(leaf, prompts).total
        found = torch.autograd.grad(total.sum(), leaf)[0] if total.requires_grad else torch.zeros(1)
    return "yes" if bool(found.isfinite().all()) and bool(found.any()) else "claimed, but there is none"


@torch.no_grad()
def pace(model: Model, prompt: str) -> float:
    """Seconds of one sample of a model, in a full batch."""
    seeds = [derive("pace", i) for i in range(model.batch_size)]
    noise, recipes = randn(seeds, model.noise_shape), [(("gaussian", seed),) for seed in seeds]
    began = time.perf_counter()
    generate(model, [prompt] * len(seeds), noise, recipes)
    return (time.perf_counter() - began) / len(seeds)


# --- means


def over_prompts(values: Sequence[float | None]) -> dict[str, Any]:
    """The mean over prompts with its interval, without those where the value is not defined."""
    fit = [value for value in values if value is not None and np.isfinite(value)]
    return {**as_json(interval(fit, ["all"] * len(fit)) if fit else (np.nan,) * 3), "prompts": len(fit)}


def as_json(value: Sequence[float]) -> dict[str, float | None]:
    """A mean with its limits, None for what is unknown."""
    return {name: known(number) for name, number in zip(("mean", "low", "high"), value, strict=True)}


def known_mean(values: Sequence[float] | np.ndarray) -> float | None:
    """The mean of the values that are no NaN; None without any."""
    found = np.asarray(values, dtype=np.float64)
    return float(found[~np.isnan(found)].mean()) if (~np.isnan(found)).any() else None


def known(value: float) -> float | None:
    """A number as JSON can hold it; None for NaN and infinity."""
    return float(value) if np.isfinite(value) else None
