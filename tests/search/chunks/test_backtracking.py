"""Backtracking: its laws, that what is valid is kept, its closed form, and when it stops."""

from __future__ import annotations

from statistics import fmean
from typing import Any
from weakref import ref

import pytest
import torch

from gensearch.core.noise import remake
from gensearch.core.sampling import generate
from gensearch.engine.run import run, stream
from gensearch.models.toy.chunks import ToyChunks, good
from gensearch.search.chunks.backtracking import backtracking
from gensearch.testing import SearchLaws, Setting
from gensearch.testing.clips import ChunkJudge
from tests.builders.clips import LastPixels, Shown
from verifiers.types import Scores

PROMPT = "a red star moves left"


class TestLaws(SearchLaws):
    @pytest.fixture
    def search(self):
        return backtracking

    @pytest.fixture(params=[{"passing": 5.0}, {"passing": 1.05, "chains": 5, "patience": 1}])
    def setting(self, search, request):
        model = Shown(num_steps=3, batch_size=3)
        return Setting(search, request.param, model, LastPixels(), compute=13, extends=False)


def test_what_is_valid_is_kept_and_the_first_failure_made_anew():
    model = ToyChunks(num_steps=6, p=0.6)
    knobs: dict[str, Any] = {"chains": 3, "patience": 1000, "attempts": 1000}
    rounds = [p.round for p in stream(backtracking, model, ChunkJudge(), PROMPT, seed=4, **knobs)]
    clips = {}
    for round in rounds:
        for id_, parent, clip in zip(round.ids, round.parents, round.media, strict=True):
            clips[id_] = clip
            if parent is None:
                continue
            flags = good(clips[parent][None])[0]
            cut = int(flags.long().argmin())
            assert not flags.all(), "a valid clip was made anew"
            assert torch.equal(clip[:cut], clips[parent][:cut])
            assert not torch.equal(clip[cut], clips[parent][cut])
    assert good(rounds[-1].media).all()
    for round in rounds[:2]:
        for recipe, clip in zip(round.recipes, round.media, strict=True):
            again = generate(model, [PROMPT], remake(recipe, model.noise_shape), [recipe])
            assert torch.equal(again[0], clip)


@pytest.mark.parametrize(("length", "p"), [(6, 0.6), (4, 0.4)])
def test_a_perfect_verifier_needs_one_over_p_tries_per_chunk(length, p):
    """A chain ends after 1 + (failures) clips; each chunk fails a geometric number of times, (1 - p) / p on average."""
    chains = 80
    model = ToyChunks(num_steps=length, p=p, batch_size=chains)
    rounds = list(
        stream(backtracking, model, ChunkJudge(), PROMPT, chains=chains, attempts=10_000, patience=1000, seed=2)
    )
    lineage = rounds[-1].lineage
    homes = {node.id: node.parent for node in lineage}
    lengths = []
    for id_ in set(homes) - set(homes.values()):
        count, home = 1, homes[id_]
        while home is not None:
            home, count = homes[home], count + 1
        lengths.append(count)
    assert len(lengths) == chains
    expected, deviation = 1 + length * (1 - p) / p, (length * (1 - p) / p**2) ** 0.5
    assert abs(fmean(lengths) - expected) < 4 * deviation / chains**0.5


def test_it_pays_for_the_new_chunks_and_each_prefix_once():
    model = ToyChunks(num_steps=5, p=0.5, reading=1, batch_size=1)
    rounds = list(stream(backtracking, model, ChunkJudge(), PROMPT, chains=1, patience=1000, attempts=4, seed=3))
    chunks, scored, cut = 0, 0, 0
    for progress in rounds:
        flags = good(progress.round.media)[0]
        failed = int(flags.long().argmin()) if not flags.all() else 5
        chunks += 5 - cut
        scored += 1 + max(0, min(failed, 3) - cut + 1)
        cut = failed
    spent = rounds[-1].ledger.spent
    assert spent.decoded == len(rounds)
    assert spent.scored == scored
    assert chunks < spent.nfe <= chunks + 4 * len(rounds)


def test_a_chunk_that_keeps_failing_takes_the_one_before_with_it():
    class LastFails(ChunkJudge):
        def __call__(self, media, prompts, *, progress=1.0):
            return Scores(torch.full((len(media),), float(media.shape[1] < 4)))

    model = ToyChunks(num_steps=4)
    rounds = [
        p.round for p in stream(backtracking, model, LastFails(), PROMPT, chains=1, attempts=8, patience=3, seed=1)
    ]
    same = [
        next((i for i in range(4) if not torch.equal(a.media[0, i], b.media[0, i])), 4)
        for a, b in zip(rounds, rounds[1:], strict=False)
    ]
    assert same == [3, 3, 2, 3, 3, 2, 3]


@pytest.mark.parametrize("limit", [4, 7, 12, 30])
def test_a_limit_is_never_passed_and_a_clip_comes_back(limit):
    outcome = run(backtracking, ToyChunks(num_steps=4, p=0.1), ChunkJudge(), PROMPT, limit={"nfe": limit})
    assert outcome.ledger.spent.nfe <= limit
    assert outcome.best.media.shape[0] == 4


def test_it_stops_when_all_clips_are_valid():
    outcome = run(backtracking, ToyChunks(num_steps=3, p=0.9), ChunkJudge(), PROMPT, compute=100, chains=2)
    assert outcome.stopped == "finished"
    assert outcome.best.score == 1


class Kept(list[Any]):
    """What a network remembers of a prefix, that can be watched."""


class Watched(ToyChunks):
    """A toy that notes how many of its memories, and of its chunks, are held when it is asked for more."""

    def __init__(self, **options):
        super().__init__(reading=1, **options)
        self.memories, self.chunks, self.noted, self.begun = [], [], [], []

    def _read(self, chunks):
        known = [Kept(memory) for memory in super()._read(chunks)]
        self.memories += map(ref, known)
        return known

    def _make(self, prompts, before, memory, noise):
        self.noted.append(sum(kept() is not None for kept in self.memories))
        if before[0] is None:
            self.begun.append(sum(chunk() is not None for chunk in self.chunks))
        made = list(super()._make(prompts, before, memory, noise))
        self.chunks += map(ref, made)
        return made


def test_one_prefix_of_each_chain_has_at_hand_what_it_takes_to_go_on():
    model = Watched(num_steps=8, p=0.5, batch_size=3)
    outcome = run(backtracking, model, ChunkJudge(), PROMPT, chains=3, attempts=30, seed=1)
    assert len(outcome.lineage) > 2 * 3
    assert max(model.noted) == 3, "prefixes that nobody goes on from keep what was read of them"


def test_what_failed_is_given_up_before_it_is_made_anew():
    model = Watched(num_steps=5, p=0.3, batch_size=1)
    run(backtracking, model, ChunkJudge(), PROMPT, chains=1, attempts=12, patience=100, seed=2)
    assert len(model.begun) > 1, "no clip failed by its first chunk"
    assert set(model.begun) == {0}
