"""Why a round that a resumed run repeats differs from the recorded one."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gensearch.files.compare import MACHINE, compare, in_words
from gensearch.runs.format import COMPARED

NEAR = 1e-3  # relative, and absolute below 1: how far scores and noises may be to differ in the last bits only


def machine_of(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a fingerprint that say which machine it is of."""
    return {name: fingerprint[name] for name in MACHINE if name in fingerprint}


def repeats(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether two lines of a journal are the same round, bit for bit.

    Args:
        then: The recorded line.
        now: The line that would be recorded.
    """
    return all(then.get(key) == now[key] for key in COMPARED)


def reason(
    then: Mapping[str, Any], now: Mapping[str, Any], recorded: Mapping[str, Any], here: Mapping[str, Any]
) -> str:
    """What to say about two lines of a journal that are not the same round: what changed, and what to do.

    Args:
        then: The recorded line.
        now: The line that would be recorded.
        recorded: The machine that the record was made on, as `machine_of` gives it; empty if it was not recorded.
        here: This machine; empty if it does not matter which it is.
    """
    near = all(close(then.get(key), now[key]) for key in COMPARED)
    bits = "in the last bits, " if near else ""
    if recorded and here and (changed := compare(recorded, here)):
        where = "made on another machine" if near else "made on another machine or by another model"
        return f"{bits}which was {where}: {in_words(changed)}. Finish it there, or take another --out"
    if near and not (recorded and here):
        return f"{bits}which was made on another machine or with other libraries: it names neither. Take another --out"
    if near:
        return f"{bits}though the machine is the same: a driver or a setting changed since. Take another --out"
    return "which another model, verifier or version of this program made. Take another --out"


def close(then: Any, now: Any) -> bool:
    """Whether two values of a journal are equal but for the last bits of numbers and of noises in base64."""
    if isinstance(then, float) and isinstance(now, float):
        return math.isclose(then, now, rel_tol=NEAR, abs_tol=NEAR)
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        return then.keys() == now.keys() and all(close(value, now[name]) for name, value in then.items())
    if isinstance(then, list) and isinstance(now, list):
        return len(then) == len(now) and all(map(close, then, now))
    return bool(then == now) or close_noises(then, now)


def close_noises(then: Any, now: Any) -> bool:
    """Whether two texts are noises in base64 that are equal but for their last bits."""
    try:
        one, other = (np.frombuffer(base64.b64decode(text, validate=True), "<f4") for text in (then, now))
        return one.shape == other.shape and bool(np.allclose(one, other, rtol=NEAR, atol=NEAR))
    except (TypeError, ValueError):
        return False
