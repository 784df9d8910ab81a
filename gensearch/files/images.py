"""Conversion of media in [0, 1] to pictures and to PNG files with metadata, and back."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, PngImagePlugin

if TYPE_CHECKING:
    from torch import Tensor

Picture = Image.Image
MAX_TEXT = 1_000_000  # characters of one PNG text chunk; longer ones are ignored
MAX_PIXELS = 64_000_000  # of a frame
MAX_CLIP = 256_000_000  # pixels of all frames together: 81 frames of 720p have 75 million
FRAME_MS = 125  # milliseconds per frame of a clip
FRAMES = "frames"  # the text chunk with the number of frames of a clip


def to_pixels(media: Tensor) -> np.ndarray:
    """Return one sample as frames uint8 [t, h, w, 3]; a picture has one frame.

    Args:
        media: picture [3, h, w] or clip [t, 3, h, w] in [0, 1].
    """
    frames = media.detach().float().cpu()
    frames = frames if frames.ndim == 4 else frames[None]
    return (frames.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()


def to_images(media: Tensor) -> list[Picture]:
    """Return one sample as PIL pictures: one, or the frames of a clip.

    Args:
        media: picture [3, h, w] or clip [t, 3, h, w] in [0, 1].
    """
    return [Image.fromarray(frame) for frame in to_pixels(media)]


def digest(pixels: np.ndarray) -> str:
    """Return SHA-256 of frames.

    Args:
        pixels: uint8 [t, h, w, 3].
    """
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def encode(pixels: np.ndarray, text: Mapping[str, str] | None = None) -> bytes:
    """Encode frames as a PNG file, animated if there are several.

    Args:
        pixels: frames uint8 [t, h, w, 3].
        text: text chunks inside the file, key -> value.
    """
    info = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        info.add_text(key, value)
    first, *rest = [Image.fromarray(frame) for frame in pixels]
    if rest:
        info.add_text(FRAMES, str(len(pixels)))  # Pillow does not store a frame equal to the one before
    buffer = io.BytesIO()
    clip = {"save_all": True, "append_images": rest, "duration": FRAME_MS, "loop": 0} if rest else {}
    first.save(buffer, "PNG", pnginfo=info, **clip)
    return buffer.getvalue()


def decode(path: Path) -> tuple[np.ndarray, dict[str, str]]:
    """Decode a PNG file, also from an untrusted source.

    Args:
        path: of the file.

    Returns:
        Frames uint8 [t, h, w, 3], and text chunks, key -> value.

    Raises:
        ValueError: for a file that is not PNG, is damaged, or has too many pixels.
    """
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            count = getattr(picture, "n_frames", 1)
            size = picture.width * picture.height
            if size > MAX_PIXELS or count * size > MAX_CLIP:
                raise ValueError(f"{path} has {count} x {picture.width} x {picture.height} pixels; that is too large")
            frames: list[np.ndarray] = []
            text = {str(k): str(v) for k, v in picture.info.items() if isinstance(v, str) and len(v) <= MAX_TEXT}
            total = max(count, int(number) if (number := text.pop(FRAMES, "")).isdecimal() else 0)
            if total * size > MAX_CLIP:
                raise ValueError(f"{path} says that it has {total} frames; that is too large")
            for index in range(count):
                picture.seek(index)
                shown = round(float(picture.info.get("duration", FRAME_MS)) / FRAME_MS) if total > count > 1 else 1
                repeats = total if count == 1 else max(1, shown)
                frames += [np.asarray(picture.convert("RGB"))] * min(repeats, max(1, total - len(frames)))
    except (OSError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as a PNG file: {error}") from None
    return np.stack(frames), text


def thumbnail(pixels: np.ndarray, side: int = 160) -> np.ndarray:
    """Return the middle frame in a small size, uint8 [1, h, w, 3].

    Args:
        pixels: frames uint8 [t, h, w, 3].
        side: most pixels along one side.
    """
    picture = Image.fromarray(pixels[len(pixels) // 2])
    picture.thumbnail((side, side))
    return np.asarray(picture)[None]


def strip(pixels: np.ndarray, most: int = 8) -> np.ndarray:
    """Return evenly spaced frames of a clip side by side as one picture, uint8 [1, h, w', 3].

    Args:
        pixels: frames uint8 [t, h, w, 3].
        most: largest number of frames.
    """
    count = min(most, len(pixels))
    chosen = [pixels[round(i * (len(pixels) - 1) / max(1, count - 1))] for i in range(count)]
    return np.concatenate(chosen, axis=1)[None]
