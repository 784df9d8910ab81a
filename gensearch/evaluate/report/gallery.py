"""Pictures of a report: where a method is right and the baseline wrong, and the other way round."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from itertools import zip_longest
from typing import Any

import numpy as np

from gensearch.evaluate.table import Record, verdict
from gensearch.files.images import decode, encode, thumbnail

SHOWN = 6  # pairs of pictures of each kind
SIDE = 192  # most pixels of a picture along one side
Pair = tuple[Record, Record]  # of the method and of the baseline


def outcomes(mine: Sequence[Record], base: Sequence[Record]) -> tuple[list[Pair], list[Pair]]:
    """Wins and losses by the exact judge, by the size of the difference and then one of each tag in turn.

    Args:
        mine: Records of the method.
        base: Records of the baseline on the same pairs.
    """
    wins, losses = list[Pair](), list[Pair]()
    for pair in zip(mine, base, strict=True):
        gap = verdict(pair[0]) - verdict(pair[1])
        if gap:
            (wins if gap > 0 else losses).append(pair)
    return in_turn(wins), in_turn(losses)


def in_turn(pairs: Sequence[Pair]) -> list[Pair]:
    """The largest differences first; among equal ones, the first of each tag, then the second of each."""
    sizes: dict[float, dict[str, list[Pair]]] = {}
    for pair in pairs:
        size = abs(verdict(pair[0]) - verdict(pair[1]))
        sizes.setdefault(size, {}).setdefault(pair[0]["tag"], []).append(pair)
    rounds = (turn for size in sorted(sizes, reverse=True) for turn in zip_longest(*sizes[size].values()))
    return [pair for turn in rounds for pair in turn if pair is not None]


def gallery(name: str, baseline: str, mine: Sequence[Record], base: Sequence[Record], opened: bool) -> str:
    """The wins and losses of one method as HTML, folded up unless `opened`.

    Args:
        name: Of the method.
        baseline: Its name.
        mine: Records of the method.
        base: Records of the baseline on the same pairs.
        opened: Whether it is unfolded at first.
    """
    wins, losses = outcomes(mine, base)
    head = f"<b>{escape(name)}</b>: {len(wins)} won, {len(losses)} lost, {len(mine) - len(wins) - len(losses)} equal"
    parts = "".join(
        f"<h3>{what}{f', {min(SHOWN, len(found))} of {len(found)}' if found else ': none'}</h3>"
        f"<div class=pairs>{''.join(two(*pair, name, baseline) for pair in found[:SHOWN])}</div>"
        for what, found in (("Wins", wins), ("Losses", losses))
    )
    return f"<details{' open' if opened else ''}><summary>{head}</summary>{parts}</details>"


def two(mine: Record, base: Record, name: str, baseline: str) -> str:
    """Two pictures of one prompt and seed."""
    cells = "".join(
        f"<div>{shown(record)}<span>{escape(who)} {'&#10003;' if verdict(record) >= 1 else '&#10007;'}</span></div>"
        for record, who in ((base, baseline), (mine, name))
    )
    return f"<figure><div class=two>{cells}</div><figcaption>{escape(str(mine.get('text', '')))}</figcaption></figure>"


def shown(record: Record) -> str:
    """The picture of a record in a small size; a note where its file is missing or damaged."""
    try:
        pixels = decode(record["folder"] / record["picture"])[0]
    except (KeyError, ValueError, OSError):
        return "<p class=missing>no picture</p>"
    small: Any = thumbnail(pixels, SIDE) if max(pixels.shape[1:3]) > SIDE else pixels[len(pixels) // 2][None]
    sharp = " class=sharp" if max(np.shape(small)[1:3]) < SIDE else ""
    return f'<img{sharp} alt="" src="data:image/png;base64,{base64.b64encode(encode(small)).decode()}">'
