"""What verifiers of whole clips share: the check of their input, scores clip by clip, the input of Qwen-VL models."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from verifiers.types import Media, Scores

TEMPORAL_PATCH = 2  # frames that Qwen-VL encodes together
LEAST_FRAMES = 4  # that Qwen-VL is given of a clip, if it has as many


def require_clips(name: str, media: Media, prompts: Sequence[str]) -> None:
    """Check that media are clips with one prompt each.

    Args:
        name: the verifier's name, for the error message.
        media: what is to be scored, clips [b, t, 3, h, w].
        prompts: b prompts.

    Raises:
        ValueError: for media of another shape, such as pictures, and for another number of prompts.
    """
    if media.ndim != 5 or media.shape[1] < 1 or len(media) != len(prompts):
        raise ValueError(
            f"{name} takes clips [b, t, 3, h, w] with one prompt each; it got media of shape {list(media.shape)} and "
            f"{len(prompts)} prompts. Take a verifier of pictures for pictures."
        )


def clip_by_clip(
    name: str, media: Media, prompts: Sequence[str], numbers: int, score: Callable[[Tensor, str], Tensor]
) -> Tensor:
    """Return numbers [b, numbers] about clips, on their device; NaN for a clip with a non-finite pixel.

    Each clip is scored by itself, so that the others change no bit of its numbers.

    Args:
        name: the verifier's name, for error messages.
        media: clips [b, t, 3, h, w] in [0, 1].
        prompts: b prompts.
        numbers: how many numbers a clip gets, 1 or more.
        score: from a clip [t, 3, h, w] in float32 or better and its prompt to its numbers [numbers].

    Raises:
        ValueError: as `require_clips`.
    """
    require_clips(name, media, prompts)
    clips = media.to(torch.promote_types(media.dtype, torch.float32))
    unscored = torch.full((numbers,), torch.nan, device=media.device)
    rows = [
        score(clip, prompt).to(media.device) if bool(clip.isfinite().all()) else unscored
        for clip, prompt in zip(clips, prompts, strict=True)
    ]
    return torch.stack(rows) if rows else unscored.new_empty(0, numbers)


def at_rate(frames: int, clip_fps: float, fps: float) -> list[int]:
    """Return the frames of a clip that a Qwen-VL model is given: evenly spaced, from the first to the last.

    They are about `fps` for each second of the clip, at least 4 where the clip has as many, and an even number except
    in a clip of a single frame.

    Args:
        frames: of the clip, 1 or more.
        clip_fps: frames per second of the clip, above 0.
        fps: frames per second that are taken, above 0.
    """
    wanted = min(max(frames / clip_fps * fps, LEAST_FRAMES), frames)
    count = max(int(wanted // TEMPORAL_PATCH) * TEMPORAL_PATCH, 1)
    taken: list[int] = torch.linspace(0, frames - 1, count).round().long().tolist()
    return taken


def chat_inputs(processor: Any, clip: Tensor, text: str, fps: float, size: dict[str, int] | None = None) -> Any:
    """Return what a Qwen-VL model is given of a clip and a text, in the chat format of its processor.

    Args:
        processor: a `Qwen2VLProcessor` or `Qwen2_5_VLProcessor` of transformers.
        clip: the frames that are taken, [n, 3, h, w] in [0, 1].
        text: what is asked.
        fps: frames per second among those that are taken, above 0.
        size: shortest_edge and longest_edge, in pixels per frame; None for those of the processor.

    Raises:
        ValueError: for a text that holds the placeholder of a picture or of a clip.
    """
    from transformers.video_utils import VideoMetadata

    if marks := [mark for mark in (processor.video_token, processor.image_token) if mark in text]:
        raise ValueError(f"the text {text[:60]!r} holds {marks[0]}, which stands for a clip or picture; leave it out")
    content = [{"type": "video"}, {"type": "text", "text": text}]
    chat = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    frames = (clip * 255).round().clamp(0, 255).to(torch.uint8).cpu()
    known = VideoMetadata(total_num_frames=len(clip), fps=fps, frames_indices=list(range(len(clip))))
    options = {"video_metadata": [known], "do_sample_frames": False, **({"size": size} if size else {})}
    return processor(text=[chat], videos=[frames], videos_kwargs=options, return_tensors="pt")


def settings(folder: str, known: Sequence[str]) -> dict[str, Any]:
    """Return those of some settings that the gensearch.json of a local folder of weights holds.

    Args:
        folder: a local folder; none is read for another text, such as a name on the hub.
        known: the names of the settings.

    Raises:
        ValueError: for a gensearch.json that cannot be read.
    """
    path = Path(folder) / "gensearch.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON ({error}); correct or remove it") from error
    return {name: found[name] for name in known if name in found} if isinstance(found, dict) else {}


class PixelStatistic:
    """A score of a clip's pixels alone: no network, no prompt; a subclass measures one clip.

    Args:
        name: the verifier's name in logs and reports; that of the class if empty.
    """

    named: ClassVar[str]
    differentiable = True

    def __init__(self, name: str = "") -> None:
        self.name = name or self.named

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score clips.

        Args:
            media: clips [b, t, 3, h, w] in [0, 1].
            prompts: b prompts, which do not matter.
            progress: ignored.

        Raises:
            ValueError: for pictures, and for another number of prompts.
        """
        total = clip_by_clip(self.name, media, prompts, 1, lambda clip, _: self.measure(clip)[None])[:, 0]
        return Scores(total, {self.name: total.detach()})

    def measure(self, clip: Tensor) -> Tensor:
        """Return the score of one clip.

        Args:
            clip: frames [t, 3, h, w] in [0, 1].
        """
        raise NotImplementedError("a subclass says what is measured")
