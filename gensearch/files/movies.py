"""Clips as video files: GIF always, MP4 and WebM if PyAV or ffmpeg is installed."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from gensearch.files.atomic import write_atomic
from gensearch.files.images import FRAME_MS, encode

CODECS = {".mp4": "libx264", ".webm": "libvpx-vp9"}
SUFFIXES = (".png", ".gif", *CODECS)


def write_clip(path: Path, pixels: np.ndarray, recipe: str | None, fps: float = 1000 / FRAME_MS) -> None:
    """Write a clip atomically in the format of its file name.

    GIF has 256 colours, and rounds the duration of a frame to hundredths of a second.

    Args:
        path: ends in .png, .gif, .mp4 or .webm.
        pixels: frames uint8 [t, h, w, 3].
        recipe: text stored in a PNG or in the comment of a GIF and, for all but PNG, beside the clip in NAME.json.
        fps: frames per second, in (0, 100]; a PNG keeps its own rate.

    Raises:
        ValueError: for other names, for a frame rate out of range, and if no installed library writes the format.
    """
    suffix = require_format(path)
    if not 0 < fps <= 100:
        raise ValueError(f"{fps} frames per second cannot be shown; take more than 0 and at most 100")
    if suffix == ".png":
        write_atomic(path, encode(pixels, {"gensearch": recipe} if recipe else None))
        return
    write_atomic(path, gif(pixels, recipe, fps) if suffix == ".gif" else movie(pixels, suffix, fps))
    if recipe:
        write_atomic(path.with_name(f"{path.name}.json"), recipe.encode())


def require_format(path: Path) -> str:
    """Return the suffix of a file in lower case.

    Args:
        path: of a picture or clip.

    Raises:
        ValueError: for a format that cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path} is no picture and no clip; end its name in {', '.join(SUFFIXES)}")
    if suffix in CODECS:
        writer(suffix)
    return suffix


def gif(pixels: np.ndarray, comment: str | None, fps: float) -> bytes:
    """Encode a looping GIF; equal neighbouring frames are merged into longer ones.

    Args:
        pixels: frames uint8 [t, h, w, 3].
        comment: text inside the file.
        fps: frames per second.
    """
    first, *rest = [Image.fromarray(frame).quantize(256, dither=Image.Dither.NONE) for frame in pixels]
    buffer = io.BytesIO()
    info = {"comment": comment.encode()} if comment else {}
    first.save(buffer, "GIF", save_all=True, append_images=rest, duration=round(1000 / fps), loop=0, **info)
    return buffer.getvalue()


def movie(pixels: np.ndarray, suffix: str, fps: float) -> bytes:
    """Encode MP4 or WebM with PyAV or ffmpeg, whichever is installed.

    Args:
        pixels: frames uint8 [t, h, w, 3].
        suffix: .mp4 or .webm.
        fps: frames per second.

    Raises:
        ValueError: if neither is installed, and if ffmpeg fails.
    """
    return writer(suffix)(even(pixels), suffix, fps)


def writer(suffix: str) -> Callable[[np.ndarray, str, float], bytes]:
    """Return the encoder of a format.

    Args:
        suffix: .mp4 or .webm.

    Raises:
        ValueError: if neither PyAV nor ffmpeg is installed.
    """
    if find_spec("av"):
        return by_av
    if shutil.which("ffmpeg"):
        return by_ffmpeg
    raise ValueError(f"no installed library writes {suffix} files: `pip install av`, or install ffmpeg, or take .gif")


def by_av(pixels: np.ndarray, suffix: str, fps: float) -> bytes:
    """Encode with PyAV.

    Args:
        pixels: frames uint8 [t, h, w, 3] with even sides.
        suffix: .mp4 or .webm.
        fps: frames per second.
    """
    from fractions import Fraction

    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format=suffix[1:]) as container:
        stream: Any = container.add_stream(CODECS[suffix], rate=Fraction(fps).limit_denominator(1000))
        stream.height, stream.width, stream.pix_fmt = *pixels.shape[1:3], "yuv420p"
        for frame in pixels:
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return buffer.getvalue()


def by_ffmpeg(pixels: np.ndarray, suffix: str, fps: float) -> bytes:
    """Encode with ffmpeg.

    Args:
        pixels: frames uint8 [t, h, w, 3] with even sides.
        suffix: .mp4 or .webm.
        fps: frames per second.

    Raises:
        ValueError: with the last line of its output, if it fails.
    """
    height, width = pixels.shape[1:3]
    given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-"]
    with TemporaryDirectory() as folder:
        out = Path(folder) / f"clip{suffix}"
        command = ["ffmpeg", "-v", "error", *given, "-c:v", CODECS[suffix], "-pix_fmt", "yuv420p", str(out)]
        done = subprocess.run(command, input=pixels.tobytes(), capture_output=True, check=False)
        if done.returncode:
            why = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise ValueError(f"ffmpeg cannot write {suffix} here: {' '.join(why)}; take .gif")
        return out.read_bytes()


def even(pixels: np.ndarray) -> np.ndarray:
    """Return frames with even sides, which MP4 and WebM need, by repeating the last row or column.

    Args:
        pixels: frames uint8 [t, h, w, 3].
    """
    _, height, width, _ = pixels.shape
    return np.pad(pixels, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
