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
    names = {name: re.fullmatch(r"(?:layers\.(\d+)\.)?(weight|bias)", name) for name in weights}
    if strange := [name for name, match in names.items() if not match]:
        raise ValueError(f"{strange[0]!r} is no layer of a head as in {original}; give the original file")
    found = {(int(match[1] or 0), match[2]): weights[name] for name, match in names.items() if match}
    places = sorted({place for place, _ in found})
    shapes = [found[place, "weight"].shape if (place, "weight") in found else () for place in places]
    widths = [*(shape[-1] for shape in shapes if len(shape) == 2), 1]
    expected = {(p, part) for p in places for part in ("weight", "bias")}
    fit = all(tuple(shape) == (widths[i + 1], widths[i]) for i, shape in enumerate(shapes) if len(widths) > i + 1)
    if not shapes or len(widths) != len(shapes) + 1 or set(found) != expected or not fit:
        raise ValueError(f"the layers {[list(s) for s in shapes]} are no head as in {original}; give the original file")
    if any(found[place, "bias"].shape != (widths[i + 1],) for i, place in enumerate(places)):
        raise ValueError(f"the biases do not fit the layers of a head as in {original}; give the original file")
    return {f"{places.index(place)}.{part}": value for (place, part), value in sorted(found.items())}
