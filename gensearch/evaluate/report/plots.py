"""The two plots of a report as SVG: methods by score and cost, and curves over the number of samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import NamedTuple

from gensearch.evaluate.bootstrap import Interval
from gensearch.runs.curve_svg import padded

WIDTH, HEIGHT = 360, 270  # small, so that text keeps its size on a phone
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 40
BOX = (16, 13)  # of a number beside a point
PLACES = ((11, 0), (-11, 0), (0, -12), (0, 12), (11, -10), (-11, -10), (11, 10), (-11, 10), (22, 0), (-22, 0))


class Point(NamedTuple):
    """One method in a plot.

    Attributes:
        number: In the table.
        kind: "baseline", "control", "oracle" or "".
        x: Its cost.
        y: Its score.
        low: Lower limit of the score; None for none.
        high: Upper limit.
        title: Said where a mouse rests.
    """

    number: int
    kind: str
    x: float
    y: float
    low: float | None
    high: float | None
    title: str


def scatter(points: Sequence[Point], across: str, down: str) -> str:
    """Methods by their cost and score, with limits and numbers; the horizontal axis is logarithmic over a wide range.

    Args:
        points: One or more.
        across: What the cost is counted in.
        down: What the score is.
    """
    ys = [y for p in points for y in (p.y, p.low, p.high) if y is not None]
    low, high = padded(min(ys), max(ys))
    at_x, marks = horizontal([p.x for p in points])
    at_y = vertical(low, high)
    body = frame(marks, low, high, across, down)
    for p in points:
        if p.low is not None and p.high is not None:
            body += f"<path class=whisker d='M{at_x(p.x):.1f} {at_y(p.low):.1f}V{at_y(p.high):.1f}'/>"
    spots = [(at_x(p.x), at_y(p.y)) for p in points]
    for p, (x, y) in zip(points, spots, strict=True):
        body += f"<circle class='dot {p.kind}' cx={x:.1f} cy={y:.1f} r=4><title>{escape(p.title)}</title></circle>"
    for p, (x, y) in zip(points, beside(spots), strict=True):
        body += f"<text class=number x={x:.1f} y={y + 4:.1f} text-anchor=middle>{p.number}</text>"
    return picture(body, f"{down} against {across}")


def beside(spots: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Where numbers go: the first place around each point that overlaps no point and no earlier number."""
    taken = [(x, y, 9.0, 9.0) for x, y in spots]
    found = []
    for x, y in spots:
        free = [(x + dx, y + dy) for dx, dy in PLACES if inside(x + dx, y + dy)]
        best = min(free, key=lambda place: sum(overlap(place, box) for box in taken))
        taken.append((*best, *BOX))
        found.append(best)
    return found


def inside(x: float, y: float) -> bool:
    """Whether a number fits into the plot there."""
    return LEFT + 7 < x < WIDTH - 5 and TOP < y < HEIGHT - BOTTOM - 5


def overlap(place: tuple[float, float], box: tuple[float, float, float, float]) -> float:
    """The area that a number at a place shares with a box (x, y, width, height), both given by their centres."""
    wide = (BOX[0] + box[2]) / 2 - abs(place[0] - box[0])
    tall = (BOX[1] + box[3]) / 2 - abs(place[1] - box[1])
    return max(0.0, wide) * max(0.0, tall)


def lines(curves: Mapping[str, Mapping[int, Interval]], across: str, down: str) -> str:
    """Curves over the number of samples, on a logarithmic axis, with bands and a legend.

    Args:
        curves: Name -> n -> mean and limits; one or more.
        across: What n counts.
        down: What the mean is of.
    """
    ys = [y for curve in curves.values() for point in curve.values() for y in point if y == y]
    low, high = padded(min(ys), max(ys))
    at_x, marks = horizontal([float(n) for curve in curves.values() for n in curve], whole=True)
    at_y = vertical(low, high)
    body = frame(marks, low, high, across, down)
    for place, curve in enumerate(curves.values()):
        known = {n: point for n, point in curve.items() if point.low == point.low}
        if len(known) > 1:
            upper = [f"{at_x(n):.1f} {at_y(p.high):.1f}" for n, p in known.items()]
            lower = [f"{at_x(n):.1f} {at_y(p.low):.1f}" for n, p in reversed(known.items())]
            body += f"<path class='band s{place}' d='M{'L'.join(upper + lower)}Z'/>"
    for place, (name, curve) in enumerate(curves.items()):
        path = "L".join(f"{at_x(n):.1f} {at_y(point.mean):.1f}" for n, point in curve.items())
        body += f"<path class='line s{place}' d='M{path}'/>"
        for n, point in curve.items():
            title = escape(f"{name}, n = {n}: {point.mean:.3f}")
            spot = f"cx={at_x(n):.1f} cy={at_y(point.mean):.1f} r=3"
            body += f"<circle class='s{place}' {spot}><title>{title}</title></circle>"
    drawn = picture(body, f"{down} against {across}")
    if len(curves) == 1:
        return drawn
    legend = "".join(f"<span><i class=s{place}></i>{escape(name)}</span>" for place, name in enumerate(curves))
    return f"{drawn}<p class=legend>{legend}</p>"


