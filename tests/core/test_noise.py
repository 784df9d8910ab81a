from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gensearch.core.noise import (
    Rng,
    derive,
    exact,
    first_seed,
    last_seed,
    nearby,
    prompt_of,
    randn,
    remake,
    step_noise,
    with_prompt,
)

SHAPE = (3, 5, 7)
seeds = st.integers(0, 2**53 - 1)


def test_derived_seeds_are_the_same_for_ever():
    assert [derive(0), derive("a photo", 7), derive(2**52, "step", 3), derive(0, 1)] == [
        4650314429397435,
        7945433050573737,
        4572198500866883,
        9005795594288616,
    ]


@given(st.lists(st.one_of(seeds, st.text(max_size=5)), min_size=1, max_size=4))
def test_derived_seeds_are_exact_in_json(parts):
    seed = derive(*parts)
    assert 0 <= seed < 2**53
    assert int(float(seed)) == seed


def test_derived_seeds_do_not_collide():
    assert len({derive(i, "step", j) for i in range(100) for j in range(100)}) == 10_000


def test_the_first_seed_is_the_root_and_a_longer_stream_extends_a_shorter_one():
    assert Rng(42).seeds(1) == (42,)
    whole = Rng(42).seeds(10)
    pieces = Rng(42)
    assert pieces.seeds(3) + pieces.seeds(0) + pieces.seeds(6) + pieces.seeds(1) == whole
    assert len(set(whole)) == 10
    assert whole[1:4] == (7661924292441245, 1105157869483317, 336417788010498)
    assert not set(whole) & set(Rng(43).seeds(10))


def test_noise_is_one_generator_per_sample():
    batch = randn([5, 6, 7], SHAPE)
    assert batch.shape == (3, *SHAPE)
    assert batch.dtype == torch.float32
    assert torch.equal(randn([7, 5], SHAPE), batch[[2, 0]])
    torch.manual_seed(5)
    expected = torch.randn(SHAPE)
    torch.manual_seed(1234)
    assert torch.equal(randn([5], SHAPE)[0], expected)


def test_noise_is_standard_normal():
    x = randn(range(100), (1000,)).double()
    assert abs(x.mean().item()) < 4 / 1e5**0.5
    assert abs(x.var().item() - 1) < 4 * (2 / 1e5) ** 0.5


@given(seeds, seeds, st.floats(-0.999, 0.999))
def test_neighbours_keep_the_norm_and_the_angle(pivot_seed, seed, cosine):
    if (pivot_seed - seed) % 2**32 == 0:
        return  # torch's generator reads 32 bits of a seed, so these are one noise
    pivot, direction = randn([pivot_seed], SHAPE), randn([seed], SHAPE)
    x, y = pivot.double().flatten(), nearby(pivot, direction, cosine).double().flatten()
    assert float(y.norm() / x.norm()) == pytest.approx(1, abs=1e-6)
    assert float(x @ y / (x.norm() * y.norm())) == pytest.approx(cosine, abs=1e-6)


def test_neighbours_of_one_pivot_do_not_depend_on_their_batch():
    pivot, directions = randn([1], (4, 33, 31)), randn(range(2, 9), (4, 33, 31))
    together = nearby(pivot, directions, 0.7)
    apart = [nearby(pivot, directions[i : i + 1], 0.7) for i in range(7)]
    assert torch.equal(together, torch.cat(apart))
    own = nearby(directions, directions.flip(0), 0.7)
    assert torch.equal(own[4:5], nearby(directions[4:5], directions[2:3], 0.7))


def test_neighbours_of_normal_noise_are_normal():
    pivots, directions = randn(range(400), (64,)), randn(range(400, 800), (64,))
    moved = nearby(pivots, directions, 0.4).double()
    assert abs(moved.mean().item()) < 4 / 25_600**0.5
    assert abs(moved.var().item() - 1) < 4 * (2 / 25_600) ** 0.5


def test_a_recipe_makes_its_noise_again_bit_for_bit():
    noise = randn([3], SHAPE)
    assert torch.equal(remake((("gaussian", 3),), SHAPE), noise)
    noise = nearby(noise, randn([4], SHAPE), 0.9)
    noise = nearby(noise, randn([5], SHAPE), -0.2)
    assert torch.equal(remake((("gaussian", 3), ("nearby", 4, 0.9), ("nearby", 5, -0.2)), SHAPE), noise)


