"""Verifiers of pictures and clips: media and prompts in, one score per sample out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from verifiers.combine import Panel, RankVote, Term, WeightedSum, rank_vote
    from verifiers.controls.random import RandomScore
    from verifiers.embedding.clip import CLIPScore
    from verifiers.types import Media, Scores, Verifier

GENSEARCH_VERIFIERS = True  # marks this package, since others on the package index have the same name

_HOME = {  # loaded on first use, so that GenEval's rules work without torch
    "CLIPScore": "embedding.clip",
    "Media": "types",
    "Panel": "combine",
    "RandomScore": "controls.random",
    "RankVote": "combine",
    "Scores": "types",
    "Term": "combine",
    "Verifier": "types",
    "WeightedSum": "combine",
    "rank_vote": "combine",
}

__all__ = [
    "GENSEARCH_VERIFIERS",
    "CLIPScore",
    "Media",
    "Panel",
    "RandomScore",
    "RankVote",
    "Scores",
    "Term",
    "Verifier",
    "WeightedSum",
    "rank_vote",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOME:
        raise AttributeError(f"module 'verifiers' has no attribute {name!r}")
    return getattr(import_module(f"verifiers.{_HOME[name]}"), name)
