"""A hold-out that refuses a prompt leaves it unscored."""

from __future__ import annotations

import pytest
import torch

from verifiers.combine import Lenient, Panel, judges
from verifiers.types import Scores


class Reader:
    name, differentiable = "reader", False

    def __call__(self, media, prompts, *, progress=1.0):
        if "cat" in prompts[0]:
            raise ValueError("a cat is unknown here")
        return Scores(media.flatten(1).mean(1))


def test_what_the_verifier_refuses_is_unscored_and_the_rest_is_its_own_score():
    media = torch.rand(2, 3, 4, 4)
    lenient = Lenient(Reader())
    assert lenient(media, ["a cat"] * 2).total.isnan().all()
    assert torch.equal(lenient(media, ["a dog"] * 2).total, Reader()(media, ["a dog"] * 2).total)


def test_the_verifier_inside_cannot_guide():
    reader = Reader()
    assert list(judges(Lenient(reader)))[1] is reader
    with pytest.raises(ValueError, match="also guides"):
        Panel(reader, holdout={"reader": Lenient(reader)})
