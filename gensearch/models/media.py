"""Convert what generators return to media: floats with three channels in [0, 1]."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from verifiers.types import Media


def to_media(made: Any) -> Media:
    """Float media [b, 3, h, w] or [b, t, 3, h, w] in [0, 1].

    Args:
        made: PIL pictures, arrays, tensors or lists of them; floats in [0, 1] or integers up to 255. Channels may come
            last; if both are possible, they are last in arrays and third from the end in tensors.

    Raises:
        TypeError: It is none of these.
        ValueError: It has another shape.
    """
    if isinstance(made, Tensor):
        return laid_out(made, (-3, -1))
    if isinstance(made, np.ndarray):
        return laid_out(torch.from_numpy(made), (-1, -3))
    first = made[0] if isinstance(made, list | tuple) and made else None
    if isinstance(first, Tensor):
        return to_media(torch.stack(list(made)))
    if isinstance(first, np.ndarray):
        return to_media(np.stack(made))
    if isinstance(first, list | tuple):
        return torch.stack([to_media(frames) for frames in made])
    if hasattr(first, "convert"):
        return to_media(np.stack([np.asarray(picture.convert("RGB")) for picture in made]))
    raise TypeError(f"cannot read media from {type(made).__name__}; return PIL pictures, an array or a tensor")


def laid_out(values: Tensor, places: tuple[int, ...]) -> Media:
    """Pixels as floats with their channels third from the end.

    Args:
        values: Four or five axes.
        places: Axes that may hold the channels, the likeliest first.

    Raises:
        TypeError: They are no pixels.
        ValueError: No such axis has three entries.
    """
    channels = next((axis for axis in places if values.ndim in (4, 5) and values.shape[axis] == 3), None)
    if channels is None:
        raise ValueError(
            f"media of shape {tuple(values.shape)} are neither pictures [b, 3, h, w] nor clips [b, t, 3, h, w]; "
            "return three channels, there or last"
        )
    if values.dtype == torch.bool or values.is_complex():
        raise TypeError(f"media of {values.dtype} are no pixels; return floats in [0, 1] or integers up to 255")
    pixels = values.float() if values.is_floating_point() else values.float() / 255
    return pixels.movedim(channels, -3)