# --- axes


def horizontal(
    values: Sequence[float], whole: bool = False
) -> tuple[Callable[[float], float], list[tuple[float, str]]]:
    """Where a value lies, and the marks of the axis; logarithmic if values are above 0 and span a factor of four.

    Args:
        values: All that are shown.
        whole: Whether they are counts, which are marked themselves.
    """
    least, most = min(values), max(values)
    width = WIDTH - LEFT - RIGHT
    if least > 0 and most >= 4 * least:
        first, last = math.log(least) - 0.15, math.log(most) + 0.15
        marks = sorted(set(values)) if whole else round_numbers(least, most)
        every = math.ceil(len(marks) / 8)
        scale: Callable[[float], float] = lambda x: LEFT + (math.log(x) - first) / (last - first) * width  # noqa: E731
        return scale, [(scale(m), f"{m:g}") for m in marks[::every]]
    low, high = (0.0, most * 1.1 or 1.0) if least >= 0 else padded(least, most)
    scale = lambda x: LEFT + (x - low) / (high - low) * width  # noqa: E731
    return scale, [(scale(m), text) for m, text in ticks(low, high)]


def ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Round numbers within a range, about six, with their texts."""
    digits = -math.floor(math.log10((high - low) / 6))
    step = next(m for m in (1, 2, 5, 10) if m * 10.0**-digits >= (high - low) / 6) * 10.0**-digits
    found = [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return [(tick, f"{tick:.{max(0, digits)}f}") for tick in found]


def round_numbers(low: float, high: float) -> list[float]:
    """1, 2, 5, 10 ... within a range, or only powers of ten where that would be many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for kinds in ((1, 2, 5), (1, 3), (1,)):
        found = [m * 10.0**k for k in powers for m in kinds if low * 0.87 <= m * 10.0**k <= high * 1.15]
        if len(found) <= 7:
            return found
    return found


def vertical(low: float, high: float) -> Callable[[float], float]:
    """Where a score lies."""
    return lambda y: TOP + (high - y) / (high - low) * (HEIGHT - TOP - BOTTOM)


def frame(marks: Sequence[tuple[float, str]], low: float, high: float, across: str, down: str) -> str:
    """Grid lines, their numbers, and what the axes are."""
    at_y, body = vertical(low, high), ""
    for value, text in ticks(low, high):
        body += f"<path class=grid d='M{LEFT} {at_y(value):.1f}H{WIDTH - RIGHT}'/>"
        body += f"<text x={LEFT - 6} y={at_y(value) + 4:.1f} text-anchor=end>{text}</text>"
    for x, text in marks:
        body += f"<path class=grid d='M{x:.1f} {HEIGHT - BOTTOM}v4'/>"
        body += f"<text x={x:.1f} y={HEIGHT - BOTTOM + 17} text-anchor=middle>{text}</text>"
    middle = (TOP + HEIGHT - BOTTOM) / 2
    body += f"<text x={(LEFT + WIDTH - RIGHT) / 2} y={HEIGHT - 5} text-anchor=middle>{escape(across)}</text>"
    return body + f"<text transform='translate(11 {middle}) rotate(-90)' text-anchor=middle>{escape(down)}</text>"


def picture(body: str, about: str) -> str:
    """An SVG."""
    return f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role=img aria-label='{escape(about)}'>{body}</svg>"
