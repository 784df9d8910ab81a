"""What a search found as JSON can hold it: rounds, scores and guards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gensearch.core.guard import Guard
    from gensearch.core.result import Progress, Sample


def round_line(progress: Progress, index: int) -> dict[str, Any]:
    """One round as a line of the journal; null where a sample could not be scored."""
    round_ = progress.round
    return {
        "round": index,
        "done": round_.done,
        "ids": round_.ids,
        "parents": round_.parents,
        "recipes": round_.recipes,
        "scores": [number(score) for score in round_.scores.total.tolist()],
        "parts": {name: [number(v) for v in values.tolist()] for name, values in round_.scores.parts.items()},
        "best": number(progress.best.score) if progress.best else None,
        "spent": progress.ledger.spent._asdict(),
        "seconds": round(progress.ledger.seconds, 4),
    }


def number(value: float) -> float | None:
    """A score as JSON can hold it; None for NaN and for the -inf of an unscored sample."""
    return float(value) if abs(value) < float("inf") else None


def guarded(guard: Guard) -> dict[str, Any]:
    """A guard, as JSON can hold it."""
    plain_fields = {n: number(v) if isinstance(v, float) else v for n, v in guard._asdict().items()}
    reference = {name: [number(score) for score in scores] for name, scores in guard.reference.items()}
    return plain_fields | {"reference": reference, "seconds": round(guard.seconds, 3)}


def scores_of(sample: Sample) -> dict[str, Any]:
    """A sample's scores, as JSON can hold them."""
    parts = {name: number(value) for name, value in sample.parts.items()}
    return {"id": sample.id, "score": number(sample.score), "parts": parts}
