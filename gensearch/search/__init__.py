"""The searches by name: one algorithm, one file, one paper."""

from __future__ import annotations

from gensearch.core.errors import nearest
from gensearch.core.types import Search
from gensearch.search.chunks.backtracking import backtracking
from gensearch.search.chunks.beam_of_frames import beam_of_frames
from gensearch.search.chunks.tree_of_frames import tree_of_frames
from gensearch.search.gradient.dno import dno
from gensearch.search.gradient.reno import reno
from gensearch.search.noise.best_of_n import best_of_n
from gensearch.search.noise.unguided import unguided
from gensearch.search.noise.zero_order import zero_order
from gensearch.search.tokens.calibrated import calibrated
from gensearch.search.tokens.latent_noise import latent_noise
from gensearch.search.tokens.latent_value import latent_value
from gensearch.search.tokens.milr import milr
from gensearch.search.tokens.prefix import prefix
from gensearch.search.tokens.suffix_mcmc import suffix_mcmc

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
    "reno": reno,
    "suffix_mcmc": suffix_mcmc,
    "tree_of_frames": tree_of_frames,
    "unguided": unguided,
    "zero_order": zero_order,
}

OF_TOKENS = frozenset(  # for models with that verb
    {"calibrated", "latent_noise", "latent_value", "milr", "prefix", "suffix_mcmc"}
)
OF_CHUNKS = frozenset({"backtracking", "beam_of_frames", "tree_of_frames"})  # for models that make clips chunk by chunk


def find(name: str) -> Search:
    """A search by name; raises ValueError with the nearest name if there is none."""
    if name not in SEARCHES:
        raise ValueError(f"no search is called {name!r}{nearest(name, SEARCHES)}")
    return SEARCHES[name]
