"""A reward head: linear layers one after the other, without activations between them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn


def linear_head(weights: Mapping[str, Tensor]) -> nn.Sequential:
    """Build a head from its weights; without activations, as published ones were trained.

    Args:
        weights: `0.weight` [out, in], `0.bias` [out], `1.weight` ... in order.
    """
    head = nn.Sequential(*(nn.Linear(*weights[f"{i}.weight"].shape[::-1]) for i in range(len(weights) // 2)))
    head.load_state_dict(dict(weights))
    return head


def numbered(weights: Mapping[str, Tensor], original: str) -> dict[str, Tensor]:
    """Number the linear layers of an original head from 0, which numbers its dropouts as well.

    Args:
        weights: such as `layers.2.weight`, or `weight` and `bias` of a single layer.
        original: name of the file that should have been given, for the error message.

    Raises:
        ValueError: for other names, for layers that do not fit together, and for another output than one number.
    """
    found: dict[tuple[int, str], Tensor] = {}
    for name, value in weights.items():
        match = re.fullmatch(r"(?:layers\.(\d+)\.)?(weight|bias)", name)
        if not match:
            raise ValueError(f"{name!r} is no layer of a head as in {original}; give the original file")
        found[int(match[1] or 0), match[2]] = value
    places = sorted({place for place, part in found if part == "weight"})
    widths = [(found[place, "weight"].shape or (0,))[-1] for place in places] + [1]
    expected: dict[tuple[int, str], tuple[int, ...]] = {}
    for into, out, place in zip(widths, widths[1:], places, strict=False):
        expected |= {(place, "weight"): (out, into), (place, "bias"): (out,)}
    shapes = {key: tuple(value.shape) for key, value in found.items()}
    if not places or shapes != expected:
        layers = [list(shapes[place, "weight"]) for place in places]
        raise ValueError(f"layers {layers} and biases are no head as in {original}; give the original file")
    return {f"{places.index(place)}.{part}": value for (place, part), value in sorted(found.items())}
