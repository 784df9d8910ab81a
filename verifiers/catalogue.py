"""Verifiers by name, each built when it is asked for; other packages add theirs to `VERIFIERS`."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from verifiers.names import parse, ranked, weigh

if TYPE_CHECKING:
    from verifiers.types import Device, Verifier


class Entry(NamedTuple):
    """How a named verifier is built, and what it is.

    Attributes:
        build: returns the verifier; called with the device if `network` is true, else without arguments.
        about: what it is, in a few words.
        network: whether it has a network that runs on a device.
        module: where its `CARD` is, such as "verifiers.embedding.pickscore"; imported only to show it.
    """

    build: Callable[..., Verifier]
    about: str
    network: bool = False
    module: str = ""


# --- builders


def open_clip(source: str, device: Device = "cpu") -> Verifier:
    """Build a CLIP score on any open_clip model.

    Args:
        source: "ARCHITECTURE@TAG", or the path of a local folder.
        device: where the model runs.

    Raises:
        ValueError: as `CLIPScore.load`.
    """
    from verifiers.embedding.clip import CLIPScore

    model, tag = (source, "") if os.path.isdir(source) else source.partition("@")[::2]
    return CLIPScore.load(model, tag or None, name=f"clip:{source}", device=device)


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


def critic(source: str, device: Device = "cpu") -> Verifier:
    """Build a critic, a vision-language model behind an HTTP server.

    Args:
        source: the path of a YAML file: url, model, and rubric or questions.
        device: ignored; scores are on the device of the pictures.

    Raises:
        ValueError: for a file that cannot be read, and for a field that is unfit.
    """
    from verifiers.vlm.critic_file import load

    return load(source)


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
    "clip:ViT-B-32@laion2b_s34b_b79k": Entry(
        partial(open_clip, "ViT-B-32@laion2b_s34b_b79k"),
        "CLIP score; any open_clip ARCHITECTURE@TAG or local folder",
        True,
    ),
    "vqa:deepseek-community/Janus-Pro-1B": Entry(
        partial(vqa, "deepseek-community/Janus-Pro-1B"),
        "VQAScore, P(yes); any image-text-to-text model or local folder",
        True,
    ),
    "critic:configs/critics/quality.yaml": Entry(
        partial(critic, "configs/critics/quality.yaml"),
        "rubric or questions to a model behind an HTTP server; any YAML file",
        True,
        module="verifiers.vlm.critic",
    ),
    "frames:shapes/clip": Entry(
        partial(frames, "shapes/clip"), "a picture verifier on clips, the mean over frames; any frames:NAME", True
    ),
    "motion": Entry(motion, "amount of motion in a clip, to report beside any clip verifier; differentiable"),
    "self": Entry(own, "VQAScore by the generator itself, if it also answers questions"),
    "redness": Entry(redness, "mean redness of the picture; differentiable, to try a training run with"),
    "random": Entry(random_score, "negative control: random scores, which no search can gain by"),
}

SOURCES: dict[str, Callable[[str, Device], Verifier]] = {  # verifiers by kind:source
    "clip": open_clip,
    "critic": critic,
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


def verifier(name: str, *, device: Device = "cpu", loaded: dict[str, Verifier] | None = None) -> Verifier:
    """Build a verifier by name; networks run in float32.

    Args:
        name: a single name, a weighted sum such as "shapes/clip+0.5*random", or a rank vote "rank(a,b)" to select with.
        device: where networks run.
        loaded: single verifiers by name, which are reused; new ones are added.

    Raises:
        ValueError: with the nearest name, if there is none of this name.
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
