"""CLIPScore: the cosine similarity of a picture and its prompt, by any open_clip model."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from verifiers.batches import physical_batches, require_pictures
from verifiers.embedding.preprocess import Preprocess
from verifiers.types import Device, Media, Scores

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
REMEMBERED_PROMPTS = 4096


class CLIPScore:
    """Cosine of image and text features, in [-1, 1] (CLIPScore, Hessel et al. 2021, arXiv:2104.08718).

    The paper's factor 2.5 and its clipping at 0 are left out. Matching photographs usually score 0.2 to 0.4.
    Differentiable with respect to the pixels. Pictures go through the model in batches of exactly `batch_size`, filled
    up by copies of the last one, so the bits of a score do not depend on the other pictures; recording gradients may
    change the last bits. A picture with a non-finite pixel scores NaN.

    Args:
        model: an open_clip model; it is frozen and set to eval mode.
        tokenizer: its open_clip tokenizer.
        preprocess: from pictures in [0, 1] to the input of the image encoder.
        name: the verifier's name in logs and reports.
        batch_size: pictures in one physical batch, at least 1.
    """

    differentiable = True

    def __init__(
        self, model: nn.Module, tokenizer: Any, preprocess: Preprocess, *, name: str = "clip", batch_size: int = 8
    ) -> None:
        self.model: Any = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        self.name = name
        self.batch_size = batch_size
        weight = next(model.parameters())
        self.device, self.dtype = weight.device, weight.dtype
        self.text_features = lru_cache(REMEMBERED_PROMPTS)(self.encode_prompt)

    @classmethod
    def load(
        cls,
        model: str | Path,
        pretrained: str | None = None,
        *,
        name: str = "clip",
        batch_size: int = 8,
        device: Device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> CLIPScore:
        """Load a local folder, or an open_clip architecture with pretrained weights.

        Weights that were trained with QuickGELU, such as OpenAI's, get it under every spelling of the architecture.

        Args:
            model: a folder with `open_clip_config.json` and `open_clip_model.safetensors`, or an architecture.
            pretrained: a tag of the architecture, or the path of a safetensors file; not for a folder.
            name: the verifier's name in logs and reports.
            batch_size: pictures in one physical batch, at least 1.
            device: where the model runs.
            dtype: precision of the model; features are compared in fp32 or better.

        Raises:
            ValueError: for unknown names, for files that are missing, damaged or do not belong together, and for
                pickled weights.
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
        preprocess = from_open_clip(net.visual.preprocess_cfg)
        return cls(net.to(device, dtype), tokenizer, preprocess, name=name, batch_size=batch_size)

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score pictures, on their device.

        Args:
            media: pictures [b, 3, h, w] in [0, 1].
            prompts: b prompts.
            progress: ignored.

        Raises:
            ValueError: for clips, and for another number of prompts.
        """
        require_pictures(self.name, media, prompts)
        finite = media.sum((1, 2, 3), dtype=torch.float32).isfinite()  # one pass; a sum hides no NaN and no infinity
        clean = torch.where(finite[:, None, None, None], media, 0)
        text = torch.stack([self.text_features(prompt) for prompt in prompts])
        batches = physical_batches(len(media), self.batch_size)
        total = torch.cat([self.cosine(clean[rows], text[rows]) for rows in batches])[: len(media)]
        total = total.to(media.device).masked_fill(~finite, torch.nan)
        return Scores(total, {self.name: total.detach()})

    def cosine(self, images: Tensor, text: Tensor) -> Tensor:
        """Return the cosines [n] of one physical batch.

        Args:
            images: pictures [n, 3, h, w] in [0, 1].
            text: unit text features [n, d].
        """
        pixels = images.to(self.device, torch.promote_types(self.dtype, torch.float32))
        features = self.model.encode_image(self.preprocess(pixels).to(self.dtype))
        return (normalize(features.to(text.dtype), dim=-1) * text).sum(-1)

    def encode_prompt(self, prompt: str) -> Tensor:
        """Return the unit text features [d] of a prompt, encoded in a batch of one.

        Args:
            prompt: any text; a warning says if it is longer than the context of the text encoder.
        """
        length, room = token_count(self.tokenizer, prompt), self.tokenizer.context_length
        if length > room:
            warnings.warn(
                f"{self.name} reads {room} tokens and this prompt has {length}: the end of {prompt[:60]!r}... "
                "does not count. Shorten it or take a verifier with a longer context.",
                UserWarning,
                stacklevel=2,
            )
        with torch.no_grad():
            features: Tensor = self.model.encode_text(self.tokenizer([prompt]).to(self.device))
            return normalize(features.to(torch.promote_types(self.dtype, torch.float32)), dim=-1)[0]


def token_count(tokenizer: Any, prompt: str) -> int:
    """Return the number of tokens of a prompt, start and end included.

    Args:
        tokenizer: an open_clip tokenizer.
        prompt: any text.
    """
    if hasattr(tokenizer, "encode"):  # open_clip's own tokenizer leaves out start and end
        return len(tokenizer.encode(prompt)) + 2
    return len(tokenizer.tokenizer(prompt).input_ids)


# --- loading


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


@contextmanager
def readable(file: str | Path) -> Iterator[None]:
    """Turn any error while a file is read into a ValueError of one line.

    Args:
        file: what is read, for the error message.

    Raises:
        ValueError: for every exception in the context.
    """
    try:
        yield
    except Exception as error:  # damaged files make the libraries raise errors of many kinds
        why = " ".join(f"{type(error).__name__}: {error}".split())[:240].rstrip(".")
        raise ValueError(
            f"cannot load {file}: it is damaged, or of another model ({why}); download or copy it again"
        ) from error


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


def from_open_clip(config: Mapping[str, Any]) -> Preprocess:
    """Translate open_clip's preprocessing config.

    Args:
        config: `preprocess_cfg` of an open_clip model.

    Raises:
        ValueError: for inputs that are not square, and for other resize modes than "shortest" and "squash".
    """
    size = config["size"]
    sides = {size} if isinstance(size, int) else set(size)
    if len(sides) > 1 or config["resize_mode"] not in ("shortest", "squash"):
        raise ValueError(
            f"cannot prepare pictures of size {size} with resize_mode {config['resize_mode']!r}; "
            "take a model with square input and resize_mode 'shortest' or 'squash'"
        )
    return Preprocess(
        sides.pop(),
        tuple(config["mean"]),
        tuple(config["std"]),
        config["interpolation"],
        squash=config["resize_mode"] == "squash",
    )
