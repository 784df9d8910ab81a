"""V-JEPA 2 surprise: how far the later frames of a clip are from what a video model predicts of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, layer_norm

from verifiers.card import Card
from verifiers.embedding.preprocess import Preprocess
from verifiers.types import Device, Media, Scores
from verifiers.video.clips import clip_by_clip
from verifiers.video.consistency import IMAGENET_MEAN, IMAGENET_STD

CARD = Card(
    checkpoint="facebook/vjepa2-vitl-fpc64-256",
    licence="named on the hub for each size; Apache-2.0 for ViT-g",
    input="clips",
    range="-2 to 0 (cosine), 0 or less (l1); for clips of one length and rate",
    size="ViT-L, 0.3B parameters with its predictor",
    price="3 passes for each 16 frames: of all, of the first 8, of a predictor",
    differentiable=True,
)


class VJEPA:
    """Minus the mean error with which V-JEPA 2 predicts the later frames of a clip from the earlier ones; 0 is best.

    The surprise of V-JEPA 2 (Assran et al. 2025, arXiv:2506.09985) as a reward for physical plausibility, as WMReward
    (CVPR 2026) uses it. A window of `context` and `future` frames slides over the clip; the last one ends with the
    clip. The encoder gets the context alone, the predictor continues it, and the result is compared with the encoding
    of the whole window. The context is never encoded together with the future, which would leak it. A clip that stands
    still is easy to predict: report `motion` beside it. Differentiable. The score does not depend on the prompt.

    Args:
        model: a `VJEPA2Model` of transformers; it is frozen and set to eval mode.
        name: the verifier's name in logs and reports.
        context: frames that are given, a multiple of the model's tubelet size (2).
        future: frames that are predicted, a multiple of the tubelet size.
        stride: frames from one window to the next, at least 1.
        error: "cosine" for 1 minus the cosine of each token, or "l1" for the mean absolute difference to the
            layer-normalised token, which is the loss of its training.

    Raises:
        ValueError: for numbers of frames that do not fit the model, and for another `error`.
    """

    differentiable = True
    batch_size = 1  # clips

    def __init__(
        self,
        model: nn.Module,
        *,
        name: str = "vjepa",
        context: int = 8,
        future: int = 8,
        stride: int = 8,
        error: Literal["cosine", "l1"] = "cosine",
    ) -> None:
        self.model: Any = model.eval().requires_grad_(False)
        config: Any = self.model.config
        tubelet = config.tubelet_size
        for what, frames in (("context", context), ("future", future)):
            if frames < tubelet or frames % tubelet:
                raise ValueError(f"{what} is {frames} frames; take a multiple of {tubelet}, at least {tubelet}")
        if stride < 1:
            raise ValueError(f"stride is {stride} frames; take 1 or more")
        if error not in ("cosine", "l1"):
            raise ValueError(f"error is {error!r}; take 'cosine' or 'l1'")
        self.name, self.context, self.future, self.stride, self.error = name, context, future, stride, error
        self.given = context // tubelet * (config.crop_size // config.patch_size) ** 2  # tokens
        self.preprocess = Preprocess(config.crop_size, IMAGENET_MEAN, IMAGENET_STD, "bilinear")
        weight = next(model.parameters())
        self.device, self.dtype = weight.device, weight.dtype

    @classmethod
    def load(cls, source: str, *, device: Device = "cpu", dtype: torch.dtype = torch.float32, **options: Any) -> VJEPA:
        """Load a model from safetensors; no remote code is run.

        Args:
            source: a name on the Hugging Face hub, or a local folder.
            device: where the model runs.
            dtype: its precision.
            **options: parameters of the class.

        Raises:
            ValueError: as the class.
        """
        from transformers import VJEPA2Model

        model = VJEPA2Model.from_pretrained(source, dtype=dtype, use_safetensors=True, trust_remote_code=False)
        return cls(model.to(device), **options)

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score clips, on their device.

        Args:
            media: clips [b, t, 3, h, w] in [0, 1], t of at least `context` + `future`, odd or even.
            prompts: b prompts, which do not matter.
            progress: ignored.

        Raises:
            ValueError: for pictures, for clips that are too short, and for another number of prompts.
        """
        shortest = self.context + self.future
        if media.ndim == 5 and media.shape[1] < shortest:
            raise ValueError(
                f"{self.name} predicts {self.future} frames from {self.context} and got clips of {media.shape[1]}; "
                f"score clips of {shortest} or more, or give smaller numbers as `context` and `future`"
            )
        total = clip_by_clip(self.name, media, prompts, 1, lambda clip, _: self.score(clip)[None])[:, 0]
        return Scores(total, {self.name: total.detach()})

    def score(self, clip: Tensor) -> Tensor:
        """Return the score of one clip.

        Args:
            clip: frames [t, 3, h, w] in [0, 1].
        """
        pixels = self.preprocess(clip.to(self.device, torch.promote_types(self.dtype, torch.float32))).to(self.dtype)
        size = self.context + self.future
        return -torch.stack([self.surprise(pixels[start : start + size]) for start in self.starts(len(clip))]).mean()

    def starts(self, frames: int) -> list[int]:
        """Return the first frame of each window.

        Args:
            frames: of the clip, at least `context` + `future`.
        """
        last = frames - self.context - self.future
        return sorted({*range(0, last + 1, self.stride), last})

    def surprise(self, window: Tensor) -> Tensor:
        """Return the error of the prediction of one window.

        Args:
            window: prepared frames [context + future, 3, size, size].
        """
        seen = self.model.encoder(pixel_values_videos=window[None, : self.context]).last_hidden_state
        target: Tensor = self.model.encoder(pixel_values_videos=window[None]).last_hidden_state[:, self.given :].float()
        tokens = torch.arange(self.given + target.shape[1], device=window.device)[None]
        guess: Tensor = self.model.predictor(
            encoder_hidden_states=seen,
            context_mask=[tokens[:, : self.given]],
            target_mask=[tokens[:, self.given :]],
        ).last_hidden_state.float()
        if self.error == "cosine":
            errors = 1 - cosine_similarity(guess, target, dim=-1)
        else:
            errors = (guess - layer_norm(target, target.shape[-1:])).abs()
        return errors.mean()
