"""Whether a gain is real: the winner's curse, hold-outs that fall, the variety of the pool, and unlikely noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from verifiers.types import Media

REFERENCE = 19  # samples that hold-outs score beside the winner, so that a false alarm has a chance of 1 in 20
FEWEST = 9  # with fewer there is no warning: more than 1 in 10 would be false
GRID = 8  # cells of a side of a thumbnail
APART = 0.1  # distance of thumbnails at which two pictures count as different
ADVICE = "hold-out: none was given, so nothing confirms the gain; give one by --holdout NAME (holdout=[...] in Python)"
MOST = 256  # samples that the variety of a pool is measured on, evenly spaced over a search


class Guard(NamedTuple):
    """What a result says about over-optimisation; nothing in it decides anything.

    Attributes:
        corrected: The winner's score without the winner's curse; NaN if the verifier could not score changed pictures.
        error: Its standard error.
        distance: Mean distance of two finished samples, RMS over the cells of thumbnails, in [0, 1]; NaN for one.
        distinct: Effective number of different samples, 1 to their number.
        shell: Squared norm of the winner's noise, in standard deviations of chi-square from its mean; NaN for tokens.
        reference: Hold-out -> its scores of the first finished samples, without the winner.
        warnings: One sentence for each hold-out that falls while the guide rises.
        scored: Scores by all this, which no ledger counts.
        seconds: That they took, which no ledger counts either.
        split: The score without the winner's curse by a split of the verifiers of a sum; NaN for a single verifier.
    """

    corrected: float
    error: float
    distance: float
    distinct: float
    shell: float
    reference: Mapping[str, tuple[float, ...]]
    warnings: tuple[str, ...]
    scored: int
    seconds: float
    split: float = nan


def read_guard(data: Mapping[str, Any]) -> Guard:
    """A guard from its JSON, in which None stands for NaN.

    Args:
        data: The fields of `Guard`.
    """
    known: dict[str, Any] = {name: float("nan") if value is None else value for name, value in data.items()}
    return Guard(**known)


def corrected(base: float, winner_again: Sequence[float], base_again: Sequence[float]) -> tuple[float, float]:
    """A winner's score without the winner's curse, and its standard error (NaN from a single change).

    The maximum of n noisy scores is biased upwards. The winner is scored again after small changes, whose noise played
    no part in its selection. The same changes of a sample that was not selected say what they cost everybody. If noise
    is independent from picture to picture, the result is unbiased.

    Args:
        base: Score of a sample that was not selected.
        winner_again: Scores of the winner after each change, [changes].
        base_again: Scores of that other sample after the same changes, [changes].
    """
    gains = torch.tensor(winner_again, dtype=torch.float64) - torch.tensor(base_again, dtype=torch.float64)
    error = float(gains.std() / len(gains) ** 0.5) if len(gains) > 1 else float("nan")
    return base + float(gains.mean()), error


def by_split(worth: Tensor) -> float:
    """A sum's score without the winner's curse: what each verifier adds for the sample that the others pick.

    Cross-fitting (Chernozhukov et al. 2018, arXiv:1608.00060), one fold for each verifier. No verifier reports on a
    sample that it helped to pick. If the verifiers' errors are independent of each other, and the samples do not depend
    on their scores, the result is unbiased for picks by one verifier less, which are a little worse than those by all.

    Args:
        worth: What each verifier adds to the score of each sample, [n, verifiers]; a sample with a score that is not
            finite does not count.

    Returns:
        The score; NaN for a single verifier, and without samples.
    """
    known = worth[worth.isfinite().all(1)].double()
    if known.shape[1] < 2 or not len(known):
        return nan
    others = known.sum(1, keepdim=True) - known
    return float(known.gather(0, others.argmax(0, keepdim=True)).sum())


def falls(winner: float, reference: Sequence[float]) -> bool:
    """Whether a hold-out ranks the winner below every one of the first samples.

    If guide and hold-out have nothing to do with each other, the winner is one sample like the others, and this happens
    with a chance of 1 / (samples + 1), whatever the distribution of the scores.

    Args:
        winner: The hold-out's score of the winner.
        reference: Its scores of other samples; NaN does not count.
    """
    known = [score for score in reference if score == score]
    return len(known) >= FEWEST and all(winner < score for score in known)


def warning(name: str, scores: tuple[float, float], holdout: tuple[float, float], reference: Sequence[float]) -> str:
    """The warning that a hold-out falls while the guide rises; empty if there is no reason for one.

    Args:
        name: Of the hold-out.
        scores: The guide's or the selector's, of the winner and of the first sample.
        holdout: The hold-out's, of the same two.
        reference: The hold-out's, of the first samples without the winner.
    """
    if not (scores[0] > scores[1] and falls(holdout[0], reference)):
        return ""
    known = [score for score in reference if score == score]
    return (
        f"possibly over-optimised: the guide rises from {scores[1]:.4g} to {scores[0]:.4g}, while the hold-out {name} "
        f"falls from {holdout[1]:.4g} to {holdout[0]:.4g}, below each of {len(known)} other samples (chance "
        f"1 in {len(known) + 1} without a cause)"
    )


def shell_distance(noise: Tensor) -> float:
    """How far |z|^2 of d standard normal numbers is from d, in standard deviations of chi-square.

    Args:
        noise: Of one sample, any shape.
    """
    squares, d = float(noise.double().square().sum()), noise.numel()
    return float((squares - d) / (2 * d) ** 0.5)


def thumbnails(media: Media) -> Tensor:
    """Pictures as rows of coarse cells, [b, 3 * 8 * 8]; clips are averaged over time.

    Args:
        media: [b, 3, h, w] or [b, t, 3, h, w] in [0, 1].
    """
    cells = adaptive_avg_pool2d(media.detach().float().cpu().flatten(0, -4), GRID)
    return cells.reshape(len(media), -1, 3 * GRID * GRID).mean(1)


def variety(features: Tensor) -> tuple[float, float]:
    """The mean distance of two samples, NaN for fewer, and the effective number of different ones.

    Args:
        features: [n, d]; a distance is the RMS over d. Rows that are not finite do not count.
    """
    rows = features[features.isfinite().all(1)].double()
    rows = rows[torch.linspace(0, len(rows) - 1, min(len(rows), MOST)).long()]
    if len(rows) < 2:
        return float("nan"), float(len(rows))
    apart = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist") / rows.shape[1] ** 0.5
    return float(apart.sum() / (len(rows) * (len(rows) - 1))), vendi((-0.5 * (apart / APART).square()).exp())


def vendi(similarity: Tensor) -> float:
    """The Vendi score: the exponential of the entropy of a similarity matrix's eigenvalues (arXiv:2210.02410).

    It is 1 for n equal samples and n for n samples without any similarity.

    Args:
        similarity: [n, n], symmetric and positive semi-definite, with ones on the diagonal.
    """
    shares = torch.linalg.eigvalsh(similarity.double() / len(similarity)).clamp(min=0)
    return float(torch.special.entr(shares).sum().exp())


def summary(guard: Guard, held_out: bool) -> list[str]:
    """A guard in short lines: what the score is worth, each warning, and the advice to give a hold-out without any.

    Args:
        guard: Of one search.
        held_out: Whether it had a hold-out.
    """
    parts = {
        f"score {guard.corrected:.4g} +- {guard.error:.2g} corrected for selection": guard.error,
        f"{guard.split:.4g} by a split of its verifiers": guard.split,
        f"{guard.distinct:.1f} distinct samples": guard.distance,
        f"noise {guard.shell:+.1f} sd from its shell": guard.shell,
        f"{guard.seconds:.1f} s": guard.seconds,
    }
    lines = [f"guard: {'; '.join(text for text, value in parts.items() if isfinite(value))}"]
    lines += [f"warning: {text}" for text in guard.warnings]
    return lines if held_out else [*lines, ADVICE]
