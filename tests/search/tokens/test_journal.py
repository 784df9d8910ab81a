"""The journal of MILR: a search that was stopped goes on, and says what it cannot read."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from gensearch.engine.run import run
from gensearch.models.toy.tokens import ToyTokens
from gensearch.search.tokens.milr import milr
from gensearch.testing.verifiers import LinearScore

PROMPT = "a photo of a red star"
BRIGHT = LinearScore(torch.ones(1, 1, 10))


def toy(**options):
    return ToyTokens(
        **{"image_length": 10, "vocabulary": 6, "text_length": 5, "batch_size": 2, "guidance": 2.0, **options}
    )


class Stopped(BaseException):
    """A machine that goes down."""


class Mortal(LinearScore):
    """A verifier that counts its calls, and goes down after some of them."""

    calls, after = 0, math.inf

    def __call__(self, media, prompts, *, progress=1.0):
        if self.calls >= self.after:
            raise Stopped
        self.calls += 1
        return super().__call__(media, prompts, progress=progress)


KNOBS: dict[str, Any] = {
    "samples": 2,
    "baseline": "loo",
    "iterations": 6,
    "strategy": "joint",
    "lr": 1.5,
    "image_share": 0.6,
    "text_share": 0.5,
    "chains": 2,
    "anchor": 0.01,
}


@pytest.mark.parametrize("stopped", [1, 2, 5])
def test_a_search_that_was_stopped_goes_on_bit_for_bit_and_draws_nothing_twice(stopped, tmp_path):
    whole = run(milr, toy(), BRIGHT, PROMPT, seed=3, **KNOBS)
    verifier = Mortal(torch.ones(1, 1, 10))
    verifier.after = stopped
    with pytest.raises(Stopped):
        run(milr, toy(), verifier, PROMPT, seed=3, journal=str(tmp_path), **KNOBS)
    assert len(list(tmp_path.iterdir())) == stopped
    verifier.calls, verifier.after = 0, math.inf
    for calls in (8 - stopped, 0):
        verifier.calls = 0
        again = run(milr, toy(), verifier, PROMPT, seed=3, journal=str(tmp_path), **KNOBS)
        assert verifier.calls == calls
        assert torch.equal(again.best.media, whole.best.media)
        assert again.lineage == whole.lineage
        assert (again.ledger.spent, again.ledger.padding) == (whole.ledger.spent, whole.ledger.padding)


def test_a_journal_knows_what_was_drawn_and_says_what_it_cannot_read(tmp_path):
    verifier = Mortal(torch.ones(1, 1, 10))
    for calls, options, seed in ((3, {}, 3), (6, {"guidance": 3.0}, 3), (9, {}, 4), (9, {}, 3)):
        run(milr, toy(**options), verifier, PROMPT, seed=seed, iterations=1, journal=str(tmp_path))
        assert verifier.calls == calls, "another model or another seed is another drawing"
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="is no drawing of a journal .* delete it and it is drawn again"):
        run(milr, toy(), verifier, PROMPT, seed=3, iterations=1, journal=str(tmp_path))
