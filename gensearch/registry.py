"""Everything that has a name: models, verifiers, searches. Nothing heavy is loaded before it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

from gensearch.errors import nearest

if TYPE_CHECKING:
    from gensearch.types import Model, Search
    from verifiers.types import Verifier


class Entry(NamedTuple):
    """A name's builder and what it stands for, in a few words."""

    build: Callable[[], Any]
    about: str


# --- verifiers


def shapes_clip(name: str) -> Verifier:
    """An embedded CLIP of the Shapes world, by the name of its folder."""
    from verifiers.clip import CLIPScore

    return CLIPScore.load(str(files("gensearch") / "shapes" / "weights" / name), name=f"shapes/{name}")


def open_clip(source: str) -> Verifier:
    """Any open_clip model, as `ARCHITECTURE@TAG` or the path of a local folder."""
    from verifiers.clip import CLIPScore

    model, _, tag = source.partition("@")
    return CLIPScore.load(model, tag or None, name=f"clip:{source}")


def shapes_judge() -> Verifier:
    """The exact judge of the Shapes world."""
    from gensearch.shapes.judge import ShapesJudge

    return ShapesJudge()


def shapes_partial() -> Verifier:
    """The share of a Shapes prompt's clauses that the picture fulfils."""
    from gensearch.shapes.judge import ShapesPartial

    return ShapesPartial()


def random_score() -> Verifier:
    """The control."""
    from verifiers.random import RandomScore

    return RandomScore()


VERIFIERS: dict[str, Entry] = {
    "shapes/clip": Entry(lambda: shapes_clip("clip"), "CLIP of the Shapes world, embedded; differentiable"),
    "shapes/clip-holdout": Entry(lambda: shapes_clip("clip-holdout"), "another CLIP of that world, for --holdout"),
    "shapes/judge": Entry(shapes_judge, "exact: 1 if the picture shows what its prompt asks for"),
    "shapes/partial": Entry(shapes_partial, "exact: the share of the prompt's clauses fulfilled"),
    "clip:ViT-B-32@laion2b_s34b_b79k": Entry(
        lambda: open_clip("ViT-B-32@laion2b_s34b_b79k"), "CLIP score; any open_clip ARCHITECTURE@TAG or local folder"
    ),
    "random": Entry(random_score, "the control: no search may gain by it"),
}


def verifier(name: str) -> Verifier:
    """A verifier by name, or a weighted sum such as `shapes/clip+0.5*random`.

    Raises ValueError with the nearest name if there is none.
    """
    terms = parse_verifier(name)
    if len(terms) == 1 and terms[0][1] == 1:
        return single(terms[0][0])
    from verifiers.ensemble import Term, WeightedSum

    return WeightedSum(*(Term(single(known), weight) for known, weight in terms), name=name)


def single(name: str) -> Verifier:
    """One verifier by its registered name, or an open_clip model as `clip:SOURCE`."""
    return open_clip(name.removeprefix("clip:")) if name.startswith("clip:") else VERIFIERS[name].build()


def parse_verifier(name: str) -> list[tuple[str, float]]:
    """The registered names and weights that a verifier's name is made of; loads nothing."""
    return [weigh(term.strip()) for term in name.split("+")]


def weigh(term: str) -> tuple[str, float]:
    """A name and its weight, from `name` or `weight*name`; raises ValueError for anything else."""
    weight, star, name = term.rpartition("*")
    try:
        factor = float(weight) if star else 1.0
    except ValueError:
        raise ValueError(f"{weight!r} is no weight; write a sum as 'shapes/clip+0.5*random'") from None
    if name not in VERIFIERS and not name.startswith("clip:"):
        raise ValueError(f"no verifier is called {name!r}{nearest(name, VERIFIERS)}")
    return name, factor


# --- searches and models


def search(name: str) -> Search:
    """A search by name; raises ValueError with the nearest name if there is none."""
    from gensearch.search import SEARCHES

    if name not in SEARCHES:
        raise ValueError(f"no search is called {name!r}{nearest(name, SEARCHES)}")
    return SEARCHES[name]


TOYS = {
    "toy/flow": "Gaussian pixels, exact in closed form; needs no weights",
    "toy/turbo": "the same in one step",
    "toy/mixture": "Gaussian blobs, one for each word it knows: red green blue star ring",
}


def models() -> dict[str, str]:
    """The models that are known by name, and what they are: embedded, in closed form, or settings for the hub."""
    from gensearch.models.load import embedded, presets

    hub = {name: f"on the hub, licence {preset.licence}" for name, preset in presets().items()}
    return {**dict.fromkeys(embedded(), "embedded"), **TOYS, **hub}


def load_model(source: Any, **options: Any) -> Model:
    """A model by name or path, or around a loaded pipeline; raises LoadError or ValueError."""
    if isinstance(source, str) and source.startswith("toy/"):
        return toy(source, **options)
    from gensearch.models.load import load

    return load(source, **options)


def toy(name: str, **options: Any) -> Model:
    """A model in closed form, of 16x16 pictures; raises ValueError for an unknown name or option."""
    from gensearch.models.toy import GaussianFlow, GaussianMixture, GaussianTurbo

    classes = {kind.name: kind for kind in (GaussianFlow, GaussianTurbo, GaussianMixture)}
    if name not in classes:
        raise ValueError(f"no model is called {name!r}{nearest(name, classes)}")
    known = {"steps": "num_steps", "guidance_scale": "guidance", "batch_size": "batch_size", "churn": "churn"}
    for option in options:
        if option not in known:
            raise ValueError(f"{name} has no option {option!r}{nearest(option, known)}")
    return classes[name]((3, 16, 16), **{known[option]: value for option, value in options.items()})
