"""What a trial leaves: its record without verdicts, and the pixels of its samples."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from gensearch.core.noise import derive
from gensearch.core.result import Result
from gensearch.engine.job import Job
from gensearch.engine.law import law
from gensearch.evaluate.journal import Record
from gensearch.evaluate.made import Made, frames, stored
from gensearch.files.images import digest
from gensearch.models.fingerprint import module_hash, own_code, verifier_hashes
from gensearch.runs.records import number


class Samples(NamedTuple):
    """Finished samples of one round.

    Attributes:
        pixels: uint8 [n, h, w, 3] or [n, t, h, w, 3].
        finite: Whether each one is finite.
    """

    pixels: np.ndarray
    finite: list[bool]


class Found(NamedTuple):
    """The outcome of a search, and all its finished samples where they are to be judged."""

    result: Result
    samples: list[Samples]


def made(about: Record, job: Job, found: Found, seconds: float) -> Made:
    """A trial as it waits for its judges.

    Args:
        about: Which trial it is.
        job: What it ran.
        found: Its outcome.
        seconds: That it took.
    """
    result = found.result
    both = [result.best.media, result.base.media]
    pixels = np.concatenate([stored(torch.stack(both)), *(samples.pixels for samples in found.samples)])
    finite = [bool(media.isfinite().all()) for media in both] + [good for s in found.samples for good in s.finite]
    record = {
        **about,
        "score": number(result.best.score),
        "recipe": result.best.recipe,
        **{name: number(value) for name, value in law(job, about["text"], result)._asdict().items()},
        "spent": result.ledger.spent._asdict(),
        "padding": result.ledger.padding._asdict(),
        "unscored": result.unscored,
        "stopped": result.stopped,
        "election": result.election._asdict() if result.election else None,
        "seconds": round(seconds, 4),
        "picture": f"pictures/{about['method']}/{about['prompt']:04}-{about['seed']}.png",
        "sha256": pixel_hash(pixels[0]),
        **({"candidates": candidates(result)} if found.samples else {}),
    }
    return Made(record, pixels, tuple(row for row, good in enumerate(finite) if not good))


def candidates(result: Result) -> list[dict[str, Any]]:
    """All finished samples of a search in order, each with its own share of the NFE.

    Args:
        result: Of the search.
    """
    totals = [0, *(point.spent.nfe for point in result.curve)]
    return [
        {
            "id": node.id,
            "parents": [] if node.parent is None else [node.parent],
            "score": number(node.score),
            "nfe": after - before,
        }
        for node, (before, after) in zip(result.lineage, pairwise(totals), strict=True)
    ]


def pixel_hash(pixels: np.ndarray) -> str:
    """SHA-256 of a picture or clip: its id.

    Args:
        pixels: uint8 [h, w, 3] or [t, h, w, 3].
    """
    return digest(frames(pixels))


def trial_id(job: Job, made_by: str, prompt: str, root: int) -> str:
    """SHA-256 of all that a trial's outcome follows from, but for the last bits.

    Args:
        job: What it ran.
        made_by: The identity of the networks.
        prompt: What the picture should show.
        root: Its seed.
    """
    knobs = {name: value for name, value in job.knobs.items() if not callable(value)}
    parts = [job.search.__name__, knobs, job.compute, dict(job.limit), made_by, prompt, root]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def identity(job: Job) -> str:
    """A short name of everything that a method's bits depend on: its model, and the networks of all its verifiers.

    Args:
        job: What the method runs.
    """
    panel = job.panel
    roles = (panel.guide, panel.select, *panel.holdout.values())
    hashes = verifier_hashes(*roles) | own_code(*roles)
    learned = getattr(job.propose, "network", None)
    hashes |= {"propose": module_hash(learned)} if isinstance(learned, nn.Module) else {}
    parts = [job.model.fingerprint(), hashes]
    return f"{derive(json.dumps(parts, sort_keys=True, default=str)):014x}"
