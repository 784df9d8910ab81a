"""Clips as files that other programs play: GIF always, MP4 and WebM where something that writes them is installed."""

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
    """Write uint8 frames [t, h, w, 3] whole or not at all, in the format of the name: .png, .gif, .mp4 or .webm.

    A recipe goes into the comment of a GIF and, for all but PNG, into a file beside it, NAME.json. GIF has 256 colours,
    and frames of whole hundredths of a second. Raises ValueError for other names, for a frame rate out of (0, 100] and
    where nothing installed writes the format.
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
    """The suffix of a file that can be written, in lower case; raises ValueError for others."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path} is no picture and no clip; end its name in {', '.join(SUFFIXES)}")
    if suffix in CODECS:
        writer(suffix)
    return suffix


def gif(pixels: np.ndarray, comment: str | None, fps: float) -> bytes:
    """An endless GIF; frames that do not change are kept as longer ones."""
    first, *rest = [Image.fromarray(frame).quantize(256, dither=Image.Dither.NONE) for frame in pixels]
    buffer = io.BytesIO()
    said = {"comment": comment.encode()} if comment else {}
    first.save(buffer, "GIF", save_all=True, append_images=rest, duration=round(1000 / fps), loop=0, **said)
    return buffer.getvalue()


def movie(pixels: np.ndarray, suffix: str, fps: float) -> bytes:
    """An MP4 or WebM file by PyAV or ffmpeg, whichever is there."""
    return writer(suffix)(even(pixels), suffix, fps)


def writer(suffix: str) -> Callable[[np.ndarray, str, float], bytes]:
    """What writes a format here; raises ValueError if nothing does."""
    if find_spec("av"):
        return by_av
    if shutil.which("ffmpeg"):
        return by_ffmpeg
    raise ValueError(
        f"nothing here writes {suffix} files: `pip install av`, or install ffmpeg, or take .gif, which needs neither"
    )


def by_av(pixels: np.ndarray, suffix: str, fps: float) -> bytes:
    """Encode with PyAV."""
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
    """Encode with ffmpeg; raises ValueError with what it says if it fails."""
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
    """Frames with even sides, which these formats need: an odd one repeats its last row or column."""
    _, height, width, _ = pixels.shape
    return np.pad(pixels, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
