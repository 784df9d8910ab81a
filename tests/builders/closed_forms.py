"""A closed-form model and a verifier for every search, and knobs with which it does not end by itself."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from gensearch.core.types import Search
from gensearch.models.toy.chunks import ToyChunks
from gensearch.models.toy.gaussian import GaussianTurbo
from gensearch.models.toy.tokens import ToyTokens
from gensearch.search import OF_CHUNKS, OF_TOKENS, SEARCHES
from gensearch.search.tokens.value import Value
from gensearch.testing.clips import ChunkJudge
from gensearch.testing.verifiers import LinearScore

PROMPT = "two red circles"


class Case(NamedTuple):
    """What a search is run on."""

    search: Search
    model: Any
    verifier: Any
    knobs: dict[str, Any]


def case(name: str) -> Case:
    """The case of a registered search; new ones for other models say here what they run on."""
    model: Any
    verifier: Any
    knobs: dict[str, Any] = {}
    if name in OF_CHUNKS:
        model, verifier = ToyChunks(num_steps=3), ChunkJudge(0.5, 0.5)
        if name == "backtracking":
            knobs["passing"] = 2.0  # above every score: no clip passes
    elif name in OF_TOKENS:
        model = ToyTokens(image_length=6, text_length=2, guidance=1.5, num_steps=3, batch_size=3)
        verifier = LinearScore(torch.linspace(-1, 2, 6)[None, None])
        if name == "latent_value":
            knobs["value"] = Value(model.width, model.image_length)
    else:
        model, verifier = GaussianTurbo((1, 2, 2)), LinearScore(torch.ones(1, 2, 2))
    return Case(SEARCHES[name], model, verifier, knobs)
