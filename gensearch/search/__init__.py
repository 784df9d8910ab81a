"""The searches by name: one algorithm, one file, one paper."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple, cast

from gensearch.core.errors import nearest
from gensearch.core.types import Search
from gensearch.search.chunks.backtracking import backtracking
from gensearch.search.chunks.beam_of_frames import beam_of_frames
from gensearch.search.chunks.tree_of_frames import tree_of_frames
from gensearch.search.gradient.dno import dno
from gensearch.search.gradient.reno import reno
from gensearch.search.noise.best_of_n import best_of_n
from gensearch.search.noise.reflect import reflect
from gensearch.search.noise.unguided import unguided
from gensearch.search.noise.zero_order import zero_order
from gensearch.search.tokens.calibrated import calibrated
from gensearch.search.tokens.latent_noise import latent_noise
from gensearch.search.tokens.latent_value import latent_value
from gensearch.search.tokens.milr import milr
from gensearch.search.tokens.prefix import prefix
from gensearch.search.tokens.suffix_mcmc import suffix_mcmc
from verifiers.names import is_object
from verifiers.objects import imported

SEARCHES: dict[str, Search] = {
    "backtracking": backtracking,
    "beam_of_frames": beam_of_frames,
    "best_of_n": best_of_n,
    "calibrated": calibrated,
    "dno": dno,
    "latent_noise": latent_noise,
    "latent_value": latent_value,
    "milr": milr,
    "prefix": prefix,
    "reflect": reflect,
    "reno": reno,
    "suffix_mcmc": suffix_mcmc,
    "tree_of_frames": tree_of_frames,
    "unguided": unguided,
    "zero_order": zero_order,
}


class Needs(NamedTuple):
    """What a search asks of a model and of its verifier."""

    verbs: frozenset[str] = frozenset()  # that the model must offer, see gensearch.core.types.Model
    differentiable: bool = False  # of the verifier
    note: str = ""


TOKENS = Needs(frozenset({"tokens"}))  # autoregressive image models
CHUNKS = Needs(frozenset({"chunks"}))  # chunk-autoregressive video models
GRADIENT = Needs(frozenset({"gradient"}))
NEEDS: dict[str, Needs] = {
    "backtracking": CHUNKS,
    "beam_of_frames": CHUNKS,
    "calibrated": TOKENS,
    "dno": GRADIENT._replace(note="A verifier that is not differentiable takes 1 + probes scores per evaluation."),
    "latent_noise": TOKENS,
    "latent_value": TOKENS._replace(note="The model needs a value model, and more than `blocks` blocks per picture."),
    "milr": TOKENS._replace(note="With strategy=text a model that writes text only will do."),
    "prefix": TOKENS._replace(note="The model needs two or more blocks per picture."),
    "reflect": Needs(note="The verifier should answer questions; without any it rewrites no prompt."),
    "reno": GRADIENT._replace(differentiable=True),
    "suffix_mcmc": TOKENS,
    "tree_of_frames": CHUNKS,
    "unguided": Needs(note="No other verifier may select."),
}
OF_TOKENS = frozenset(name for name, needs in NEEDS.items() if "tokens" in needs.verbs)
OF_CHUNKS = frozenset(name for name, needs in NEEDS.items() if "chunks" in needs.verbs)


def find(name: str) -> Search:
    """A search by name, or by module:object; raises ValueError with the nearest name if there is none."""
    if is_object(name):
        return as_search(imported(name), name)
    if name not in SEARCHES:
        raise ValueError(f"no search is called {name!r}{nearest(name, SEARCHES)}")
    return SEARCHES[name]


def as_search(given: Any, name: str) -> Search:
    """A search of another package; raises ValueError for what is no generator function with a ledger."""
    if not inspect.isfunction(given) or "ledger" not in inspect.signature(given).parameters:
        raise ValueError(f"{name!r} is no search; name a function (model, verifier, prompt, *, rng, ledger, ...)")
    return cast(Search, given)
