"""Memory: only real winners, never of a benchmark, a cold start always beside them; and what they teach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cosine_similarity

from gensearch.core.noise import exact, gaussian, randn
from gensearch.engine.run import run
from gensearch.search import SEARCHES
from hypernoise.artefact import HyperNoise
from hypernoise.config import TrainConfig
from hypernoise.distil import distil, training_pairs
from hypernoise.form import TokensForm, build
from hypernoise.memory import JOURNAL, Memory, WarmStart
from hypernoise.propose import load
from hypernoise.train import Trainer
from tests.builders.hypernoise import same, trainer
from tests.builders.identity import Identity, Linear

DIRECTION = randn([9], (2, 2, 2))[0]


@pytest.fixture
def model() -> Any:
    return Identity()


@pytest.fixture
def memory(tmp_path: Path, model: Any) -> Memory:
    return Memory(tmp_path / "memory", model, "linear")


def far(seed: int) -> tuple[Any, ...]:
    """A recipe that begins at a seed and ends two steps along the direction."""
    end = randn([seed], (2, 2, 2)) + 2 * DIRECTION
    return (("gaussian", seed), exact(end))


def fill(memory: Memory, prompts: list[str], copies: int = 1) -> None:
    for i, prompt in enumerate(prompts * copies):
        assert memory.remember(prompt, far(i), 1.0 + i, 0.5)


def test_winners_come_back_from_disk(memory, model):
    found = run(SEARCHES["best_of_n"], model, Linear(DIRECTION), "a red star", n=8, seed=3)
    assert memory.add("a red star", found)
    assert not memory.add("a red star", found), "known already"
    again = Memory(memory.folder, model, "linear")
    assert [w[:4] for w in again.winners] == [("a red star", found.best.recipe, found.best.score, found.base.score)]
    assert torch.equal(again.winners[0].embedding, memory.winners[0].embedding)


def test_a_search_that_gained_nothing_and_benchmark_prompts_are_not_remembered(memory):
    assert not memory.remember("a red star", far(1), 0.5, 0.5)
    assert not (memory.folder / JOURNAL).exists()
    with pytest.raises(
        ValueError, match="this search holds 1 prompts of benchmarks, .*'a photo of a bench' of GenEval"
    ):
        memory.remember("a photo of a bench", far(1), 2.0, 0.5)


def test_a_winner_of_a_rewritten_prompt_is_not_remembered(memory):
    assert not memory.remember("a red star", (*far(1), ("prompt", "a star in red")), 2.0, 0.5)
    assert memory.remember("a red star", far(1), 2.0, 0.5)


def test_one_memory_is_of_one_model_and_one_verifier(memory, model):
    fill(memory, ["a red star"])
    with pytest.raises(ValueError, match="remembers identity with verifier linear, not identity with other"):
        Memory(memory.folder, model, "other")
    with pytest.raises(
        ValueError, match=r"remembers identity with noise of \[2, 2, 2\], not \[2, 4, 4\]; load the gen"
    ):
        Memory(memory.folder, Identity((2, 4, 4)), "linear")
    model.network[0].weight.add_(1)
    with pytest.raises(ValueError, match="remembers identity with other weights; load the generator"):
        Memory(memory.folder, model, "linear")
    (memory.folder / JOURNAL).write_text('{"model": 1}\n')
    with pytest.raises(ValueError, match="is damaged: a line is no winner"):
        Memory(memory.folder, model, "linear")


def test_the_nearest_prompt_comes_first_and_of_equals_the_better(memory):
    fill(memory, ["a red star", "a blue cat", "a red star"])
    found = memory.nearest("a red star", 2)
    assert [(w.prompt, w.score) for w in found] == [("a red star", 3.0), ("a red star", 1.0)]


def test_seeds_decide_which_starts_are_cold_and_the_others_lie_near_a_winner(memory, model):
    fill(memory, ["a red star"])
    seeds = list(range(10, 210))
    prompts = ["a red star"] * len(seeds)
    noise = WarmStart(memory, cosine=0.9)(model, prompts, seeds)
    cold = (noise == gaussian(model, prompts, seeds)).flatten(1).all(1)
    assert 80 < cold.sum() < 120
    winner = randn([0], (2, 2, 2)) + 2 * DIRECTION
    alike = cosine_similarity(noise[~cold].flatten(1), winner.flatten(1))
    assert alike.tolist() == pytest.approx([0.9] * len(alike), abs=1e-5)


def test_a_start_does_not_depend_on_its_company(memory, model):
    fill(memory, ["a red star", "a blue cat"])
    seeds, prompts = [5, 6, 7, 8, 9, 10, 11, 12], ["a red star", "a blue cat"] * 4
    warm = WarmStart(memory)
    together = warm(model, prompts, seeds)
    assert (together != gaussian(model, prompts, seeds)).flatten(1).any(1).sum() > 1
    for row, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
        assert torch.equal(warm(model, [prompt], [seed])[0], together[row])


@pytest.mark.parametrize("name", ["best_of_n", "zero_order", "reno"])
def test_the_first_start_of_a_search_is_cold_whatever_its_seed_and_single_ones_may_be_warm(memory, model, name):
    fill(memory, ["a red star"])
    knobs: dict[str, dict[str, Any]] = {
        "best_of_n": {"n": 6},
        "zero_order": {"patience": 1, "neighbours": 1},
        "reno": {"chains": 6, "lr": 1e-9},
    }
    warm = []
    for seed in range(6):
        settings = {"seed": seed, "compute": 12, "propose": WarmStart(memory), **knobs[name]}
        found = run(SEARCHES[name], model, Linear(DIRECTION), "a red star", **settings)
        assert torch.equal(found.base.media[None], gaussian(model, ["a red star"], [seed]))
        fresh = [node.recipe for node in found.lineage if node.parent is None]
        warm += [recipe[1:] != (exact(randn([recipe[0][1]], (2, 2, 2))),) for recipe in fresh[1:]]
    assert len(warm) > 10
    assert 0.2 < sum(warm) / len(warm) < 0.8


def test_an_empty_memory_is_plain_noise(memory, model):
    seeds = [1, 2, 3]
    assert torch.equal(WarmStart(memory)(model, ["a"] * 3, seeds), gaussian(model, ["a"] * 3, seeds))


def test_a_search_begins_with_its_plain_sample_and_gains_from_what_is_remembered(memory, model):
    """The reward is linear and winners lie 2 |a|^2 above the average: half of the samples gain most of that."""
    fill(memory, ["a red star"], copies=4)
    verifier = Linear(DIRECTION)
    cold, warm = (
        [run(SEARCHES["best_of_n"], model, verifier, "a red star", n=4, seed=s, propose=p) for s in range(20)]
        for p in (gaussian, WarmStart(memory))
    )
    assert all(torch.equal(a.base.media, b.base.media) for a, b in zip(cold, warm, strict=True))
    gains = torch.tensor([b.best.score - a.best.score for a, b in zip(cold, warm, strict=True)])
    assert gains.mean() > 3 * gains.std() / 20**0.5 > 0


def test_a_memory_is_a_proposal_by_the_name_of_its_folder(memory, model):
    fill(memory, ["a red star"])
    assert isinstance(load(str(memory.folder), model, 1.0), WarmStart)
    with pytest.raises(ValueError, match="is a memory, which has no gain; leave out 0.5"):
        load(str(memory.folder), model, 0.5)


def test_training_pairs_are_the_shifts_that_searches_found(memory, model):
    fill(memory, ["a red star", "a blue cat"])
    memory.remember("two green dogs", (("gaussian", 7),), 3.0, 1.0)
    prompts, start, shift = training_pairs(memory.winners, model)
    assert prompts == ["a red star", "a blue cat", "two green dogs"]
    assert torch.equal(start, randn([0, 1, 7], (2, 2, 2)))
    assert torch.allclose(shift[:2], 2 * DIRECTION.expand(2, -1, -1, -1), atol=1e-6)
    assert not shift[2].any()
    for winners in (memory.winners[:0], memory.winners[2:]):
        with pytest.raises(ValueError, match="winners has a shifted noise, so there is nothing to distil"):
            training_pairs(winners, model)


@pytest.mark.slow
def test_distillation_learns_the_shift(memory, model):
    fill(memory, ["a red star", "a blue cat"], copies=8)
    network = build(TokensForm(width=16), model)
    losses = list(distil(network, model, memory.winners, steps=150, batch=16, lr=1e-2))
    assert losses[0] == pytest.approx(float((2 * DIRECTION).square().mean()), rel=1e-4)
    assert losses[-1] < 0.01 * losses[0]
    f = network(randn([99], (2, 2, 2)), *model.conditions(["a red star"]))  # a noise that was not distilled
    assert cosine_similarity(f.flatten(), DIRECTION.flatten(), dim=0) > 0.95


def test_what_distillation_reads_of_a_prompt_is_the_template(memory, model, monkeypatch):
    fill(memory, ["a red star"])
    read: list[str] = []
    conditions = model.conditions

    def noted(prompts):
        read.extend(prompts)
        return conditions(prompts)

    monkeypatch.setattr(model, "conditions", noted)
    run = trainer(memory.folder / "run", model, Linear(DIRECTION), distil={"memory": str(memory.folder), "steps": 2},
                  steps=0, template="draw: {prompt}")  # fmt: skip
    list(run)
    assert read[-2:] == ["draw: a red star"] * 2


def test_a_run_killed_after_its_distillation_does_not_repeat_it(memory, model):
    fill(memory, ["a red star"], copies=3)
    taught = {"memory": str(memory.folder), "steps": 5, "lr": 1e-2}

    def begin(name: str, steps: int) -> Trainer:
        return trainer(memory.folder / name, model, Linear(DIRECTION), distil=taught, steps=steps, save_every=100)

    whole, cut = begin("whole", 3), begin("cut", 3)
    list(whole)
    next(iter(cut))  # lost, since no checkpoint came after the distillation
    second = begin("cut", 3)
    assert second.lesson == cut.lesson
    assert [update.step for update in second] == [1, 2, 3]
    assert same(whole, second)
    night = begin("night", 0)
    list(night)
    again = begin("night", 0)
    list(again)
    assert all(torch.equal(p, q) for p, q in zip(night.params, again.params, strict=True))


def test_a_run_is_distilled_first_and_then_trained_by_the_reward(memory, model):
    fill(memory, ["a red star"], copies=8)
    taught = {"memory": str(memory.folder), "steps": 100, "lr": 1e-2}
    night = trainer(memory.folder / "night", verifier=Linear(DIRECTION), distil=taught, steps=0)
    assert list(night) == []
    assert night.lesson is not None
    assert night.lesson < 0.05 * float((2 * DIRECTION).square().mean())
    moved: HyperNoise = night.result()
    noise = moved(model, ["a red star"], [5]) - gaussian(model, ["a red star"], [5])
    assert cosine_similarity(noise.flatten(), DIRECTION.flatten(), dim=0) > 0.9
    day = trainer(memory.folder / "day", verifier=Linear(DIRECTION), distil=taught, steps=2, save_every=1)
    first, _ = day
    plain = next(iter(trainer(memory.folder / "plain", verifier=Linear(DIRECTION))))
    assert first.reward > plain.reward + 1
    assert TrainConfig.model_validate(day.config.model_dump()) == day.config
