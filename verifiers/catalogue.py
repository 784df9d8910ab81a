"""Verifiers by name, each built when it is asked for; other packages add theirs to `VERIFIERS`."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from verifiers.card import Card, card, require_commercial
from verifiers.embedding import entries as embedding
from verifiers.entry import Entry as Entry
from verifiers.names import parse, ranked, weigh

if TYPE_CHECKING:
    from verifiers.types import Device, Verifier


# --- builders


def vqa(source: str, device: Device = "cpu") -> Verifier:
    """Build a VQAScore on any image-text-to-text model of transformers.

    Args:
        source: a name on the Hugging Face hub, or a local folder, whose gensearch.json may hold the `question`.
        device: where the model runs.

    Raises:
        ValueError: as `VQAScore`, and for a gensearch.json that cannot be read.
    """
    from verifiers.vlm.vqa import QUESTION, VQAScore, asked_in

    asked = asked_in(Path(source)) if os.path.isdir(source) else None
    return VQAScore.load(source, device=device, question=asked or QUESTION)


def frames(source: str, device: Device = "cpu") -> Verifier:
    """Build a picture verifier that scores clips by the mean over frames.

    Args:
        source: the name of a single picture verifier.
        device: where its network runs.

    Raises:
        ValueError: for a name that does not exist.
    """
    from verifiers.video.per_frame import PerFrame

    weigh(source, VERIFIERS)
    return PerFrame(single(source, device))


def motion() -> Verifier:
    """Build the amount of motion in a clip."""
    from verifiers.video.motion import Motion

    return Motion()


def own() -> NoReturn:
    """Refuse the name "self" without a generator; a pipeline resolves it to a score of its own model.

    Raises:
        ValueError: always.
    """
    raise ValueError(
        "'self' is the score of a generator that also answers questions, such as a Janus; take another verifier"
    )


def redness() -> Verifier:
    """Build the redness of a picture."""
    from verifiers.controls.redness import Redness

    return Redness()


def random_score() -> Verifier:
    """Build the negative control."""
    from verifiers.controls.random import RandomScore

    return RandomScore()


VERIFIERS: dict[str, Entry] = {
    **embedding.VERIFIERS,
    "vqa:deepseek-community/Janus-Pro-1B": Entry(
        partial(vqa, "deepseek-community/Janus-Pro-1B"),
        "VQAScore, P(yes); any image-text-to-text model or local folder",
        True,
        "verifiers.vlm.vqa",
    ),
    "frames:shapes/clip": Entry(
        partial(frames, "shapes/clip"), "a picture verifier on clips, the mean over frames; any frames:NAME", True
    ),
    "motion": Entry(
        motion,
        "amount of motion in a clip, to report beside any clip verifier",
        module="verifiers.video.motion",
    ),
    "self": Entry(
        own, "VQAScore by the generator itself, if it also answers questions", module="verifiers.vlm.vqa:SELF"
    ),
    "redness": Entry(
        redness, "mean redness of the picture, to try a training run with", module="verifiers.controls.redness"
    ),
    "random": Entry(
        random_score,
        "negative control: random scores, which no search can gain by",
        module="verifiers.controls.random",
    ),
}

SOURCES: dict[str, Callable[[str, Device], Verifier]] = {  # verifiers by kind:source
    **embedding.SOURCES,
    "frames": frames,
    "vqa": vqa,
}


# --- by name


def single(name: str, device: Device = "cpu") -> Verifier:
    """Build one verifier.

    Args:
        name: a registered name, or kind:source such as "clip:SOURCE" or "vqa:SOURCE".
        device: where its network runs.

    Raises:
        KeyError: for a name that is not registered.
        ValueError: as its builder.
    """
    kind, colon, source = name.partition(":")
    if colon and kind in SOURCES:
        return SOURCES[kind](source, device)
    entry = VERIFIERS[name]
    return entry.build(device) if entry.network else entry.build()


def describe(name: str) -> Card | None:
    """Return the card of a verifier; None if it has none.

    Args:
        name: a single name, registered or kind:source.
    """
    return card(name, {listed: entry.module for listed, entry in VERIFIERS.items()})


def check_licences(name: str, allow_noncommercial: bool = False) -> None:
    """Check that a verifier's weights may be used as asked; nothing is loaded but modules.

    Args:
        name: a single name, a weighted sum or a rank vote.
        allow_noncommercial: whether weights may forbid commercial use.

    Raises:
        ValueError: if they do and may not.
    """
    if not allow_noncommercial:
        require_commercial(name, {listed: entry.module for listed, entry in VERIFIERS.items()})


def verifier(
    name: str,
    *,
    device: Device = "cpu",
    loaded: dict[str, Verifier] | None = None,
    allow_noncommercial: bool = False,
) -> Verifier:
    """Build a verifier by name; networks run in float32.

    Args:
        name: a single name, a weighted sum such as "shapes/clip+0.5*random", or a rank vote "rank(a,b)" to select with.
        device: where networks run.
        loaded: single verifiers by name, which are reused; new ones are added.
        allow_noncommercial: whether weights may forbid commercial use.

    Raises:
        ValueError: with the nearest name, if there is none of this name; for a licence that is not allowed.
    """
    terms = parse(name, VERIFIERS)
    check_licences(name, allow_noncommercial)
    known = {} if loaded is None else loaded
    if voters := ranked(name):
        from verifiers.combine import RankVote

        options: dict[str, Any] = {"device": device, "loaded": known, "allow_noncommercial": allow_noncommercial}
        return RankVote(*(verifier(voter, **options) for voter in voters), name=name)
    for leaf, _ in terms:
        if leaf not in known:
            known[leaf] = single(leaf, device)
    if len(terms) == 1 and terms[0][1] == 1:
        return known[terms[0][0]]
    from verifiers.combine import Term, WeightedSum

    return WeightedSum(*(Term(known[leaf], weight) for leaf, weight in terms), name=name)
