"""Everything that has a name: models, verifiers, searches. Nothing heavy is loaded before it is asked for."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gensearch.core.errors import nearest
from gensearch.shapes import verifiers as shapes

if TYPE_CHECKING:
    from gensearch.core.types import Model, Proposal, Search
    from verifiers.types import Verifier


class Entry(NamedTuple):
    """A name's builder and what it stands for, in a few words."""

    build: Callable[..., Any]
    about: str
    network: bool = False  # whether the builder takes the device that its network is to run on


# --- verifiers


def open_clip(source: str, device: Any = "cpu") -> Verifier:
    """Any open_clip model, as `ARCHITECTURE@TAG` or the path of a local folder."""
    from verifiers.embedding.clip import CLIPScore

    model, tag = (source, "") if os.path.isdir(source) else source.partition("@")[::2]
    return CLIPScore.load(model, tag or None, name=f"clip:{source}", device=device)


def vqa(source: str, device: Any = "cpu") -> Verifier:
    """Any image-text-to-text model of transformers, by folder or name on the hub; `question` is that of its folder."""
    from gensearch.models.load import in_folder
    from verifiers.vlm.vqa import VQAScore

    asked = in_folder(Path(source)).settings.get("question") if os.path.isdir(source) else None
    return VQAScore.load(source, device=device, **({"question": asked} if asked else {}))


def frames(source: str, device: Any = "cpu") -> Verifier:
    """Any judge of pictures on clips, as `frames:NAME`: the mean over frames."""
    from verifiers.video.clips import PerFrame

    weigh(source)  # a name that exists
    return PerFrame(single(source, device))


def motion() -> Verifier:
    """How much a clip moves."""
    from verifiers.video.clips import Motion

    return Motion()


def own() -> Verifier:
    """What a model thinks of its own pictures is known once there is a model."""
    raise ValueError("'self' is the judgement of a model that also looks, such as a Janus; take another judge")


def redness() -> Verifier:
    """The reward to try a training run with."""
    from verifiers.controls.redness import Redness

    return Redness()


def random_score() -> Verifier:
    """The control."""
    from verifiers.controls.random import RandomScore

    return RandomScore()


VERIFIERS: dict[str, Entry] = {
    "shapes/clip": Entry(partial(shapes.clip, "clip"), "CLIP of the Shapes world, embedded; differentiable", True),
    "shapes/clip-holdout": Entry(
        partial(shapes.clip, "clip-holdout"), "another CLIP of that world, for --holdout", True
    ),
    "shapes/clip-frames": Entry(
        shapes.clip_frames, "that CLIP on every frame of a clip, asked for what the prompt says of looks", True
    ),
    "shapes/clip-motion": Entry(
        shapes.clip_motion, "a CLIP of the moving Shapes, embedded, on four frames in one picture", True
    ),
    "shapes/judge": Entry(shapes.judge, "exact: 1 if the picture shows what its prompt asks for"),
    "shapes/partial": Entry(shapes.share, "exact: the share of the prompt's clauses fulfilled"),
    "shapes/tracker": Entry(shapes.tracker, "exact, for clips: 1 if the frames so far show what the prompt asks for"),
    "shapes/tracker-partial": Entry(shapes.tracker_share, "exact, for clips: the share of aspects that are right"),
    "clip:ViT-B-32@laion2b_s34b_b79k": Entry(
        partial(open_clip, "ViT-B-32@laion2b_s34b_b79k"),
        "CLIP score; any open_clip ARCHITECTURE@TAG or local folder",
        True,
    ),
    "vqa:deepseek-community/Janus-Pro-1B": Entry(
        partial(vqa, "deepseek-community/Janus-Pro-1B"), "yes or no of any model that answers; or a local folder", True
    ),
    "frames:shapes/clip": Entry(
        partial(frames, "shapes/clip"), "a judge of pictures on clips, the mean over frames; any frames:NAME", True
    ),
    "motion": Entry(motion, "how much a clip moves, to be reported beside any judge of clips; differentiable"),
    "self": Entry(own, "yes or no of the generator itself, if it also looks"),
    "redness": Entry(redness, "how red the picture is; differentiable, to try a training run with"),
    "random": Entry(random_score, "the control: no search may gain by it"),
}


SOURCES: dict[str, Callable[[str, Any], Verifier]] = {  # verifiers by kind:source
    "clip": open_clip,
    "frames": frames,
    "vqa": vqa,
}


def verifier(name: str, *, device: Any = "cpu", loaded: dict[str, Verifier] | None = None) -> Verifier:
    """A verifier by name, a weighted sum such as `shapes/clip+0.5*random`, or `rank(a,b)` of several, to select with.

    Networks run on `device` in float32. Single judges are taken from `loaded`, and added to it. Raises ValueError with
    the nearest name if there is none.
    """
    terms = parse_verifier(name)
    known = {} if loaded is None else loaded
    if voters := ranked(name):
        from verifiers.combine import RankVote

        return RankVote(*(verifier(voter, device=device, loaded=known) for voter in voters), name=name)
    for leaf, _ in terms:
        if leaf not in known:
            known[leaf] = single(leaf, device)
    if len(terms) == 1 and terms[0][1] == 1:
        return known[terms[0][0]]
    from verifiers.combine import Term, WeightedSum

    return WeightedSum(*(Term(known[leaf], weight) for leaf, weight in terms), name=name)


