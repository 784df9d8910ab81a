"""Verifiers by name, each built when it is asked for; other packages add theirs to `VERIFIERS`."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from verifiers.names import parse, ranked, weigh

if TYPE_CHECKING:
    from verifiers.types import Verifier


class Entry(NamedTuple):
    """A name's builder and what it stands for, in a few words."""

    build: Callable[..., Any]
    about: str
    network: bool = False  # whether the builder takes the device that its network is to run on


def open_clip(source: str, device: Any = "cpu") -> Verifier:
    """Any open_clip model, as `ARCHITECTURE@TAG` or the path of a local folder."""
    from verifiers.embedding.clip import CLIPScore

    model, tag = (source, "") if os.path.isdir(source) else source.partition("@")[::2]
    return CLIPScore.load(model, tag or None, name=f"clip:{source}", device=device)


def vqa(source: str, device: Any = "cpu") -> Verifier:
    """Any image-text-to-text model of transformers, by folder or name on the hub; `question` is that of its folder."""
    from verifiers.vlm.vqa import QUESTION, VQAScore, asked_in

    asked = asked_in(Path(source)) if os.path.isdir(source) else None
    return VQAScore.load(source, device=device, question=asked or QUESTION)


def frames(source: str, device: Any = "cpu") -> Verifier:
    """Any judge of pictures on clips, as `frames:NAME`: the mean over frames."""
    from verifiers.video.per_frame import PerFrame

    weigh(source, VERIFIERS)  # a name that exists
    return PerFrame(single(source, device))


def motion() -> Verifier:
    """How much a clip moves."""
    from verifiers.video.motion import Motion

    return Motion()


def own() -> Verifier:
    """What a model thinks of its own pictures is known once there is a model."""
    raise ValueError("'self' is the judgement of a model that also looks, such as a Janus; take another judge")


def redness() -> Verifier:
    """The reward to try a training run with."""
    from verifiers.controls.redness import Redness

    return Redness()


def random_score() -> Verifier:
    """The control."""
    from verifiers.controls.random import RandomScore

    return RandomScore()


VERIFIERS: dict[str, Entry] = {
    "clip:ViT-B-32@laion2b_s34b_b79k": Entry(
        partial(open_clip, "ViT-B-32@laion2b_s34b_b79k"),
        "CLIP score; any open_clip ARCHITECTURE@TAG or local folder",
        True,
    ),
    "vqa:deepseek-community/Janus-Pro-1B": Entry(
        partial(vqa, "deepseek-community/Janus-Pro-1B"), "yes or no of any model that answers; or a local folder", True
    ),
    "frames:shapes/clip": Entry(
        partial(frames, "shapes/clip"), "a judge of pictures on clips, the mean over frames; any frames:NAME", True
    ),
    "motion": Entry(motion, "how much a clip moves, to be reported beside any judge of clips; differentiable"),
    "self": Entry(own, "yes or no of the generator itself, if it also looks"),
    "redness": Entry(redness, "how red the picture is; differentiable, to try a training run with"),
    "random": Entry(random_score, "the control: no search may gain by it"),
}

SOURCES: dict[str, Callable[[str, Any], Verifier]] = {  # verifiers by kind:source
    "clip": open_clip,
    "frames": frames,
    "vqa": vqa,
}


def single(name: str, device: Any = "cpu") -> Verifier:
    """One verifier by its registered name, or as `clip:SOURCE` or `vqa:SOURCE`."""
    kind, colon, source = name.partition(":")
    if colon and kind in SOURCES:
        return SOURCES[kind](source, device)
    entry = VERIFIERS[name]
    return entry.build(device) if entry.network else entry.build()


def verifier(name: str, *, device: Any = "cpu", loaded: dict[str, Verifier] | None = None) -> Verifier:
    """A verifier by name, a weighted sum such as `shapes/clip+0.5*random`, or `rank(a,b)` of several, to select with.

    Networks run on `device` in float32. Single judges are taken from `loaded`, and added to it. Raises ValueError with
    the nearest name if there is none.
    """
    terms = parse(name, VERIFIERS)
    known = {} if loaded is None else loaded
    if voters := ranked(name):
        from verifiers.combine import RankVote

        return RankVote(*(verifier(voter, device=device, loaded=known) for voter in voters), name=name)
    for leaf, _ in terms:
        if leaf not in known:
            known[leaf] = single(leaf, device)
    if len(terms) == 1 and terms[0][1] == 1:
        return known[terms[0][0]]
    from verifiers.combine import Term, WeightedSum

    return WeightedSum(*(Term(known[leaf], weight) for leaf, weight in terms), name=name)
