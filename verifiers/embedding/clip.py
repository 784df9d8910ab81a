"""CLIPScore: the cosine between a picture and its prompt, through any open_clip model."""

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
from verifiers.types import Media, Scores

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
REMEMBERED_PROMPTS = 4096


class CLIPScore:
    """Cosine of image and text features (Hessel et al. 2021, arXiv:2104.08718), without their factor and clipping.

    In [-1, 1]; matching photographs usually land between 0.2 and 0.4. Differentiable down to the pixels. Pictures
    go through the model in batches of exactly `batch_size` (the last row repeated), so a score's bits do not depend
    on its neighbours; recording gradients may change the last bits. A picture with a non-finite pixel scores NaN.
    """

    differentiable = True

    def __init__(
        self, model: nn.Module, tokenizer: Any, preprocess: Preprocess, *, name: str = "clip", batch_size: int = 8
    ) -> None:
        """Take an open_clip model and tokenizer as they are; the model is frozen and set to eval mode."""
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
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> CLIPScore:
        """Load a local folder, or an open_clip architecture with a tag or a safetensors file as `pretrained`.

        A folder holds `open_clip_config.json` and `open_clip_model.safetensors`. OpenAI's and other weights that
        were trained with QuickGELU get it, whichever spelling of the architecture is given.
        Raises ValueError for unknown names, for files that are missing, damaged or do not belong together, and for
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
        """Score pictures [b, 3, h, w] in [0, 1], one prompt each; the scores come back on the media's device."""
        require_pictures(self.name, media, prompts)
        finite = media.sum((1, 2, 3), dtype=torch.float32).isfinite()  # one pass; a sum hides no NaN and no infinity
        clean = torch.where(finite[:, None, None, None], media, 0)
        text = torch.stack([self.text_features(prompt) for prompt in prompts])
        batches = physical_batches(len(media), self.batch_size)
        total = torch.cat([self.cosine(clean[rows], text[rows]) for rows in batches])[: len(media)]
        total = total.to(media.device).masked_fill(~finite, torch.nan)
        return Scores(total, {self.name: total.detach()})

    def cosine(self, images: Tensor, text: Tensor) -> Tensor:
        """One physical batch: images [n, 3, h, w] and unit text features [n, d] -> [n]."""
        pixels = images.to(self.device, torch.promote_types(self.dtype, torch.float32))
        features = self.model.encode_image(self.preprocess(pixels).to(self.dtype))
        return (normalize(features.to(text.dtype), dim=-1) * text).sum(-1)

    def encode_prompt(self, prompt: str) -> Tensor:
        """Unit text features [d], always encoded alone; warns if the model will not read the whole prompt."""
        length, room = token_count(self.tokenizer, prompt), self.tokenizer.context_length
        if length > room:
            warnings.warn(
                f"{self.name} reads {room} tokens and this prompt has {length}: the end of {prompt[:60]!r}... "
                "does not count. Shorten it or take a judge with a longer context.",
                UserWarning,
                stacklevel=2,
            )
        with torch.no_grad():
            features = self.model.encode_text(self.tokenizer([prompt]).to(self.device))
            return normalize(features.to(torch.promote_types(self.dtype, torch.float32)), dim=-1)[0]


def token_count(tokenizer: Any, prompt: str) -> int:
    """How many tokens a prompt needs, start and end included."""
    if hasattr(tokenizer, "encode"):  # open_clip's own tokenizer leaves out start and end
        return len(tokenizer.encode(prompt)) + 2
    return len(tokenizer.tokenizer(prompt).input_ids)


# --- what to ask open_clip for


def require_files(folder: Path) -> None:
    """Raise ValueError if a local folder lacks config or weights."""
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ValueError(f"{folder} has no {name}; a CLIP folder holds {CONFIG} and {WEIGHTS}")


@contextmanager
def readable(file: str | Path) -> Iterator[None]:
    """Turn what reading a file raises into ValueError with one clear line."""
    try:
        yield
    except Exception as error:  # of every kind: the libraries stumble over what they read
        why = " ".join(f"{type(error).__name__}: {error}".split())[:240].rstrip(".")
        raise ValueError(
            f"cannot load {file}: it is damaged, or of another model ({why}); download or copy it again"
        ) from error


def weight_options(model: str, pretrained: str | None) -> dict[str, Any]:
    """Arguments for an architecture with a pretrained tag or a safetensors file; downloads a tag's weights.

    open_clip 3 gives QuickGELU weights a GELU model and only warns, so the activation is taken from the tag.
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
    """The end of an error message: the closest known name, or a few of them."""
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; some that exist: {', '.join(known[:8])}"


def from_open_clip(config: Mapping[str, Any]) -> Preprocess:
    """open_clip's preprocessing config as ours; raises ValueError for the kinds that we do not do."""
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
