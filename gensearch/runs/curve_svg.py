"""The best score so far against compute, as an SVG picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gensearch.runs.format import PASSES


def curve(
    points: Sequence[tuple[int, float | None]],
    base: float | None,
    unit: str = PASSES["nfe"],
    width: int = 640,
    height: int = 240,
) -> str:
    """The best score so far against the generator's work, as an SVG staircase; dashes mark the base sample.

    Args:
        points: Work so far and the best score after it; None where nothing was scored.
        base: The base sample's score.
        unit: What the work is counted in.
        width: In pixels.
        height: In pixels.
    """
    known = [(x, y) for x, y in points if y is not None]
    if not known:
        return "<p>Nothing was scored.</p>"
    values = [y for _, y in known] + ([base] if base is not None else [])
    low, high = padded(min(values), max(values))
    scale = ticks(low, high)
    left, right, top, bottom = 30 + 8 * max(len(text) for _, text in scale), 12, 12, 42
    end = max(1, *(x for x, _ in known))

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            left + x / end * (width - left - right),
            top + (high - y) / (high - low) * (height - top - bottom),
        )

    path, last = "", None
    for x, y in known:
        px, py = at(x, y)
        path += f"M{px:.1f} {py:.1f}" if last is None else f"H{px:.1f}V{py:.1f}"
        last = (px, py)
    dots = "".join("<circle r=3 cx={:.1f} cy={:.1f} />".format(*at(x, y)) for x, y in known[:200])
    grid_lines, labels = "", ""
    for tick, text in scale:
        y = at(0, tick)[1]
        grid_lines += f"<path class=grid d='M{left} {y:.1f}H{width - right}'/>"
        labels += f"<text x={left - 8} y={y + 4:.1f} text-anchor=end>{text}</text>"
    for tick, text in ticks(0, end) if end >= 4 else [(i, str(i)) for i in range(int(end) + 1)]:
        labels += f"<text x={at(tick, low)[0]:.1f} y={height - bottom + 18} text-anchor=middle>{text}</text>"
    dashes = ""
    if base is not None:
        y = at(0, base)[1]
        dashes = f"<path class=base d='M{left} {y:.1f}H{width - right}'/>"
        labels += f"<text x={width - right} y={y - 5:.1f} text-anchor=end>first finished sample</text>"
    across, down = (left + width - right) / 2, (top + height - bottom) / 2
    labels += f"<text x={across} y={height - 4} text-anchor=middle>{unit}</text>"
    labels += f"<text transform='translate(13 {down}) rotate(-90)' text-anchor=middle>best score</text>"
    return (
        f"<svg viewBox='0 0 {width} {height}' role=img aria-label='best score against {unit}'>"
        f"{grid_lines}{dashes}<path class=line d='{path}'/>{dots}{labels}</svg>"
    )


def ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Round numbers within a range, about four, with their texts."""
    digits = -math.floor(math.log10((high - low) / 4))
    step = next(m for m in (1, 2, 5, 10) if m * 10.0**-digits >= (high - low) / 4) * 10.0**-digits
    found = [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return [(tick, f"{tick:.{max(0, digits)}f}") for tick in found]


def padded(low: float, high: float) -> tuple[float, float]:
    """A range with some room around it, never empty."""
    room = (high - low) * 0.08 or abs(high) * 0.05 or 0.5
    return low - room, high + room
