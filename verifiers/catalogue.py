"""Verifiers by name, each built when it is asked for; other packages add theirs to `VERIFIERS`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from verifiers.calls import read_call
from verifiers.card import Card, card, require_commercial
from verifiers.controls import entries as controls
from verifiers.detect import entries as detect
from verifiers.embedding import entries as embedding
from verifiers.entry import Entry as Entry
from verifiers.names import is_object, parse, source_of, split_length, split_sum, weigh, weighed
from verifiers.video import entries as video
from verifiers.vlm import entries as vlm

if TYPE_CHECKING:
    from verifiers.types import Device, Verifier


# --- verifiers of the frames of a clip, whose source is the name of another verifier


def frames(source: str, device: Device = "cpu") -> Verifier:
    """Build a picture verifier that scores clips by the mean over frames.

    Args:
        source: the name of a single picture verifier.
        device: where its network runs.

    Raises:
        ValueError: for a name that does not exist.
    """
    from verifiers.video.per_frame import PerFrame

    weigh(source, VERIFIERS)
    return PerFrame(single(source, device))


def grid(source: str, device: Device = "cpu") -> Verifier:
    """Build a picture verifier that scores clips by four of their frames in one picture.

    Args:
        source: "NAME" of a single picture verifier, or "NAME@FRAMES" with the number of frames of a whole clip.
        device: where its network runs.

    Raises:
        ValueError: for a name that does not exist, and for less than four frames.
    """
    from verifiers.video.grid import Grid

    name, length = split_length(source)
    weigh(name, VERIFIERS)
    return Grid(single(name, device), length)


def staged(source: str, device: Device = "cpu") -> Verifier:
    """Build a picture verifier, or a model that answers questions, that scores other frames at each stage of a clip.

    Args:
        source: the name of a single picture verifier.
        device: where its network runs.

    Raises:
        ValueError: for a name that does not exist.
    """
    from verifiers.video.staged import staged as by_stage

    weigh(source, VERIFIERS)
    return by_stage(single(source, device), name=f"staged:{source}")


VERIFIERS: dict[str, Entry] = {
    **embedding.VERIFIERS,
    **vlm.VERIFIERS,
    **detect.VERIFIERS,
    "frames:shapes/clip": Entry(
        partial(frames, "shapes/clip"),
        "a picture verifier on clips, the mean over frames; any frames:NAME",
        True,
        "verifiers.video.per_frame",
    ),
    "grid:shapes/clip": Entry(
        partial(grid, "shapes/clip"),
        "a picture verifier on four frames of a clip in one picture; any grid:NAME or grid:NAME@FRAMES",
        True,
        "verifiers.video.grid",
    ),
    "staged:shapes/clip": Entry(
        partial(staged, "shapes/clip"),
        "a picture verifier on the first, the newest or three frames, by the stage of a clip; any staged:NAME",
        True,
        "verifiers.video.staged",
    ),
    **video.VERIFIERS,
    **controls.VERIFIERS,
}

SOURCES: dict[str, Callable[[str, Device], Verifier]] = {  # verifiers by kind:source
    **embedding.SOURCES,
    **vlm.SOURCES,
    **detect.SOURCES,
    **video.SOURCES,
    "frames": frames,
    "grid": grid,
    "staged": staged,
}


# --- by name


def single(name: str, device: Device = "cpu") -> Verifier:
    """Build one verifier.

    Args:
        name: a registered name, kind:source such as "clip:SOURCE" or "vqa:SOURCE", or module:object.
        device: where its network runs.

    Raises:
        KeyError: for a name that is not registered.
        ValueError: as its builder, and for a module:object that cannot be imported or is no verifier.
    """
    if name not in VERIFIERS and is_object(name):
        from verifiers.objects import by_object

        return by_object(name, device)
    kind, source = source_of(name)
    if kind:
        return SOURCES[kind](source, device)
    entry = VERIFIERS[name]
    return entry.build(device) if entry.network else entry.build()


def describe(name: str) -> Card | None:
    """Return the card of a verifier; None if it has none.

    Args:
        name: a single name, registered or kind:source.
    """
    return card(name, {listed: entry.module for listed, entry in VERIFIERS.items()})


def check_licences(name: str, allow_noncommercial: bool = False) -> None:
    """Check that a verifier's weights may be used as asked; nothing is loaded but modules.

    Args:
        name: a single name, a weighted sum or a rank vote.
        allow_noncommercial: whether weights may forbid commercial use.

    Raises:
        ValueError: if they do and may not.
    """
    if not allow_noncommercial:
        require_commercial(name, {listed: entry.module for listed, entry in VERIFIERS.items()})


def verifier(
    name: str,
    *,
    device: Device = "cpu",
    loaded: dict[str, Verifier] | None = None,
    allow_noncommercial: bool = False,
) -> Verifier:
    """Build a verifier by name; networks run in float32.

    Args:
        name: a single name, a weighted sum such as "shapes/clip+0.5*random", or a function such as "rank(a,b)".
        device: where networks run.
        loaded: single verifiers by name, which are reused; new ones are added.
        allow_noncommercial: whether weights may forbid commercial use.

    Raises:
        ValueError: with the nearest name, if there is none of this name; for a licence that is not allowed.
    """
    parse(name, VERIFIERS)
    check_licences(name, allow_noncommercial)
    return built(name, device, {} if loaded is None else loaded)


def built(name: str, device: Device, loaded: dict[str, Verifier]) -> Verifier:
    """Build a verifier by a name that was checked.

    Args:
        name: as for `verifier`.
        device: where networks run.
        loaded: single verifiers by name, which are reused; new ones are added.
    """
    terms = []
    for item, weight in map(weighed, split_sum(name)):
        if call := read_call(item):
            from verifiers.forms import build

            terms.append((build(call, item, partial(built, device=device, loaded=loaded)), weight))
        else:
            if item not in loaded:
                loaded[item] = single(item, device)
            terms.append((loaded[item], weight))
    if len(terms) == 1 and terms[0][1] == 1:
        return terms[0][0]
    from verifiers.combine import Term, WeightedSum

    return WeightedSum(*(Term(found, weight) for found, weight in terms), name=name)
