"""What chunk-autoregressive models promise of a prefix while a real search goes on from it."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from gensearch.core.types import State
from gensearch.engine.run import run
from gensearch.search.chunks.tree_of_frames import tree_of_frames
from verifiers.controls.random import RandomScore


def check_shared_prefixes(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """All through a search of three chunks: no child copies what precedes it, nor changes a bit of it."""
    born = []
    kind = type(model)
    own = kind.advance

    def advance(model: Any, state: State, noise: Any = None) -> State:
        before = digests(state)
        born.append((state, before, own(model, state, noise)))
        return born[-1][2]

    monkeypatch.setattr(kind, "advance", advance)
    run(tree_of_frames, model, RandomScore(), "a photo of a red star", branch=[3, 2, 2], keep=[2, 1])
    assert [len(children) for _, _, children in born] == [4, 2]
    for parents, before, children in born:
        pairs = list(zip(parents.extra["clip"], children.extra["clip"], strict=True))
        assert all(child.before is parent for parent, child in pairs)
        assert len({chunk.sample.data_ptr() for chunk, _ in pairs}) == len({id(chunk) for chunk, _ in pairs}) < 3
        assert digests(parents) == before


def digests(state: State) -> list[bytes]:
    """The content of all chunks of every clip, their samples and their frames."""
    parts = [part for clip in state.extra["clip"] for part in clip.clip()]
    return [hashlib.sha256(part.sample.numpy().tobytes() + part.frames.numpy().tobytes()).digest() for part in parts]