def test_an_unknown_move_is_refused():
    with pytest.raises(ValueError, match="cannot remake noise from the moves .*'jump'"):
        remake((("gaussian", 3), ("jump", 4, 0.9)), SHAPE)


def test_step_noise_belongs_to_the_first_seed_and_the_step():
    plain, neighbour, other = (("gaussian", 3),), (("gaussian", 3), ("nearby", 8, 0.9)), (("gaussian", 4),)
    noise = step_noise([plain, neighbour, other], 2, SHAPE)
    assert torch.equal(noise[0], noise[1])
    assert not torch.equal(noise[0], noise[2])
    assert not torch.equal(noise[0], step_noise([plain], 3, SHAPE)[0])
    assert not torch.equal(noise[0], randn([3], SHAPE)[0])


def test_exact_noise_comes_back_bit_for_bit_also_for_the_steps():
    noises = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(8)) * 1e3
    recipe = (("gaussian", 4), exact(noises))
    assert torch.equal(remake(recipe, SHAPE), noises[:1])
    plain = (("gaussian", 4),)
    steps = [step_noise([recipe, plain], step, SHAPE) for step in (1, 2, 3)]
    assert torch.equal(torch.stack([s[0] for s in steps[:2]]), noises[1:])
    assert torch.equal(steps[2][0], steps[2][1])  # beyond what it brings, its seed decides
    assert not torch.equal(steps[0][0], steps[0][1])


def test_a_move_from_exact_noise_is_a_move_from_that_noise():
    noise = randn([9], SHAPE) * 2
    there = remake((("gaussian", 4), exact(noise), ("nearby", 6, 0.5)), SHAPE)
    assert torch.equal(there, nearby(noise, randn([6], SHAPE), 0.5))


@pytest.mark.parametrize("text", ["!!!!", "AAAA", "AAAAAAA=", exact(torch.zeros(1, 7))[1]])
def test_damaged_exact_noise_is_refused(text):
    with pytest.raises((ValueError, RuntimeError)):
        remake((("gaussian", 4), ("exact", text)), SHAPE)


# --- prompts in recipes

MOVES_OF = [(("gaussian", 4),), (("gaussian", 4), ("nearby", 6, 0.5)), (("gaussian", 4), exact(torch.ones(3, *SHAPE)))]


@pytest.mark.parametrize("recipe", MOVES_OF)
def test_a_prompt_in_a_recipe_changes_no_noise(recipe):
    told = with_prompt(recipe, "a blue ring", "a ring")
    assert told == (*recipe, ("prompt", "a blue ring"))
    assert torch.equal(remake(told, SHAPE), remake(recipe, SHAPE))
    for step in (1, 2, 3):
        assert torch.equal(step_noise([told], step, SHAPE), step_noise([recipe], step, SHAPE))
    assert (first_seed(told), last_seed(told)) == (first_seed(recipe), last_seed(recipe))
    before = (*recipe[:1], ("prompt", "a cup"), *recipe[1:])
    assert torch.equal(remake(before, SHAPE), remake(recipe, SHAPE))


def test_the_last_prompt_of_a_recipe_counts_and_there_is_one_only_where_it_differs():
    plain = (("gaussian", 4),)
    told = with_prompt(plain, "a blue ring", "a ring")
    assert (prompt_of(plain, "a ring"), prompt_of(told, "a ring")) == ("a ring", "a blue ring")
    assert with_prompt(told, "a cup", "a ring") == (*plain, ("prompt", "a cup"))
    assert with_prompt(told, "a ring", "a ring") == plain
    assert prompt_of((*told, ("prompt", "a cup")), "a ring") == "a cup"


@pytest.mark.parametrize(
    "move", [("prompt", ""), ("prompt", "a\x1b[31m"), ("prompt", "a" * 2001), ("prompt", 3), ("prompt", "a", 1)]
)
def test_a_prompt_that_no_search_takes_is_refused(move):
    with pytest.raises(ValueError, match=r"prompt|too many values"):
        remake((("gaussian", 4), move), SHAPE)
