"""The laws of models as a pytest class: subclass `ModelLaws` and give it a `model` fixture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gensearch.core.ledger import Cost, Ledger
from gensearch.core.noise import randn
from gensearch.core.price import price
from gensearch.core.sampling import generate
from gensearch.core.types import cat
from gensearch.engine.metered import MeteredModel
from gensearch.testing.samples import (
    CLOSE,
    PROMPTS,
    SEEDS,
    assert_same,
    companies,
    fresh,
    needs,
    physical_sizes,
    plain,
    recipes,
    rounding,
    rows,
    started,
    together,
)
from gensearch.testing.witness import Failure, assert_booked, calls_of, counting, disturb, global_state, weights_of
from verifiers.types import Media


class ModelLaws:
    """The laws of the Model contract; those about optional verbs are skipped for models without them.

    Give a `networks` fixture to have the account checked against forward hooks.
    """

    @pytest.fixture
    def model(self) -> Any:
        """The model under test."""
        raise NotImplementedError("give your subclass of ModelLaws a `model` fixture")

    @pytest.fixture
    def networks(self, model: Any) -> Mapping[str, nn.Module]:
        """The real modules by ledger column: {"nfe": denoiser, "decoded": decoder}."""
        return {}

    def test_says_what_it_is(self, model: Any) -> None:
        """Attributes have their types and ranges; the fingerprint is data and does not change."""
        assert isinstance(model.name, str)
        assert model.name
        assert all(isinstance(size, int) for size in model.noise_shape)
        assert min(model.num_steps, model.nfe_per_step or "tokens" in model.verbs, model.batch_size) >= 1
        assert isinstance(model.stochastic, bool)
        methods = {"rewind", "transition", "look"}
        assert model.verbs <= methods | {"branch", "gradient", "tokens", "chunks"}
        assert all(callable(getattr(model, verb)) for verb in model.verbs & methods)
        assert json.dumps(model.fingerprint()) == json.dumps(model.fingerprint())

    def test_media_are_pictures_or_clips(self, model: Any) -> None:
        """Media are floats in [0, 1] with three channels, one per prompt; previews of clips are shorter."""
        media = plain(model, rows(), SEEDS)
        with torch.no_grad():
            preview = model.render(started(model))
        shorter = "chunks" in model.verbs
        assert media.shape[1 + shorter :] == preview.shape[1 + shorter :]
        assert (len(media), len(preview)) == (len(SEEDS), len(together(model)))
        assert media.ndim in (4, 5)
        assert media.shape[-3] == 3
        assert media.is_floating_point()
        assert bool(media.ge(0).all() & media.le(1).all()), "media leave [0, 1]"

    def test_steps_are_counted(self, model: Any) -> None:
        """A sample stands at step 1 after start, one further after each advance, and is done at num_steps."""
        seeds = together(model)
        with torch.no_grad():
            state = started(model)
            for step in range(1, model.num_steps):
                assert state.step.tolist() == [step] * len(seeds)
                assert not state.done.any()
                state = model.advance(state, fresh(model, seeds, step))
        assert state.step.tolist() == [model.num_steps] * len(seeds)
        assert bool(state.done.all())

    def test_noise_matters(self, model: Any) -> None:
        """Different noise gives a different picture: a model that ignores it cannot be searched."""
        media = plain(model, [PROMPTS[0]] * 2, SEEDS[:2])
        assert not torch.equal(media[0], media[1]), "two noises gave one picture"

    def test_other_rows_do_not_matter(self, model: Any) -> None:
        """A sample has the same bits in every physical batch of one size, and nearly the same in those of others."""
        prompts, alone = rows(), plain(model, rows()[:1], SEEDS[:1])
        for size in physical_sizes(model):
            first = plain(model, prompts[:size], SEEDS[:size])
            for keep in companies(size):
                again = plain(model, [prompts[i] for i in keep], [SEEDS[i] for i in keep])
                places = [place for place, i in enumerate(keep) if i < size]
                expected = first[[keep[place] for place in places]]
                assert torch.equal(again[places], expected), f"samples {keep} depend on the others in their batch"
            torch.testing.assert_close(first[:1], alone, rtol=0, atol=CLOSE)

    def test_gather_law(self, model: Any) -> None:
        """advance(state)[keep] equals advance(state[keep]) in batches of one size, with repeats and in any order.

        Bit for bit, but for hidden states of autoregressive models on several threads: `rounding`.
        """
        needs(model, "branch", steps=2)
        for size in physical_sizes(model):
            noise = fresh(model, SEEDS[:size], 1)
            with torch.no_grad():
                state = started(model, SEEDS[:size])
                whole = model.advance(state, noise)
                for keep in ([*range(size)][::-1], [size - 1] * size):
                    assert_same(whole[keep], model.advance(state[keep], noise[keep]), rounding(model))

    def test_rows_may_stand_at_different_steps(self, model: Any) -> None:
        """States of different steps join, and each row goes on as among rows of its own step."""
        needs(model, "branch", steps=3)
        size = max(physical_sizes(model))
        with torch.no_grad():
            early, noise = started(model, SEEDS[:size]), fresh(model, SEEDS[:size], 1)
            late = model.advance(early, noise)
            apart = model.advance(early, noise), model.advance(late, noise)
            half = size // 2
            mixed = model.advance(cat([early[range(half)], late[range(half, size)]]), noise)
            expected = cat([apart[0][range(half)], apart[1][range(half, size)]])
        assert mixed.step.tolist() == expected.step.tolist()
        # Some models group rows by their step, in smaller batches.
        torch.testing.assert_close(mixed.x, expected.x, rtol=0, atol=10 * CLOSE)
        torch.testing.assert_close(mixed.clean, expected.clean, rtol=0, atol=10 * CLOSE)

    def test_global_generators_do_not_matter(self, model: Any) -> None:
        """Same seeds, same pictures, whatever the global generators hold; they are not touched."""
        disturb(1)
        first = plain(model, rows(), SEEDS)
        disturb(2)
        before = global_state()
        second = plain(model, rows(), SEEDS)
        assert torch.equal(first, second), "a global generator changed a sample"
        assert global_state() == before, "a global generator was used"

    def test_inputs_are_left_alone(self, model: Any) -> None:
        """Neither noise nor states are changed in place; rendering twice gives the same."""
        seeds = together(model)
        noise = randn(seeds, model.noise_shape)
        kept = noise.clone()
        with torch.no_grad():
            state = model.start(rows()[: len(seeds)], noise)
            copy = state[range(len(state))]
            first = model.render(state)
            if model.num_steps > 1:
                model.advance(state, fresh(model, seeds, 1))
            assert torch.equal(noise, kept), "the noise was changed"
            assert_same(state, copy)
            assert torch.equal(first, model.render(state))

    def test_stochastic_says_whether_noise_is_read(self, model: Any) -> None:
        """Step noise changes the next state if and only if `stochastic` is true."""
        needs(model, steps=2)
        seeds = together(model)
        with torch.no_grad():
            one = model.advance(started(model), fresh(model, seeds, 1))
            other = model.advance(started(model), fresh(model, seeds, 2))
        assert (not torch.equal(one.x, other.x)) is model.stochastic, "`stochastic` is wrong"

    def test_transition_is_the_kernel_of_advance(self, model: Any) -> None:
        """x after advance is mean + std * noise, to rounding."""
        needs(model, "transition", steps=2)
        noise = fresh(model, together(model), 1)
        with torch.no_grad():
            mean, std = model.transition(started(model))
            x = model.advance(started(model), noise).x
        assert mean.shape == std.shape == x.shape
        assert bool((std > 0).any()) is model.stochastic
        torch.testing.assert_close(x, mean + std * noise)

    def test_rewind_is_a_complete_state(self, model: Any) -> None:
        """Rewound rows stand where they were sent, depend on their noise alone, and can go on."""
        needs(model, "branch", "rewind", steps=2)
        step, noise = torch.ones(len(SEEDS), dtype=torch.long), fresh(model, SEEDS, 7)
        with torch.no_grad():
            late = model.advance(started(model), fresh(model, SEEDS, 1))
            back = model.rewind(late, step, noise)
            assert back.step.tolist() == step.tolist()
            assert not torch.equal(back.x, late.x)
            size = max(physical_sizes(model))
            turned = [*range(size)][::-1]
            whole = model.rewind(late[range(size)], step[:size], noise[:size])
            assert_same(whole[turned], model.rewind(late[turned], step[:size], noise[turned]))
            assert bool(model.advance(back, noise).clean.isfinite().all())

    def test_gradient_mode_is_left_alone(self, model: Any) -> None:
        """The gradient mode is the caller's: it stays as it is, and without gradients no graph is held."""
        seeds = together(model)
        for mode in (True, False):
            with torch.set_grad_enabled(mode):
                state = model.start(rows()[: len(seeds)], randn(seeds, model.noise_shape))
                assert torch.is_grad_enabled() is mode, "gradient mode was changed"
                media = model.render(state)
                assert torch.is_grad_enabled() is mode, "gradient mode was changed"
        assert not state.clean.requires_grad
        assert not media.requires_grad, "a graph is held although gradients are off"

    def test_gradients_are_those_of_the_media(self, model: Any) -> None:
        """With a graph the media keep their bits; their slopes agree with finite differences, row by row."""
        needs(model, "gradient")
        noise = randn(SEEDS, model.noise_shape)
        usual = plain(model, rows(), SEEDS)
        # Pixels that are cut off at black or white have no slope on one side.
        along = randn(SEEDS, usual.shape[1:]) * (usual.cpu() - 0.5).abs().lt(0.49)

        def projected(media: Media) -> Tensor:
            return (media.cpu().double() * along).flatten(1).sum(1)

        with torch.enable_grad():
            leaf = noise.clone().requires_grad_()
            media = generate(model, rows(), leaf, recipes(SEEDS))
            (slope,) = torch.autograd.grad(projected(media).sum(), leaf, retain_graph=True)
            (alone,) = torch.autograd.grad(projected(media)[1], leaf)
        assert torch.equal(media.detach(), usual), "recording gradients changed the media"
        assert bool(slope.isfinite().all())
        assert not alone[[i for i in range(len(SEEDS)) if i != 1]].any(), "a sample has a slope along another's noise"
        torch.testing.assert_close(alone[1], slope[1], rtol=1e-3, atol=1e-5 * float(slope.abs().max()))
        for number in range(3):
            direction, reach = randn([100 * number + seed for seed in SEEDS], model.noise_shape), 3e-3
            with torch.no_grad():
                up, down = (
                    projected(generate(model, rows(), noise + sign * reach * direction, recipes(SEEDS)))
                    for sign in (1, -1)
                )
            miss = (up - down) / (2 * reach) - (slope * direction).double().flatten(1).sum(1)
            # Against the whole slope: along one direction it may vanish by chance.
            assert bool((miss.abs() <= 1e-2 * slope.double().flatten(1).norm(dim=1)).all()), "a slope is wrong"

    def test_weights_stay(self, model: Any, networks: Mapping[str, nn.Module]) -> None:
        """Parameters and buffers keep their bits."""
        before = weights_of(networks)
        plain(model, rows(), SEEDS)
        assert weights_of(networks) == before, "weights were changed"

    def test_the_account_is_true(self, model: Any, networks: Mapping[str, nn.Module]) -> None:
        """Metered calls book exactly the rows that forward hooks count, and `price` is the cost of a sample.

        For autoregressive image models, whose plans vary in length and share contexts, it is an upper bound.
        """
        ledger = Ledger()
        with counting(networks) as counted:
            plain(MeteredModel(model, ledger), rows(), SEEDS)
        assert_booked(ledger, networks, counted)
        spent, due = ledger.spent.plus(Cost(scored=len(SEEDS))), price(model).times(len(SEEDS))
        assert all(one <= other for one, other in zip(spent, due, strict=True))
        assert spent == due or "tokens" in model.verbs

    def test_the_account_is_true_after_an_exception(self, model: Any, networks: Mapping[str, nn.Module]) -> None:
        """An exception in the third batch of first steps leaves the passes of the first two booked, no more."""
        if "nfe" not in networks:
            pytest.skip("no denoiser was given under `networks`")
        denoiser = {"nfe": networks["nfe"]}  # black boxes decode in `start` and book it in `render`
        with counting(denoiser) as one:
            started(model, SEEDS[:1])
        per_step = calls_of(denoiser, lambda: started(model, SEEDS[:1]))
        ledger = Ledger()
        size = 1 << (model.batch_size.bit_length() - 1)
        count = 2 * size + 1
        with counting(denoiser, fail_at=2 * per_step) as counted, torch.no_grad(), pytest.raises(Failure):
            MeteredModel(model, ledger).start([PROMPTS[0]] * count, randn(range(count), model.noise_shape))
        assert counted["nfe"] == 2 * size * one["nfe"]
        assert_booked(ledger, denoiser, counted)
