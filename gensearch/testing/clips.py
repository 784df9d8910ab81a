"""The laws of chunk-autoregressive video models, and a verifier of toy clips with given error rates."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from gensearch.core.ledger import Ledger
from gensearch.core.noise import randn
from gensearch.core.types import Model, State, cat
from gensearch.engine.metered import MeteredModel
from gensearch.models.toy.chunks import good
from gensearch.testing.models import ModelLaws
from gensearch.testing.samples import CLOSE, PROMPTS, SEEDS, fresh, needs, started
from verifiers.types import Media, Scores


@torch.no_grad()
def grown(model: Model, state: State, seed: int) -> State:
    """Every row with one more chunk.

    Args:
        model: A chunk-autoregressive video model.
        state: b rows.
        seed: Of the first row's noise; the next rows have the next seeds.
    """
    return model.advance(state, randn([seed + row for row in range(len(state))], model.noise_shape))


class ChunkLaws(ModelLaws):
    """The laws of chunk-autoregressive video models; subclass it with a `model` fixture, as ModelLaws."""

    def test_clips_grow_by_their_chunks(self, model: Any) -> None:
        """Each chunk adds the number of frames in `frames`; earlier frames keep their bits if the model is causal."""
        state = started(model, SEEDS[:2])
        shown = model.render(state)
        assert shown.shape[1] == model.frames[0]
        for step in range(1, model.num_steps):
            state = grown(model, state, step)
            longer = model.render(state)
            assert longer.shape[1] == sum(model.frames[: step + 1])
            if model.causal:
                assert torch.equal(longer[:, : shown.shape[1]], shown), "a later chunk changed frames before it"
            shown = longer

    def test_decoding_a_prefix_changes_nothing(self, model: Any) -> None:
        """A clip that is decoded after every chunk equals one that is decoded at its end."""
        watched, unwatched = started(model, SEEDS[:1]), started(model, SEEDS[:1])
        for step in range(1, model.num_steps):
            model.render(watched)
            watched, unwatched = grown(model, watched, step), grown(model, unwatched, step)
        assert torch.equal(model.render(watched), model.render(unwatched))

    def test_branches_share_their_prefix(self, model: Any) -> None:
        """Copies of a row hold the same prefix, not a copy of it; continuing one leaves it alone."""
        needs(model, "branch", steps=2)
        parent = started(model, SEEDS[:2])
        children = grown(model, parent[[0, 0, 1]], 1)
        one, other, _ = children.extra["clip"]
        first = parent.extra["clip"][0]
        assert one.before is other.before is first
        assert not torch.equal(one.sample, other.sample), "two noises gave one chunk"
        before = first.sample.clone()
        model.render(children)
        assert torch.equal(first.sample, before)

    def test_a_branch_is_what_it_would_have_been_alone(self, model: Any) -> None:
        """A clip does not depend on its siblings, nor on the order in which they were generated."""
        needs(model, "branch", steps=2)
        noise = fresh(model, SEEDS[:2], 1)
        with torch.no_grad():
            parents = started(model, SEEDS[:2])
            together = model.advance(parents[[0, 1]], noise)
            siblings = model.advance(parents[[0, 0]], noise)
            turned = model.advance(parents[[1, 0]], noise.flip(0))
            alone = model.advance(parents[[0]], noise[:1])
        assert torch.equal(model.render(together[[0]]), model.render(siblings[[0]]))
        assert torch.equal(model.render(together), model.render(turned[[1, 0]]))
        torch.testing.assert_close(model.render(together[[0]]), model.render(alone), rtol=0, atol=CLOSE)

    def test_a_clip_at_rest_goes_on_as_itself(self, model: Any) -> None:
        """Without caches the next chunk is the same, at the cost of encoding the prefix again, decoded or not."""
        needs(model, "branch", steps=2)
        for shown in (True, False):
            busy = started(model, SEEDS[:1])[[0, 0]]
            noise = fresh(model, SEEDS[:2], 1)
            if shown:
                model.render(busy)
            with torch.no_grad():
                first = model.render(model.advance(busy, noise))
                at_rest = model.rest(busy)
                assert model.due(at_rest) == model.step_costs[1].plus(model.step_costs[0])
                again = model.advance(at_rest, noise)
            assert at_rest == busy
            assert torch.equal(model.render(again), first)
            assert torch.equal(model.render(at_rest), first[:, : model.frames[0]])

    def test_what_is_due_is_what_it_takes(self, model: Any) -> None:
        """A step costs what `due` returned, with shared prefixes or not; a clip costs the sum of its steps."""
        needs(model, "branch", steps=2)
        ledger = Ledger()
        metered = MeteredModel(model, ledger)
        with torch.no_grad():
            parent = metered.start(PROMPTS[:2], randn(SEEDS[:2], model.noise_shape))
        assert ledger.spent == model.step_costs[0].times(2)
        for state in (parent[[0, 0, 1]], parent[[1]]):
            before, due = ledger.spent, model.due(state)
            grown(metered, state, 1)
            assert ledger.spent == before.plus(due)
        assert model.due(parent[[0]]) <= model.step_costs[1]

    def test_clips_of_several_lengths_are_rendered_apart(self, model: Any) -> None:
        """They fit no common batch, and the model raises."""
        needs(model, "branch", steps=2)
        early = started(model, SEEDS[:1])
        with pytest.raises(ValueError, match="render them apart"):
            model.render(cat([early, grown(model, early, 1)]))


class ChunkVerifier:
    """Classifies the newest chunk of a toy clip as good (1) or bad (0), with given error rates.

    Its errors are seeded by the bits of the clip; with tpr = fpr its scores are independent of the truth.

    Args:
        tpr: True positive rate, 0 to 1.
        fpr: False positive rate, 0 to 1.
        seed: Of the errors.
        chunk_frames: Frames of a chunk.
        whole: Whether it classifies the clip as good if all chunks are.
    """

    differentiable = False

    def __init__(
        self, tpr: float = 1.0, fpr: float = 0.0, *, seed: int = 0, chunk_frames: int = 1, whole: bool = False
    ) -> None:
        self.tpr, self.fpr, self.seed = tpr, fpr, seed
        self.chunk_frames, self.whole = chunk_frames, whole
        self.name = "whole" if whole else "chunk"

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """One or zero for each clip."""
        flags = good(media, self.chunk_frames)
        truth = flags.all(1) if self.whole else flags[:, -1]
        chance = torch.tensor([self.lottery(clip) for clip in media], dtype=torch.float64)
        total = torch.where(truth, chance < self.tpr, chance < self.fpr).float()
        return Scores(total, {self.name: total})

    def lottery(self, clip: Tensor) -> float:
        """A uniform number in [0, 1) from the bits of a clip."""
        key = self.seed.to_bytes(8, "little")
        digest = hashlib.blake2b(clip.contiguous().numpy().tobytes(), digest_size=6, key=key).digest()
        return int.from_bytes(digest, "little") / 2**48


ChunkJudge = ChunkVerifier  # its earlier name
