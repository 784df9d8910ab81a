"""The searches by name: one algorithm, one file, one paper."""

from __future__ import annotations

from gensearch.search.backtracking import backtracking
from gensearch.search.beam_of_frames import beam_of_frames
from gensearch.search.best_of_n import best_of_n
from gensearch.search.calibrated import calibrated
from gensearch.search.dno import dno
from gensearch.search.latent_noise import latent_noise
from gensearch.search.latent_value import latent_value
from gensearch.search.milr import milr
from gensearch.search.prefix import prefix
from gensearch.search.reno import reno
from gensearch.search.suffix_mcmc import suffix_mcmc
from gensearch.search.tree_of_frames import tree_of_frames
from gensearch.search.unguided import unguided
from gensearch.search.zero_order import zero_order
from gensearch.types import Search

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