def single(name: str, device: Any = "cpu") -> Verifier:
    """One verifier by its registered name, or as `clip:SOURCE` or `vqa:SOURCE`."""
    kind, colon, source = name.partition(":")
    if colon and kind in SOURCES:
        return SOURCES[kind](source, device)
    entry = VERIFIERS[name]
    return entry.build(device) if entry.network else entry.build()


def parse_verifier(name: str) -> list[tuple[str, float]]:
    """The registered names and weights that a verifier's name is made of; loads nothing, raises ValueError."""
    return [weigh(term) for part in ranked(name) or [name] for term in split_sum(part)]


def leaf_names(name: str) -> set[str]:
    """Names of the single judges in a verifier's name, whether they are known or not."""
    terms = [split_weight(term)[1] for part in ranked(name) or [name] for term in split_sum(part)]
    return {term.removeprefix("frames:") for term in terms}  # a judge of frames is the judge


def ranked(name: str) -> list[str]:
    """The judges of a rank vote, from `rank(a,b)`; none if the name is of another kind."""
    inside = re.fullmatch(r"rank\((.*)\)", name.strip(), re.DOTALL)
    return [voter.strip() for voter in inside[1].split(",")] if inside else []


def split_sum(name: str) -> list[str]:
    """The terms of a sum. A + may also belong to the folder of a `clip:` or `vqa:` term: the longest one wins."""
    pieces, terms = name.split("+"), []
    while pieces:
        joined = ["+".join(pieces[:count]).strip() for count in range(len(pieces), 0, -1)]
        place = next((i for i, term in enumerate(joined) if is_folder(split_weight(term)[1])), len(joined) - 1)
        terms.append(joined[place])
        pieces = pieces[len(joined) - place :]
    return terms


def split_weight(term: str) -> tuple[str, str]:
    """Weight and name of a term, the weight empty if there is none; a `clip:` source may hold a * itself."""
    weighed = re.fullmatch(r"([^*:]*)\*(.*)", term, re.DOTALL)
    return (weighed[1], weighed[2].strip()) if weighed else ("", term)


def is_folder(name: str) -> bool:
    """Whether a verifier is the network of a local folder."""
    kind, _, source = name.partition(":")
    return kind in SOURCES and os.path.isdir(source)


def weigh(term: str) -> tuple[str, float]:
    """A name and its weight, from `name` or `weight*name`; raises ValueError for anything else."""
    weight, name = split_weight(term)
    try:
        factor = float(weight) if weight or term.startswith("*") else 1.0
    except ValueError:
        raise ValueError(f"{weight!r} is no weight; write a sum as 'shapes/clip+0.5*random'") from None
    if not math.isfinite(factor):
        raise ValueError(f"the weight of {name!r} is {weight}; give a finite one, as in '0.5*random'")
    if not name:
        raise ValueError(f"{term!r} names no judge; write a sum as 'shapes/clip+0.5*random' and a vote as 'rank(a,b)'")
    if name not in VERIFIERS and name.partition(":")[0] not in SOURCES:
        raise ValueError(f"no verifier is called {name!r}{nearest(name, VERIFIERS)}")
    return name, factor


# --- searches and models


def search(name: str) -> Search:
    """A search by name; raises ValueError with the nearest name if there is none."""
    from gensearch.search import SEARCHES

    if name not in SEARCHES:
        raise ValueError(f"no search is called {name!r}{nearest(name, SEARCHES)}")
    return SEARCHES[name]


def proposal(name: str, model: Model) -> Proposal:
    """The proposal of a noise hypernetwork for a model, by `shapes/NAME`, folder or repository, or as `gain*NAME`.

    Installed packages offer loaders, called as (source, model, gain), as entry points of the group PROPOSALS. Raises
    ValueError for a gain that is no number, and what the loader raises.
    """
    gain, source = split_weight(name)
    try:
        factor = float(gain or 1)
    except ValueError:
        raise ValueError(f"{gain!r} is no gain; write a hypernetwork as '0.5*shapes/hypernoise'") from None
    if not math.isfinite(factor):
        raise ValueError(f"the gain of {source!r} is {gain}; give a finite one, as in '0.5*shapes/hypernoise'")
    (loader,) = entry_points(group=PROPOSALS, name="hypernetwork")
    return loader.load()(source, model, factor)


PROPOSALS = "gensearch.proposals"


def models() -> dict[str, str]:
    """The models that are known by name, and what they are: embedded, in closed form, or settings for the hub."""
    from gensearch.models.load import embedded, presets
    from gensearch.models.toy.names import TOYS

    hub = {name: f"on the hub, licence {preset.licence}" for name, preset in presets().items()}
    return {**dict.fromkeys(embedded(), "embedded"), **TOYS, **hub}


def load_model(source: Any, /, **options: Any) -> Model:
    """A model by name or path, or around a loaded pipeline; raises LoadError or ValueError."""
    if isinstance(source, str) and source.startswith("toy/"):
        from gensearch.models.toy.names import toy

        return toy(source, **options)
    from gensearch.models.load import load

    return load(source, **options)
