"""DNO: every noise moves, verifiers without gradients steer too, counts and the optimiser are exact."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gensearch.core.ledger import BudgetSpent, Cost
from gensearch.core.noise import randn, remake, step_noise
from gensearch.core.sampling import generate
from gensearch.engine.run import run, stream
from gensearch.models.toy.gaussian import GaussianFlow, GaussianTurbo
from gensearch.search.gradient.climb import EstimatedGradient
from gensearch.search.gradient.dno import dno
from gensearch.search.noise.best_of_n import best_of_n
from gensearch.testing.searches import SearchLaws
from gensearch.testing.setting import Setting
from gensearch.testing.verifiers import LinearScore
from tests.builders.rewards import STAR, Brightness, blind
from verifiers.types import Scores

SHAPE = (1, 8, 8)


class Rounded:
    """A smooth reward in steps of 0.01 without gradients."""

    name = "rounded"
    differentiable = False

    def __call__(self, media, prompts, *, progress=1.0):
        return Scores(((media.flatten(1) * torch.linspace(-1, 1, media[0].numel())).sum(1) * 100).round() / 100)


class TestDnoKeepsTheLaws(SearchLaws):
    @pytest.fixture
    def search(self):
        return dno

    @pytest.fixture
    def setting(self, search):
        return Setting(search, {"chains": 5, "lr": 0.1}, compute=60, blind=blind)


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_every_noise_takes_adams_steps(decay):
    model, verifier = GaussianFlow(SHAPE, num_steps=3, churn=0.6), Brightness()
    knobs = {"lr": 0.05, "max_norm": 0.2, "decay": decay, "regularise": "0.1*shift", "reward_weight": 2.0}
    rounds = list(stream(dno, model, verifier, STAR, seed=3, iterations=5, **knobs))
    plain = (("gaussian", 3),)
    start = torch.cat([randn([3], SHAPE), *(step_noise([plain], step, SHAPE) for step in (1, 2))])
    x = torch.nn.Parameter(start.clone())
    adam = torch.optim.AdamW([x], lr=0.05, weight_decay=decay)
    for progress in rounds:
        (recipe,) = progress.round.recipes
        ours = torch.cat([remake(recipe, SHAPE), *(step_noise([recipe], step, SHAPE) for step in (1, 2))])
        assert torch.allclose(ours, x, atol=1e-5)
        adam.zero_grad()
        media = generate(model, [STAR], x[:1], [plain], [x[1:2], x[2:]])
        (0.1 * (x - start).square().sum() / 2 - 2 * verifier(media, [STAR]).total.sum()).backward()
        torch.nn.utils.clip_grad_norm_([x], 0.2)
        adam.step()
    assert (ours - start).flatten(1).norm(dim=1).min() > 0.01, "a step's noise did not move"


def test_models_without_step_noise_move_their_first_noise_only():
    last = list(stream(dno, GaussianFlow(SHAPE, num_steps=3), Brightness(), STAR, iterations=3))[-1]
    assert last.best is not None
    assert len(last.best.recipe[-1][1]) == pytest.approx(4 * 64 * 4 / 3, abs=4)


@pytest.mark.parametrize(("verifier", "scored"), [(Brightness(), 1), (Rounded(), 1 + 5)])
def test_passes_and_questions_are_counted(verifier, scored):
    model = GaussianFlow(SHAPE, num_steps=2, guidance=2.0)
    ledger = run(dno, model, verifier, STAR, iterations=4, chains=2, probes=5).ledger
    assert ledger.spent == Cost(nfe=4 * 2 * 4, backward=3 * 2 * 4, decoded=4 * 2, scored=4 * 2 * scored)


def test_what_the_questions_cost_is_refused_beforehand():
    with pytest.raises(BudgetSpent, match="dno on toy/turbo needs 17 scored"):
        run(dno, GaussianTurbo(SHAPE), Rounded(), STAR, iterations=2, limit={"scored": 16})


def test_the_estimated_slope_is_the_true_one_on_average():
    direction = randn([5], (3, 4, 4))[0]

    class Linear:
        name, differentiable = "linear", False

        def __call__(self, media, prompts, *, progress=1.0):
            return Scores((media * direction).flatten(1).sum(1))

    verifier = EstimatedGradient(Linear(), probes=4000, seeds=[1, 2])
    media = torch.full((2, 3, 4, 4), 0.5, requires_grad=True)
    scores = verifier(media, [STAR] * 2)
    assert torch.equal(scores.total.detach(), Linear()(media.detach(), [STAR] * 2).total)
    (slope,) = torch.autograd.grad(scores.total.sum(), media)
    # E[(w.d) d] = w with covariance |w|^2 I + w w^T, so each entry has s.e. <= sqrt(2) |w| / sqrt(4000)
    error = 2**0.5 * direction.norm().item() / 4000**0.5
    assert ((slope - direction).abs() < 5 * error).all()
    assert not torch.equal(slope[0], slope[1])


def test_a_verifier_without_gradients_is_climbed():
    model = GaussianTurbo(SHAPE, std=1.0)
    knobs = {"lr": 0.1, "iterations": 40, "probes": 32, "regularise": "none"}
    gains = [run(dno, model, Rounded(), STAR, seed=s, **knobs) for s in range(3)]
    plain = [run(best_of_n, model, Rounded(), STAR, seed=s, n=120).best.score for s in range(3)]
    assert all(found.best.score > best for found, best in zip(gains, plain, strict=True))


def test_the_penalty_keeps_noise_probable_where_a_lonely_reward_does_not():
    from gensearch.search.gradient.regularise import probability

    model = GaussianTurbo((1, 32, 32), std=1.0)
    verifier = LinearScore(torch.ones(1, 32, 32))
    ends = {}
    for keep in ("none", "probability"):
        last = list(stream(dno, model, verifier, STAR, iterations=30, lr=0.05, regularise=keep, reward_weight=0.01))[-1]
        noise = remake(last.round.recipes[0], model.noise_shape)
        ends[keep] = probability(noise, noise).item()
    assert ends["probability"] < 0.5 * ends["none"]


def test_chains_do_not_see_each_other_also_without_gradients():
    model = GaussianFlow(SHAPE, num_steps=2, churn=0.5, batch_size=2)
    knobs: dict[str, Any] = {"iterations": 4, "lr": 0.1, "probes": 3}
    together = list(stream(dno, model, Rounded(), STAR, seed=9, chains=3, **knobs))
    for row in range(3):
        seed = together[0].round.recipes[row][0][1]
        alone = list(stream(dno, model, Rounded(), STAR, seed=seed, **knobs))
        for one, all_ in zip(alone, together, strict=True):
            assert torch.equal(one.round.media[0], all_.round.media[row])
            assert one.round.recipes[0] == all_.round.recipes[row]


def test_a_probe_that_cannot_be_scored_is_flat():
    class Moody(Rounded):
        """Scores pictures, and of every seven questions not the third."""

        asked = 0

        def __call__(self, media, prompts, *, progress=1.0):
            self.asked += 1
            scores = super().__call__(media, prompts)
            return scores._replace(total=scores.total * (torch.nan if self.asked % 7 == 3 else 1))

    found = run(dno, GaussianTurbo(SHAPE), Moody(), STAR, iterations=5, probes=6, lr=0.1, regularise="none")
    assert found.stopped == "finished"
    assert len(found.curve) == 5
    assert found.unscored == 5
    assert found.ledger.spent.scored == 5 * 7
    assert found.best.score > found.base.score
