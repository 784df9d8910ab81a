"""Networks of open_clip: loaded from safetensors, with their tokenizer, their preprocessing and their activation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import nn

from verifiers.embedding.files import readable
from verifiers.embedding.preprocess import Preprocess, from_open_clip
from verifiers.types import Device

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"


def load(
    model: str | Path, pretrained: str | None = None, *, device: Device = "cpu", dtype: torch.dtype = torch.float32
) -> tuple[nn.Module, Any, Preprocess]:
    """Load a network with its tokenizer and its preprocessing.

    Weights that were trained with QuickGELU, such as OpenAI's, get it under every spelling of the architecture.

    Args:
        model: a folder with `open_clip_config.json` and `open_clip_model.safetensors`, or an architecture.
        pretrained: a tag of the architecture, or the path of a safetensors file; not for a folder.
        device: where the network runs.
        dtype: its precision.

    Raises:
        ValueError: for unknown names, for files that are missing, damaged or do not belong together, and for pickled
            weights.
    """
    import open_clip

    if Path(model).is_dir():
        require_files(Path(model))
        source, options = f"local-dir:{model}", {}
    else:
        source, options = str(model), weight_options(str(model), pretrained)
    folder = Path(model) if Path(model).is_dir() else None
    with readable(folder / CONFIG if folder else source):
        hub_tokenizer = "hf_tokenizer_name" in open_clip.get_model_config(source)["text_cfg"]
    with readable(folder / WEIGHTS if folder else options["pretrained"]):
        net = open_clip.create_model(source, **options, require_pretrained=True)
    with readable(f"the tokenizer of {model}"):
        tokenizer = open_clip.get_tokenizer(source, **({"trust_remote_code": False} if hub_tokenizer else {}))
    return net.to(device, dtype), tokenizer, from_open_clip(net.visual.preprocess_cfg)


def token_count(tokenizer: Any, prompt: str) -> int:
    """Return the number of tokens of a prompt, start and end included.

    Args:
        tokenizer: an open_clip tokenizer.
        prompt: any text.
    """
    if hasattr(tokenizer, "encode"):  # open_clip's own tokenizer leaves out start and end
        return len(tokenizer.encode(prompt)) + 2
    return len(tokenizer.tokenizer(prompt).input_ids)


def require_files(folder: Path) -> None:
    """Check that a local folder holds config and weights.

    Args:
        folder: where they should be.

    Raises:
        ValueError: if one of them is missing.
    """
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ValueError(f"{folder} has no {name}; a CLIP folder holds {CONFIG} and {WEIGHTS}")


def weight_options(model: str, pretrained: str | None) -> dict[str, Any]:
    """Return the arguments of `open_clip.create_model` for pretrained weights; downloads those of a tag.

    open_clip 3 loads QuickGELU weights into a GELU model and only warns, so the activation is taken from the tag.

    Args:
        model: an open_clip architecture.
        pretrained: a tag of it, or the path of a safetensors file.

    Raises:
        ValueError: for unknown names, and for weights in another format.
    """
    import open_clip
    from open_clip.pretrained import download_pretrained

    if model not in open_clip.list_models():
        raise ValueError(
            f"no folder and no open_clip model is called {model!r}{nearest(model, open_clip.list_models())}"
        )
    if pretrained is None:
        raise ValueError(f"{model} needs `pretrained`: a tag of open_clip or the path of a safetensors file")
    tag: Mapping[str, Any] = open_clip.get_pretrained_cfg(model, pretrained)
    if not tag and not Path(pretrained).is_file():
        tags = open_clip.list_pretrained_tags_by_model(model)
        raise ValueError(f"{model} has no weights {pretrained!r}{nearest(pretrained, tags)}")
    path = download_pretrained(tag) if tag else pretrained
    if not path.endswith(".safetensors"):
        raise ValueError(f"the weights of {model} {pretrained} are {path}; only safetensors files are loaded")
    return {
        "pretrained": path,
        "force_quick_gelu": bool(tag.get("quick_gelu", False)),
        "force_preprocess_cfg": dict(tag),
    }


def nearest(name: str, known: Sequence[str]) -> str:
    """Return the end of an error message about a misspelt name: the closest known name, or a few of them.

    Args:
        name: what was written.
        known: what exists.
    """
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; some that exist: {', '.join(known[:8])}"
