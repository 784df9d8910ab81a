"""Every law of chunk-autoregressive models fails for a model that breaks it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from gensearch.core.ledger import Cost
from gensearch.core.types import Rows
from gensearch.models.chunks.base import Chunk
from gensearch.models.toy.chunks import ToyChunks
from gensearch.testing import ChunkLaws
from tests.builders.laws import call, laws_of


class Repainting(ToyChunks):
    """Frames that were shown look otherwise in a longer clip."""

    def render(self, state):
        return super().render(state) * (1 - 0.01 * int(state.step[0]))


class Peeking(ToyChunks):
    """A clip that was shown goes on otherwise."""

    def _read(self, chunks):
        caches = super()._read(chunks)
        return [own if chunk.frames is None else own[::-1] for chunk, own in zip(chunks, caches, strict=True)]


class Copying(ToyChunks):
    """Every branch has a prefix of its own."""

    def advance(self, state, noise=None):
        after = super().advance(state, noise)
        copies = Rows(
            replace(chunk, before=Chunk(chunk.before.prompt, chunk.before.sample.clone(), chunk.before.before))
            for chunk in after.extra["clip"]
        )
        return replace(after, extra={**after.extra, "clip": copies})


class Mixed(ToyChunks):
    """Clips go on from the first prefix of their batch."""

    def _make(self, prompts, before, memory, noise):
        return super()._make(prompts, before, [memory[0]] * len(memory), noise)


class Dreaming(ToyChunks):
    """A clip at rest remembers what never was."""

    def rest(self, state):
        rested = super().rest(state)
        for cache in rested.extra["cache"]:
            cache.memory = bytes(8)
        return rested


class Understating(ToyChunks):
    """What a step takes is more than it says."""

    def due(self, state):
        return super().due(state[[0]])


class Padding(ToyChunks):
    """Clips of several lengths are made equally long by empty frames."""

    def render(self, state):
        if len(set(state.step.tolist())) == 1:
            return super().render(state)
        clips = [super(Padding, self).render(state[[row]])[0] for row in range(len(state))]
        return torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)


BROKEN = [
    (Repainting, "clips_grow_by_their_chunks"),
    (Peeking, "decoding_a_prefix_changes_nothing"),
    (Copying, "branches_share_their_prefix"),
    (Mixed, "a_branch_is_what_it_would_have_been_alone"),
    (Dreaming, "a_clip_at_rest_goes_on_as_itself"),
    (Understating, "what_is_due_is_what_it_takes"),
    (Padding, "clips_of_several_lengths_are_rendered_apart"),
]


def test_every_law_has_somebody_who_breaks_it():
    assert {law for _, law in BROKEN} == laws_of(ChunkLaws)


@pytest.mark.parametrize(("make", "law"), BROKEN)
def test_a_broken_model_is_caught(make, law):
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        call(ChunkLaws, law, {"model": make(num_steps=3, batch_size=3)})


@pytest.mark.parametrize("law", sorted(laws_of(ChunkLaws)))
def test_the_model_that_they_break_is_sound(law):
    call(ChunkLaws, law, {"model": ToyChunks(num_steps=3, batch_size=3)})


def test_a_price_is_a_cost():
    assert ToyChunks(num_steps=3, reading=1).step_costs == (Cost(nfe=1), Cost(nfe=2), Cost(nfe=2))
