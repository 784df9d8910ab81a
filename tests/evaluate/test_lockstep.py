"""Searches in lockstep: the same records as alone, full batches, right gradients, and a batch that fits the memory."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Sequence
from typing import Any, cast

import pytest
import torch
from torch import nn

from gensearch import registry
from gensearch.core.noise import derive, randn
from gensearch.evaluate.bench import Bench
from gensearch.evaluate.joint import Call, Joint
from gensearch.evaluate.journal import Trial
from gensearch.evaluate.jury import Jury
from gensearch.evaluate.lockstep import lockstep
from gensearch.evaluate.outcome import Found
from gensearch.evaluate.proxies import JointModel, joinable
from gensearch.models.toy.gaussian import GaussianFlow, GaussianTurbo
from gensearch.resolve import resolve
from verifiers.combine import Term, WeightedSum
from verifiers.types import Media, Scores

LINES = [{"tag": "any", "prompt": f"prompt {i}"} for i in range(5)]


class Likeness:
    """A random convolution with a target for each prompt, in physical batches of four."""

    differentiable = True
    batch_size = 4

    def __init__(self, name: str = "likeness") -> None:
        self.name, self.rows = name, list[int]()
        self.model = nn.Conv2d(3, 2, 3).requires_grad_(False)
        self.model.weight.copy_(randn([derive(name)], self.model.weight.shape)[0])
        nn.init.zeros_(cast(torch.Tensor, self.model.bias))

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        if len(media) != len(prompts):
            raise ValueError(f"{len(media)} pictures and {len(prompts)} prompts")
        self.rows.append(len(media))
        wanted = torch.stack([randn([derive(prompt)], (2,))[0] for prompt in prompts]) / 4 + progress
        off = (self.model(media).mean((2, 3)) - wanted).square()
        return Scores(-off.sum(1), {"first": off[:, 0]})


def bench(search: str, model: Any, verifier: Any = None, compute: float | None = None, **knobs: Any) -> Bench:
    job = resolve(model, verifier or Likeness(), registry.search(search), knobs=knobs, compute=compute)
    return Bench({"a": job}, LINES, Jury(Likeness("judge"), {}))


TRIALS = [Trial("a", prompt, seed) for prompt in range(5) for seed in (0, 1)][:9]


def untimed(made: Any) -> dict[str, Any]:
    return {k: v for k, v in made.record.items() if k not in ("seconds", "sha256")}


@pytest.mark.parametrize(
    ("search", "settings"),
    [
        ("best_of_n", {"compute": 5}),
        ("best_of_n", {"verifier": WeightedSum(Term(Likeness("a")), Term(Likeness("b"), 0.5)), "n": 3}),
        ("zero_order", {"compute": 11, "neighbours": 3}),
        ("reno", {"iterations": 4}),
        ("dno", {"iterations": 3}),
    ],
)
@pytest.mark.parametrize(
    "model", [GaussianFlow((3, 8, 8), num_steps=3, churn=0.5, guidance=2.0), GaussianTurbo((3, 8, 8), num_steps=1)]
)
def test_a_joined_trial_is_the_trial_alone(search, settings, model):
    """Records with all counts, padding included; scores, recipes and pixels to the precision of the networks."""
    world = bench(search, model, **settings)
    together, apart = world.make(TRIALS), [world.make([trial])[0] for trial in TRIALS]
    for one, other in zip(together, apart, strict=True):
        mine, own = untimed(one), untimed(other)
        assert mine.pop("score") == pytest.approx(own.pop("score"), abs=1e-5)
        close(mine.pop("recipe"), own.pop("recipe"))
        assert mine == own
        assert "error" not in mine
        assert abs(one.pixels.astype(int) - other.pixels).max() <= 1
    for trial, (searched, _) in zip(TRIALS, world._searched(TRIALS), strict=True):
        assert isinstance(searched, Found)
        joint, single = searched.result, world._search(trial).result
        assert (joint.best.media - single.best.media).abs().max() < 1e-5
        assert [node.id for node in joint.lineage] == [node.id for node in single.lineage]
        scores = [node.score for node in single.lineage]
        assert [node.score for node in joint.lineage] == pytest.approx(scores, abs=1e-4)


def close(mine: Any, own: Any) -> None:
    """Recipes are equal, but for noise that is written out."""
    assert [move[0] for move in mine] == [move[0] for move in own]
    if mine[0][0] != "exact":
        assert mine == own


def test_bits_are_equal_where_physical_batches_are_of_one_size():
    """Four samples a trial in batches of four: each trial fills its own."""
    model = GaussianFlow((3, 8, 8), num_steps=2, churn=0.3, batch_size=4)
    world = bench("best_of_n", model, n=4)
    for one, other in zip(world.make(TRIALS), [world.make([trial])[0] for trial in TRIALS], strict=True):
        assert {**one.record, "seconds": 0} == {**other.record, "seconds": 0}
        assert (one.pixels == other.pixels).all()


def test_batches_are_full_when_other_prompts_wait():
    """Nine single samples: two batches of four and one of one for each of two steps, for the decoder and the judge."""
    model, verifier = GaussianFlow((3, 8, 8), num_steps=2, batch_size=4), Likeness()
    seen: dict[str, list[int]] = {"network": [], "decoder": []}
    for name, rows in seen.items():
        getattr(model, name).register_forward_pre_hook(lambda _, given, rows=rows: rows.append(len(given[0])))
    bench("best_of_n", model, verifier, n=1).make(TRIALS)
    assert seen == {"network": [4, 4, 1] * 2, "decoder": [4, 4, 1]}
    assert verifier.rows == [4, 4, 1]


def test_a_gradient_stays_within_its_trial():
    """Gradient steps run one by one: as many backward passes, over as many rows, as of trials alone."""
    model = GaussianTurbo((3, 8, 8), num_steps=1, batch_size=4)
    rows: list[int] = []
    model.network.register_full_backward_hook(lambda _, given, got: rows.append(len(cast(Any, got)[0])))
    world = bench("reno", model, iterations=3)
    for trial in TRIALS:
        world.make([trial])
    alone = list(rows)
    rows.clear()
    world.make(TRIALS)
    assert rows == alone
    assert sum(alone) > len(TRIALS)


def test_states_record_the_sizes_of_their_physical_batches():
    model, got = GaussianFlow((3, 8, 8), num_steps=2, batch_size=4), {}

    def work(rows: int) -> Any:
        @torch.no_grad()
        def search(ask: Any) -> torch.Tensor:
            state = JointModel(model, ask).start(["any"] * rows, randn(range(rows), model.noise_shape))
            got[rows] = JointModel(model, ask).advance(state).extra["sizes"]
            return got[rows]

        return search

    lockstep([work(3), work(2), work(1)], Joint())
    assert {rows: sizes.tolist() for rows, sizes in got.items()} == {
        3: [[4, 4]] * 3,
        2: [[4, 4], [2, 2]],
        1: [[2, 2]],
    }


# --- what goes wrong


class Fragile(GaussianTurbo):
    """Fails on one prompt, and has memory for so many rows."""

    room, failed, stop = 10**6, 0, ""

    def start(self, prompts: Sequence[str], noise: torch.Tensor) -> Any:
        if self.stop in prompts:
            raise KeyboardInterrupt
        if "prompt 3" in prompts:
            raise ValueError("no such thing")
        if len(prompts) > self.room:
            self.failed += 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().start(prompts, noise)


def test_a_trial_that_fails_leaves_the_others_alone():
    world = bench("best_of_n", Fragile((3, 8, 8), num_steps=1), n=3)
    made = world.make(TRIALS)
    assert [m.record.get("error") for m in made] == ["no such thing" if t.prompt == 3 else None for t in TRIALS]
    whole = bench("best_of_n", GaussianTurbo((3, 8, 8), num_steps=1), n=3).make(TRIALS)
    for one, other in zip(made, whole, strict=True):
        if "error" not in one.record:
            assert one.record["score"] == pytest.approx(other.record["score"], abs=1e-5)
            assert one.record["spent"] == other.record["spent"]


def test_out_of_memory_halves_the_batch_for_good():
    trials = [trial for trial in TRIALS if trial.prompt != 3]
    model = Fragile((3, 8, 8), num_steps=1, batch_size=16)
    model.room = 4
    world = bench("best_of_n", model, n=3)
    with warnings.catch_warnings(record=True, action="always") as said:
        made = world.make(trials)
    assert model.failed == 2  # 16 and 8 rows
    assert [str(one.message).split(";")[1] for one in said] == [
        f" it goes on with batches of {size}, which changes the last bits. Set a smaller batch_size to keep them"
        for size in (8, 4)
    ]
    for one, other in zip(
        made, bench("best_of_n", GaussianTurbo((3, 8, 8), num_steps=1), n=3).make(trials), strict=True
    ):
        assert one.record["score"] == pytest.approx(other.record["score"], abs=1e-5)
        assert one.record["spent"] == other.record["spent"]
    world.make(trials)
    assert model.failed == 2


def test_without_memory_for_one_sample_a_trial_fails_and_says_so():
    model = Fragile((3, 8, 8), num_steps=1)
    model.room = 0
    with warnings.catch_warnings(action="ignore"):
        made = bench("best_of_n", model, n=2).make(TRIALS[:2])
    assert [m.record["error"] for m in made] == ["CUDA out of memory"] * 2


def test_an_interrupt_ends_all_searches():
    before = threading.active_count()
    model = Fragile((3, 8, 8), num_steps=1)
    model.stop = "prompt 1"
    with pytest.raises(KeyboardInterrupt):
        bench("best_of_n", model, n=2).make(TRIALS)
    deadline = time.monotonic() + 30
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


# --- what is joined


def test_only_calls_that_agree_are_joined():
    """The progress of the sample, the resolution and gradients tell calls apart; None of the answers is mixed up."""
    verifier, small, large = Likeness(), torch.rand(2, 3, 8, 8), torch.rand(3, 3, 9, 9)
    traced = torch.rand(2, 3, 8, 8, requires_grad=True)
    asked = [
        (small, 1.0, False),
        (large, 1.0, False),
        (small, 0.5, False),
        (small.flip(0), 1.0, False),
        (traced, 1.0, True),
    ]
    calls = [Call(verifier, "score", (media, ["p"] * len(media)), 4, share, grad) for media, share, grad in asked]
    answers = [answer for answer, _ in Joint().run(calls)]
    assert verifier.rows == [4, 2, 1, 2, 2]
    for (media, share, _), answer in zip(asked, answers, strict=True):
        alone = verifier(media, ["p"] * len(media), progress=share)
        assert torch.allclose(answer.total, alone.total, atol=1e-6)
        assert torch.allclose(answer.parts["first"], alone.parts["first"], atol=1e-6)
    assert answers[4].total.requires_grad
    assert not answers[0].total.requires_grad


def test_a_call_with_too_few_prompts_is_noticed():
    verifier, media = Likeness(), torch.rand(2, 3, 8, 8)
    calls = [Call(verifier, "score", (media, ["p"] * count), 4, 1.0, False) for count in (2, 1, 3)]
    good, few, many = (answer for answer, _ in Joint().run(calls))
    assert len(good.total) == 2
    assert isinstance(few, Exception)
    assert isinstance(many, Exception)


@pytest.mark.parametrize(("name", "side_by_side"), [("toy/flow", True), ("toy/mixture", True), ("toy/chunks", False)])
def test_models_that_book_their_passes_search_one_by_one(name, side_by_side):
    assert joinable(registry.load_model(name)) == side_by_side
