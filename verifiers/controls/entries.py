"""Controls by name, each built when it is asked for."""

from __future__ import annotations

from verifiers.entry import Entry, made_by

VERIFIERS: dict[str, Entry] = {
    "redness": Entry(
        made_by("verifiers.controls.redness", "Redness"),
        "mean redness of the picture, to try a training run with",
        module="verifiers.controls.redness",
    ),
    "random": Entry(
        made_by("verifiers.controls.random", "RandomScore"),
        "negative control: random scores, which no search can gain by",
        module="verifiers.controls.random",
    ),
}
