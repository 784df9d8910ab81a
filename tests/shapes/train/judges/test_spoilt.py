"""Scenes with malformed objects: the exact judge, which they never ask, agrees with their facts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gensearch.shapes import world
from gensearch.shapes.detector import ShapesDetector
from gensearch.shapes.train.judges import scenes, spoilt
from gensearch.shapes.train.judges.labels import MIXED

GROUND = (240, 240, 242)


class Straight:
    """An autoencoder that keeps every 8x8 cell as it is."""

    class _Latents:
        def __init__(self, x):
            self.x = x

        @property
        def latent_dist(self):
            return self

        def mode(self):
            return torch.nn.functional.pixel_unshuffle(self.x, 8)

    def encode(self, x):
        return self._Latents(x)

    def decode(self, latents):
        self.sample = torch.nn.functional.pixel_shuffle(latents, 8)
        return self


@pytest.mark.parametrize("kind", sorted(set(spoilt.KINDS), key=str))
def test_malformed_objects_do_not_count(kind):
    rng, accepted = np.random.default_rng(0), []
    for _ in range(40):
        shape, color = str(rng.choice(world.SHAPES)), str(rng.choice(list(world.COLORS)))
        thing = world.Thing(shape, color, 32, 32, rng.uniform(9, 13))
        picture = np.asarray(world.render(world.Scene((), GROUND), extra=kind(rng, thing, GROUND)))
        accepted.append(any(d.score > 0.3 for d in ShapesDetector().detect(picture)[shape]))
    assert np.mean(accepted) <= 0.25  # a whole one is accepted 99 times in 100


def test_well_formed_objects_beside_them_count():
    rng, agree = np.random.default_rng(1), []
    for _ in range(40):
        drawn = spoilt.draw(rng)
        found = ShapesDetector().detect((drawn.picture().permute(1, 2, 0) * 255).round().to(torch.uint8).numpy())
        for thing in drawn.things:
            agree.append(any(d.score > 0.3 and d.color == thing.color for d in found[thing.shape]))
    assert len(agree) > 30
    assert np.mean(agree) > 0.8  # some are covered in part by a malformed neighbour


def test_an_object_whose_colour_runs_has_none():
    rng, drawn = np.random.default_rng(2), None
    while drawn is None or len(drawn.things) != 2 or drawn.extra:
        drawn = spoilt.draw(rng)
    nameless, second, share = spoilt.run(rng, drawn)
    (i,) = [i for i, thing in enumerate(nameless.things) if not thing.color]
    thing, turned = drawn.things[i], second.scene.things[i]
    assert turned.color not in ("", thing.color)
    assert nameless.scene == drawn.scene
    assert nameless.things[1 - i] == drawn.things[1 - i] == second.scene.things[1 - i]
    y, x = int(thing.y), int(thing.x)
    assert 0.3 < share[y, x] < 0.7
    reach = int(thing.radius)
    ends = share[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach]
    assert ends.min() < 0.1
    assert ends.max() > 0.9


def test_a_part_is_a_function_of_its_number_and_holds_its_facts():
    one, two = spoilt.make_part(Straight(), 3, 40), spoilt.make_part(Straight(), 3, 40)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["media"], spoilt.make_part(Straight(), 4, 40)["media"])
    assert len(one["media"]) == len(one["some"]) == 40
    placed = one["objects"][..., 2] > one["objects"][..., 0]
    assert torch.equal(placed.sum(1), one["some"].sum(1))
    nameless = (one["objects"][..., 6] < 0) & placed
    assert 0 < nameless.sum() < 0.5 * placed.sum()
    for row in nameless.any(1).nonzero()[:, 0].tolist():
        for shape in one["objects"][row][nameless[row]][:, 5].long().tolist():
            assert one["every"][row, shape] == MIXED


def test_a_ghost_is_a_share_of_the_other_picture(monkeypatch):
    x, other = torch.rand(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    share = torch.tensor([0.0, 0.25])[:, None, None, None].expand(2, 1, 64, 64)

    monkeypatch.setattr(scenes, "LATENT_NOISE", 0.0)
    got = spoilt.blended(Straight(), x, other, share, torch.Generator())
    torch.testing.assert_close(got[0], x[0])
    torch.testing.assert_close(got[1], 0.75 * x[1] + 0.25 * other[1])
