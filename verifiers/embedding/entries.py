"""Verifiers on embeddings by name, each built when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from verifiers.calls import quoted
from verifiers.entry import Entry, loaded_by

if TYPE_CHECKING:
    from verifiers.types import Device, Verifier


def open_clip(source: str, device: Device = "cpu") -> Verifier:
    """Build a CLIP score on any open_clip model.

    Args:
        source: "ARCHITECTURE@TAG", or the path of a local folder.
        device: where the model runs.

    Raises:
        ValueError: as `CLIPScore.load`.
    """
    from verifiers.embedding.clip import CLIPScore

    return CLIPScore.load(*tagged(source), name=f"clip:{quoted(source)}", device=device)


def clipiqa(source: str, device: Device = "cpu") -> Verifier:
    """Build a CLIP-IQA on any open_clip model.

    Args:
        source: "ARCHITECTURE@TAG", or the path of a local folder.
        device: where the model runs.

    Raises:
        ValueError: as `CLIPScore.load`.
    """
    from verifiers.embedding.clipiqa import CLIPIQA

    return CLIPIQA.load(*tagged(source), name=f"clipiqa:{quoted(source)}", device=device)


def tagged(source: str) -> tuple[str, str | None]:
    """Return the architecture and the tag of an open_clip model, or the path of a folder and None.

    Args:
        source: "ARCHITECTURE@TAG", or the path of a local folder.
    """
    model, tag = (source, "") if os.path.isdir(source) else source.partition("@")[::2]
    return model, tag or None


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
}

SOURCES: dict[str, Callable[[str, Device], Verifier]] = {  # by kind:source
    "aesthetic": aesthetic,
    "clip": open_clip,
    "clipiqa": clipiqa,
    "hps": hps,
    "imagereward": imagereward,
    "pickscore": pickscore,
    "siglip": siglip,
}
