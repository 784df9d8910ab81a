"""Verifiers by name, each built when it is asked for; other packages add theirs to `VERIFIERS`."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from verifiers.card import Card, card, require_commercial
from verifiers.names import parse, ranked, weigh

if TYPE_CHECKING:
    from verifiers.types import Device, Verifier


class Entry(NamedTuple):
    """How a named verifier is built, and what it is.

    Attributes:
        build: returns the verifier; called with the device if `network` is true, else without arguments.
        about: what it is, in a few words.
        network: whether it has a network that runs on a device.
        module: where its `CARD` is, such as "verifiers.embedding.pickscore", or "module:NAME" for a card of another
            name; imported when the card is read.
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

    return CLIPScore.load(*tagged(source), name=f"clip:{source}", device=device)


def clipiqa(source: str, device: Device = "cpu") -> Verifier:
    """Build a CLIP-IQA on any open_clip model.

    Args:
        source: "ARCHITECTURE@TAG", or the path of a local folder.
        device: where the model runs.

    Raises:
        ValueError: as `CLIPScore.load`.
    """
    from verifiers.embedding.clipiqa import CLIPIQA

    return CLIPIQA.load(*tagged(source), name=f"clipiqa:{source}", device=device)


def tagged(source: str) -> tuple[str, str | None]:
    """Return the architecture and the tag of an open_clip model, or the path of a folder and None.

    Args:
        source: "ARCHITECTURE@TAG", or the path of a local folder.
    """
    model, tag = (source, "") if os.path.isdir(source) else source.partition("@")[::2]
    return model, tag or None


def loaded_by(module: str, kind: str) -> Callable[..., Verifier]:
    """Return the builder of a verifier whose class loads a source by itself.

    Args:
        module: of the class.
        kind: name of the class.
    """

    def build(source: str, device: Device = "cpu") -> Verifier:
        found: Verifier = getattr(import_module(module), kind).load(source, device=device)
        return found

    return build


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


pickscore = loaded_by("verifiers.embedding.pickscore", "PickScore")
hps = loaded_by("verifiers.embedding.hps", "HPS")
imagereward = loaded_by("verifiers.embedding.imagereward", "ImageReward")
aesthetic = loaded_by("verifiers.embedding.aesthetic", "Aesthetic")
siglip = loaded_by("verifiers.embedding.siglip", "SigLIP")

VERIFIERS: dict[str, Entry] = {
    "clip:ViT-B-32@laion2b_s34b_b79k": Entry(
        partial(open_clip, "ViT-B-32@laion2b_s34b_b79k"),
        "CLIP score; any open_clip ARCHITECTURE@TAG or local folder",
        True,
        "verifiers.embedding.clip",
    ),
    "pickscore:yuvalkirstain/PickScore_v1": Entry(
        partial(pickscore, "yuvalkirstain/PickScore_v1"),
        "PickScore, human preference; any fine-tuned CLIP of transformers",
        True,
        "verifiers.embedding.pickscore",
    ),
    "hps:FOLDER": Entry(
        partial(hps, "FOLDER"),
        "HPSv2.1, human preference; a folder of `gensearch convert hps`",
        True,
        "verifiers.embedding.hps",
    ),
    "imagereward:FOLDER": Entry(
        partial(imagereward, "FOLDER"),
        "ImageReward, human preference; a folder of `gensearch convert imagereward`",
        True,
        "verifiers.embedding.imagereward",
    ),
    "aesthetic:FOLDER": Entry(
        partial(aesthetic, "FOLDER"),
        "LAION's aesthetic predictor, without prompt; a folder of `gensearch convert aesthetic`",
        True,
        "verifiers.embedding.aesthetic",
    ),
    "siglip:google/siglip2-base-patch16-224": Entry(
        partial(siglip, "google/siglip2-base-patch16-224"),
        "SigLIP 2, logit that picture and prompt match; any SigLIP of fixed size",
        True,
        "verifiers.embedding.siglip",
    ),
    "clipiqa:ViT-L-14@openai": Entry(
        partial(clipiqa, "ViT-L-14@openai"),
        "CLIP-IQA, good or bad photo, without prompt; any open_clip ARCHITECTURE@TAG",
        True,
        "verifiers.embedding.clipiqa",
    ),
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
    "aesthetic": aesthetic,
    "clip": open_clip,
    "clipiqa": clipiqa,
    "frames": frames,
    "hps": hps,
    "imagereward": imagereward,
    "pickscore": pickscore,
    "siglip": siglip,
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
