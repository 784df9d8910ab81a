"""Training: the right gradient, the known tilt, the same result however it is cut up, and nothing lost by a kill."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from gensearch.core.noise import derive, randn
from gensearch.models.native.stable_diffusion import StableDiffusion
from gensearch.search.gradient.climb import clip
from gensearch.testing.witness import weights_of
from hypernoise.config import TrainConfig
from hypernoise.network import trainable
from hypernoise.train import Trainer, rate
from tests.builders import tiny
from tests.builders.hypernoise import CASES, PROMPTS, TOKENS, case, outcome, same, state, trainer
from tests.builders.identity import Bowl, Identity, Linear
from verifiers.controls.redness import Redness
from verifiers.types import Scores

ROOT = Path(__file__).parents[2]


def test_the_gradient_is_that_of_the_whole_graph(tmp_path):
    """temperature * |f|^2 / 2 - reward(x + f), differentiated in one piece through generator, decoder and reward."""
    model = StableDiffusion(tiny.stable_diffusion(), steps=1, guidance_scale=0, batch_size=6)
    model.pipeline.vae.requires_grad_(False)
    model.pipeline.unet.requires_grad_(False)
    run = trainer(tmp_path, model, Redness(), temperature=0.003)
    with torch.no_grad():
        for i, parameter in enumerate(run.params):
            parameter.add_(0.05 * randn([i], parameter.shape)[0])
    loss, (reward, scored, nats) = run.loss(range(6))
    ours = torch.autograd.grad(loss, run.params)

    texts = [PROMPTS[derive(0, "prompt", 0, row) % 3] for row in range(6)]
    noise = randn([derive(0, "noise", 0, row) for row in range(6)], model.noise_shape)
    f = run.network(noise, *model.conditions(texts))
    score = Redness()(model.render(model.start(texts, noise + f)), texts).total
    whole = 0.003 * f.square().sum() / 2 - score.sum()
    theirs = torch.autograd.grad(whole, run.params)
    assert scored == 6
    assert reward.item() == pytest.approx(score.sum().item(), rel=1e-5)
    assert nats.item() == pytest.approx(f.square().sum().item() / 2, rel=1e-5)
    scale = max(g.abs().max() for g in theirs)
    assert scale > 1e-4
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).abs().max() < 2e-5 * scale


def test_unrolled_rows_pass_their_gradient_through_every_pass(tmp_path):
    """Rows take one and two passes in turn: reward(x + f) and reward(x + f + f(x + f)), each in one piece."""
    model = StableDiffusion(tiny.stable_diffusion(), steps=1, guidance_scale=0, batch_size=2)
    model.pipeline.vae.requires_grad_(False)
    model.pipeline.unet.requires_grad_(False)
    run = trainer(tmp_path, model, Redness(), temperature=0.003, unroll=2, batch=4, lr=1e-9)
    with torch.no_grad():
        for i, parameter in enumerate(run.params):
            parameter.add_(0.05 * randn([i], parameter.shape)[0])

    def whole(row):
        texts = [PROMPTS[derive(0, "prompt", 0, row) % 3]]
        noise, conditions = randn([derive(0, "noise", 0, row)], model.noise_shape), model.conditions(texts)
        f = run.network(noise, *conditions)
        f = f if row % 2 == 0 else f + run.network(noise + f, *conditions)
        score = Redness()(model.render(model.start(texts, noise + f)), texts).total
        return 0.003 * f.square().sum() / 2 - score.sum()

    theirs = torch.autograd.grad(sum(whole(row) for row in range(4)) / 4, run.params)
    norm = torch.stack([g.square().sum() for g in theirs]).sum().sqrt()
    update = run.update()
    assert update.norm == pytest.approx(norm.item(), rel=1e-4)
    assert run.ledger.spent.proposed == 6
    assert run.result().cost.proposed == 2


@pytest.mark.slow
@pytest.mark.parametrize("price", [{"temperature": 0.25}, {"temperature": None, "mean_weight": 1.5}])
def test_a_linear_reward_is_tilted_by_its_direction_over_the_temperature(tmp_path, price):
    direction = randn([7], (2, 2, 2))[0]
    alpha = 0.25 if price["temperature"] else 2 * 1.5 / 8
    identity = Identity()
    run = trainer(tmp_path, identity, Linear(direction), steps=200, lr=0.04, lr_end=0.0, max_norm=100, **price)
    *_, last = run
    noise = randn(range(4), (2, 2, 2))
    moved = run.network(noise, *identity.conditions(PROMPTS + PROMPTS[:1]))
    assert last.temperature == pytest.approx(alpha)
    assert (moved - direction / alpha).abs().max() < 0.02 * (direction / alpha).abs().max()
    assert last.nats == pytest.approx(float((direction / alpha).square().sum() / 2), rel=0.04)


@pytest.mark.parametrize(
    ("order", "variance"), [(1, 1 / (1 + 2.0) ** 2), pytest.param(12, 1 / (1 + 2.0), marks=pytest.mark.slow)]
)
def test_a_quadratic_reward_is_tilted_to_its_known_mean_and_variance(tmp_path, order, variance):
    """Reward -lam/2 (x - m)^2 at temperature 1: the surrogate makes the spread too small, the full KL does not."""
    m, lam = 1.5, 2.0
    run = trainer(tmp_path, Identity((1, 1, 1), 64), Bowl(m, lam), temperature=1.0, order=order, steps=1)
    a, b = torch.tensor(0.0, requires_grad=True), torch.tensor(0.0, requires_grad=True)  # f(x) = a x + b
    run.network.forward = lambda x, *text: a * x + b
    adam = torch.optim.Adam([a, b], lr=0.02)
    for _ in range(250):
        adam.zero_grad()
        run.config = run.config.model_copy(update={"seed": run.config.seed + 1})
        (run.loss(range(64))[0] / 64).backward()
        adam.step()
    assert b.item() == pytest.approx(lam * m / (1 + lam), rel=0.03)
    assert (1 + a.item()) ** 2 == pytest.approx(variance, rel=0.06)


def test_a_budget_in_nats_is_kept_by_the_temperature(tmp_path):
    direction = randn([7], (2, 2, 2))[0]
    run = trainer(tmp_path, verifier=Linear(direction), steps=200, lr=0.04, max_norm=100, budget=3.0, temperature=0.1)
    *_, last = run
    assert last.nats == pytest.approx(3.0, rel=0.05)
    assert last.temperature == pytest.approx(float(direction.norm()) / math.sqrt(2 * 3.0), rel=0.05)


def test_every_sample_is_clipped_by_itself(tmp_path):
    run = trainer(tmp_path, verifier=Linear(100 * randn([1], (2, 2, 2))[0]), sample_norm=0.5)
    run.loss(range(6))[0].backward()
    network: Any = run.network
    bias = network.leave.bias.grad
    slope = clip(100 * randn([1], (2, 2, 2)), 0.5)[0]
    assert bias.tolist() == pytest.approx((-6 * slope.sum((1, 2))).tolist(), rel=1e-4)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_run_that_was_killed_ends_with_the_same_bits(tmp_path, optimizer):
    settings = {"optimizer": optimizer, "save_every": 3, "warmup": 2, "lr_end": 0.1, "budget": 1.0}
    whole = trainer(tmp_path / "whole", **settings)
    list(whole)
    first = trainer(tmp_path / "cut", **settings)
    assert len(list(islice(first, 4))) == 4  # one update after the checkpoint, which is lost
    second = trainer(tmp_path / "cut", **settings)
    assert second.done == 3
    assert [update.step for update in second] == [4, 5, 6]
    assert same(whole, second)
    assert whole.temperature == second.temperature
    assert whole.ledger.spent == second.ledger.spent
    assert list(trainer(tmp_path / "cut", **settings)) == []


def test_another_recipe_does_not_go_on_with_a_run(tmp_path):
    list(trainer(tmp_path))
    with pytest.raises(ValueError, match="holds another training: lr differ. Take another --out"):
        trainer(tmp_path, lr=0.5)


def test_training_starts_from_a_trained_network(tmp_path):
    first = trainer(tmp_path / "first")
    *_, last = first
    first.result().save_pretrained(tmp_path / "trained")
    start = str(tmp_path / "trained")
    second = trainer(tmp_path / "second", start=start)
    for mean, own, averaged in zip(first.ema, second.params, second.ema, strict=True):
        assert (mean.detach() - own).abs().max() <= 2e-3 * mean.detach().abs().max()  # stored in fp16
        assert torch.equal(own.detach(), averaged)
    assert next(iter(second)).reward > next(iter(trainer(tmp_path / "fresh"))).reward
    with pytest.raises(ValueError, match="start.*of another form"):
        trainer(tmp_path / "other", start=start, form={**TOKENS, "width": 16})


@pytest.mark.parametrize("order", [1, 2])
def test_pieces_add_up(tmp_path, order):
    """A batch in one pass, or in passes of two rows: the same update."""
    settings = {"batch": 7, "optimizer": "sgd", "order": order}
    one, many = (trainer(tmp_path / str(size), Identity(batch_size=size), **settings) for size in (7, 2))
    for a, b in zip(one, many, strict=True):
        assert a.reward == pytest.approx(b.reward, rel=1e-5, abs=1e-6)
        assert a.nats == pytest.approx(b.nats, rel=1e-4, abs=1e-6)
        assert a.norm == pytest.approx(b.norm, rel=1e-4)
    for p, q in zip(one.params, many.params, strict=True):
        assert (p - q).abs().max() < 1e-5


@pytest.fixture(scope="module")
def twice(tmp_path_factory) -> tuple[Path, list[str]]:
    """Every case on two processes: its folder, and what the runs said."""
    folder = tmp_path_factory.mktemp("two")
    module = ["-m", "tests.builders.two_processes"]  # as a script its folder would hide the package hypernoise
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", *module, str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=170, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder, done.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_processes_do_what_one_does(tmp_path, twice, name):
    folder, said = twice
    single = case(name, tmp_path)
    assert f"{name}: {outcome(single)}" in said
    double = case(name, folder)
    assert double.done == 4
    assert max((p - q).abs().max() for p, q in zip(single.params, double.params, strict=True)) < 1e-6
    assert double.skipped == name.startswith("not")


def test_an_update_that_is_no_number_is_left_out(tmp_path, monkeypatch):
    run = trainer(tmp_path)
    updates = iter(run)
    next(updates)
    before, loss = state(run), run.loss
    before = {name: tensor.clone() for name, tensor in before.items()}
    monkeypatch.setattr(run, "loss", lambda rows, passes: (loss(rows, passes)[0] * math.nan, torch.zeros(3)))
    assert next(updates).skipped == 1
    assert all(torch.equal(before[name], tensor) for name, tensor in state(run).items())
    monkeypatch.undo()
    assert next(updates).skipped == 1
    assert not torch.equal(before["p0"], run.params[0])


def test_the_mean_reward_is_that_of_the_rows_that_could_be_scored(tmp_path):
    class Picky(Linear):
        def __call__(self, media: Any, prompts: Any, *, progress: float = 1.0) -> Scores:
            total = super().__call__(media, prompts).total + 100
            return Scores(total.masked_fill(torch.tensor([prompt == PROMPTS[0] for prompt in prompts]), math.nan))

    seen = [PROMPTS[derive(0, "prompt", 0, row) % 3] for row in range(6)]
    assert 0 < seen.count(PROMPTS[0]) < 6
    first = next(iter(trainer(tmp_path, verifier=Picky(0.01 * torch.ones(2, 2, 2)))))
    assert first.reward == pytest.approx(100, abs=1)


def test_the_generator_is_never_touched_and_its_passes_are_counted(tmp_path):
    model = StableDiffusion(tiny.stable_diffusion(), steps=1, guidance_scale=0, batch_size=3)
    networks = {name: getattr(model.pipeline, name) for name in ("unet", "vae", "text_encoder")}
    before = weights_of(networks)
    run = trainer(tmp_path, model, Redness(), form={"kind": "low_rank", "rank": 2}, steps=3)
    list(run)
    assert weights_of(networks) == before
    spent = run.ledger.spent
    assert (spent.nfe, spent.backward, spent.decoded, spent.scored, spent.proposed) == (18, 18, 18, 18, 18)
    assert {p.dtype for p in trainable(run.network).values()} == {torch.float32}


def test_noise_is_fresh_for_every_row_unless_it_shall_be_shared(tmp_path, monkeypatch):
    seen: list[torch.Tensor] = []
    for kind in ("fresh", "shared"):
        run = trainer(tmp_path / kind, noise=kind)

        def noted(prompts, noise, start=run.model.start):
            seen.append(noise.detach())
            return start(prompts, noise)

        monkeypatch.setattr(run.model, "start", noted)
        run.loss(range(4))
    fresh, shared = seen
    assert len({row.sum().item() for row in fresh}) == 4
    assert all(torch.equal(row, shared[0]) for row in shared)


def test_a_plain_function_with_gradients_trains_as_the_verifier_that_it_is(tmp_path):
    direction = torch.ones(2, 2, 2)

    def linear(media, prompts):
        return whole(media, prompts).total

    whole = Linear(direction)
    with pytest.raises(ValueError, match=r"linear gives none.*say so by differentiable = True"):
        trainer(tmp_path / "refused", verifier=linear)
    linear.differentiable = True  # type: ignore[attr-defined]
    losses = [trainer(tmp_path / str(i), verifier=v).loss(range(4))[0].item() for i, v in enumerate((linear, whole))]
    assert losses[0] == losses[1]


def test_models_and_rewards_without_gradients_are_refused(tmp_path):
    from gensearch import registry

    with pytest.raises(ValueError, match="gives none"):
        trainer(tmp_path, verifier=registry.verifier("random"))
    with pytest.raises(ValueError, match="does not let its network be copied"):
        trainer(tmp_path, registry.load_model("toy/turbo"), Redness())


def test_benchmark_prompts_are_never_learned_from(tmp_path):
    config, accelerator = TrainConfig(temperature=1), Accelerator(cpu=True)
    with pytest.raises(ValueError, match="the training set holds 1 prompts of benchmarks, .* of T2I-CompBench"):
        Trainer(config, Identity(), Linear(torch.ones(2, 2, 2)), ["two dogs"], tmp_path, accelerator)


def test_the_rate_rises_and_falls():
    config = TrainConfig(temperature=1, steps=100, warmup=10, lr_end=0.2)
    rates = [rate(config, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1, rel=0.01)
    assert max(rates) == rates[9] > 0.97
    assert rates[-1] == pytest.approx(0.2, abs=0.001)
    assert {rate(TrainConfig(temperature=1), step) for step in range(5)} == {1.0}
