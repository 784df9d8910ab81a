"""Plans of pictures in words: the objects from left to right, each with its colour and the ninth of the picture."""

from __future__ import annotations

from collections.abc import Sequence

from gensearch.shapes import world

ACROSS, DOWN = ("left", "center", "right"), ("top", "middle", "bottom")
WORDS = ("plan", "draw", "does", "this", "show", "yes", "no", "center", "top", "middle", "bottom", ":", ",", "?")

ASK = "{prompt} plan :"
DRAW = "{prompt} plan : {plan} draw"
DRAW_BARE = "{prompt} draw"
QUESTION = "does this show {prompt} ?"
DESCRIBE = "plan :"


def plan(things: Sequence[world.Thing]) -> str:
    """Return the plan of a scene, such as "red star left top , blue ring right middle".

    Args:
        things: the objects of the scene.
    """
    ordered = sorted(things, key=lambda thing: (thing.x, thing.y))
    return " , ".join(f"{t.color} {t.shape} {ninth(t.x, ACROSS)} {ninth(t.y, DOWN)}" for t in ordered)


def ninth(place: float, names: Sequence[str]) -> str:
    """Return the name of the third of the picture that a coordinate lies in.

    Args:
        place: in pixels.
        names: of the thirds.
    """
    return names[min(len(names) - 1, int(place * len(names) / world.SIZE))]
