"""SearchPipeline: the call, the stream, roles, budgets and Ctrl-C."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import gensearch
from gensearch import registry
from gensearch.config.run import RunConfig
from gensearch.core.ledger import BudgetSpent
from gensearch.core.sampling import generate
from gensearch.engine.run import run
from gensearch.models.toy.gaussian import GaussianMixture, GaussianTurbo
from gensearch.pipeline import SearchPipeline
from gensearch.search import SEARCHES
from verifiers.catalogue import Entry
from verifiers.combine import WeightedSum
from verifiers.controls.random import RandomScore
from verifiers.embedding.clip import CLIPScore
from verifiers.types import Scores

PROMPT = "a red star"
STAR = "a photo of a red star"  # one that the Shapes judges can read


class Brightness:
    """How light the picture is; optionally interrupted at its n-th call."""

    differentiable = True

    def __init__(self, sign: float = 1.0, name: str = "brightness", interrupt_at: int = 0) -> None:
        self.sign, self.name, self.left = sign, name, interrupt_at

    def __call__(self, media, prompts, *, progress=1.0):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return Scores(self.sign * media.flatten(1).mean(1))


def model(**options):
    return GaussianTurbo((3, 6, 6), batch_size=3, **options)


def test_a_call_is_the_same_search_as_run_and_images_are_its_winner():
    out = SearchPipeline(model(), Brightness(), compute=7)(PROMPT, seed=5)
    plain = run(SEARCHES["best_of_n"], model(), Brightness(), PROMPT, compute=7, seed=5)
    assert torch.equal(out.result.best.media, plain.best.media)
    assert out.result.ledger.spent == plain.ledger.spent
    expected = (plain.best.media * 255).round().byte().permute(1, 2, 0).numpy()
    assert len(out.images) == 1
    assert np.array_equal(np.asarray(out.images[0]), expected)


def test_one_sample_is_the_plain_model():
    out = SearchPipeline(model(), Brightness(), compute=1)(PROMPT, seed=9)
    noise = torch.randn(3, 6, 6, generator=torch.Generator().manual_seed(9))[None]
    with torch.no_grad():
        expected = generate(model(), [PROMPT], noise, [(("gaussian", 9),)])
    assert torch.equal(out.result.best.media, expected[0])
    assert not out.result.best.media.requires_grad


def test_the_dial_defaults_to_sixteen_unless_a_knob_bounds_the_search():
    pipe = SearchPipeline(model(), Brightness())
    assert pipe(PROMPT).result.ledger.spent.nfe == 16
    assert pipe(PROMPT, n=19).result.ledger.spent.nfe == 19
    assert pipe(PROMPT, compute=5).result.ledger.spent.nfe == 5
    assert SearchPipeline(model(), Brightness(), n=3)(PROMPT).result.ledger.spent.nfe == 3


def test_select_picks_and_holdout_only_reports():
    guide = Brightness()
    both = SearchPipeline(model(), guide, compute=8, holdout=[RandomScore(1)])(PROMPT)
    other = SearchPipeline(model(), guide, compute=8, holdout=[RandomScore(2, name="r2")])(PROMPT)
    assert both.result.best.id == other.result.best.id
    media = torch.stack([both.result.best.media, both.result.base.media])
    assert both.holdout == {"random": tuple(RandomScore(1)(media, [PROMPT] * 2).total.tolist())}
    darkest = SearchPipeline(model(), guide, compute=8, select=Brightness(-1, "darkness"))(PROMPT)
    assert darkest.result.best.score == max(-p.mean() for p in candidates(8))
    assert darkest.result.best.id != both.result.best.id


def candidates(count):
    for progress in SearchPipeline(model(), Brightness(), compute=count).stream(PROMPT):
        yield from progress.round.media


def test_a_holdout_that_guides_is_refused_also_by_name():
    judge = Brightness()
    with pytest.raises(ValueError, match="also guides or selects"):
        SearchPipeline(model(), judge, holdout=[judge])


HELD_OUT_TWICE = [
    ({"verifier": "random"}, "random"),
    ({"verifier": "shapes/partial+0.5*random"}, "random"),
    ({"verifier": "random"}, "1*random"),
    ({"verifier": "random"}, "2*random"),
    ({"verifier": "shapes/judge", "select": "0.1*random"}, "shapes/partial+random"),
    ({"verifier": "shapes/judge", "select": "rank(shapes/partial,random)"}, "random"),
]


@pytest.mark.parametrize(("roles", "holdout"), HELD_OUT_TWICE)
def test_a_judge_that_guides_or_selects_is_no_holdout_under_any_name(roles, holdout):
    with pytest.raises(ValueError, match="also guides or selects"):
        SearchPipeline(model(), **roles, holdout=[holdout])
    with pytest.raises(ValueError, match="also guides or selects"):
        RunConfig(prompt=PROMPT, **roles, holdout=[holdout])


def test_holdouts_have_names_of_their_own():
    with pytest.raises(ValueError, match="two hold-outs are called 'random'; give each a name of its own"):
        SearchPipeline(model(), Brightness(), holdout=[RandomScore(1), RandomScore(2)])


def test_a_network_is_loaded_once_for_all_its_roles(monkeypatch):
    loads = []

    def loaded():
        loads.append(1)
        return RandomScore()

    monkeypatch.setitem(registry.VERIFIERS, "random", Entry(loaded, ""))
    pipe = SearchPipeline(model(), "random", select="random+shapes/judge", holdout=["shapes/partial"])
    assert loads == [1]
    assert isinstance(pipe.panel.select, WeightedSum)
    assert pipe.panel.select.terms[0].verifier is pipe.panel.guide


def test_networks_run_where_the_model_does():
    there = model()
    there.device = "meta"
    pipe = SearchPipeline(there, "random+0.5*shapes/clip", holdout=["shapes/clip-holdout"])
    assert isinstance(pipe.panel.guide, WeightedSum)
    for judge in (pipe.panel.guide.terms[1].verifier, pipe.panel.holdout["shapes/clip-holdout"]):
        assert isinstance(judge, CLIPScore)
        assert judge.device.type == "meta"


def test_a_rank_vote_selects_by_name():
    out = SearchPipeline(model(), Brightness(), compute=6, select="rank(random,2*random+shapes/judge)")(STAR)
    assert out.result.ledger.spent.scored == 6 * 4
    assert out.result.best.score == out.result.best.parts["random"]
    with pytest.raises(ValueError, match="can only select"):
        SearchPipeline(model(), "rank(random,shapes/judge)")


def test_nothing_selects_for_the_control():
    pipe = SearchPipeline(model(), Brightness(), "unguided", select="random")
    with pytest.raises(ValueError, match="'random' would pick the winner"):
        pipe(PROMPT)


def test_options_are_for_models_that_are_not_loaded_yet():
    assert SearchPipeline("toy/flow", "random", options={"steps": 3, "batch_size": 2}).model.batch_size == 2
    with pytest.raises(ValueError, match=r"toy/turbo is loaded already, so batch_size would do nothing"):
        SearchPipeline(model(), "random", options={"batch_size": 2})


def test_a_loaded_pipeline_is_wrapped_with_options():
    class Plain:
        def __call__(self, prompt, latents, num_inference_steps=1):
            return latents

    with pytest.raises(ValueError, match="unknown option 'stepz'"):
        SearchPipeline(Plain(), "random", options={"noise_shape": (3, 4, 4), "stepz": 2})


def test_ctrl_c_keeps_the_best_so_far():
    out = SearchPipeline(model(), Brightness(interrupt_at=3), compute=30)(PROMPT)
    calm = SearchPipeline(model(), Brightness(), compute=8)(PROMPT)  # two rounds of four
    assert out.result.stopped == "closed"
    assert out.result.best.id == calm.result.best.id
    assert len(out.result.curve) == 8


def test_ctrl_c_before_the_first_sample_is_an_interrupt():
    pipe = SearchPipeline(model(), Brightness(interrupt_at=1), compute=30)
    with pytest.raises(KeyboardInterrupt):
        pipe(PROMPT)


def test_a_stream_can_be_left_at_any_time_and_leaves_gradients_on():
    stream: Any = SearchPipeline(model(), Brightness(), compute=100).stream(PROMPT)  # a generator
    first = next(stream)
    assert torch.is_grad_enabled()
    stream.close()
    assert first.ledger.spent.nfe == 4
    assert first.best.score == first.round.scores.total.max()


def test_names_options_and_knobs_from_pretrained():
    pipe = SearchPipeline.from_pretrained(
        "toy/mixture", "random", "zero_order", compute=4, options={"steps": 2, "batch_size": 2}, neighbours=2
    )
    assert isinstance(pipe.model, GaussianMixture)
    out = pipe("a green ring", seed=3)
    assert out.result.ledger.spent.nfe == 8
    assert out.result.best.score == out.result.curve[-1].best


def test_a_config_describes_the_same_pipeline():
    config = RunConfig(prompt=PROMPT, model="toy/flow", verifier="random", knobs={"n": 5}, seed=4, options={"steps": 3})
    a = SearchPipeline.from_config(config)(config.prompt, config.seed)
    b = SearchPipeline.from_pretrained("toy/flow", "random", options={"steps": 3}, n=5)(PROMPT, 4)
    assert a.result.best.recipe == b.result.best.recipe
    assert a.result.ledger.spent.nfe == 15


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"verifier": "rondom"}, "did you mean 'random'"),
        ({"search": "best_of_m"}, "did you mean 'best_of_n'"),
        ({"m": 3}, "unknown knob 'm'"),
        ({"n": -1}, "it should be above 0"),
        ({"n": True}, "knob n of best_of_n is True"),
        ({"verifier": 3}, "verifier 3 is none; give a name, such as 'shapes/clip'"),
        ({"select": 3}, "verifier 3 is none"),
        ({"holdout": [3]}, "verifier 3 is none"),
        ({"search": 3}, "search 3 is none; give a name, such as 'best_of_n'"),
    ],
)
def test_mistakes_are_refused_when_the_pipeline_is_made(settings, message):
    with pytest.raises(ValueError, match=message):
        SearchPipeline(model(), **{"verifier": Brightness(), **settings})


@pytest.mark.parametrize("compute", [0, -3, float("nan"), float("inf"), "4", True])
def test_impossible_budgets_are_refused_at_the_call(compute):
    pipe = SearchPipeline(model(), Brightness())
    with pytest.raises((ValueError, BudgetSpent), match="compute"):
        pipe.stream(PROMPT, compute=compute)


def test_the_public_names_exist_and_others_do_not():
    assert {name: getattr(gensearch, name) for name in gensearch.__all__}["SearchPipeline"] is SearchPipeline
    with pytest.raises(AttributeError, match="no attribute 'Pipeline'"):
        gensearch.Pipeline  # noqa: B018


def test_a_holdout_that_cannot_judge_the_prompt_says_so_before_the_budget_is_spent():
    guide = Brightness(interrupt_at=2)  # a second round would be interrupted
    pipe = SearchPipeline(model(), guide, compute=50, holdout=["shapes/judge"])
    with pytest.raises(ValueError, match="cannot read the prompt 'nothing that this world can draw'"):
        pipe("nothing that this world can draw")
    assert guide.left == 1


def test_a_model_that_also_looks_judges_itself():
    from gensearch.models.tokens.janus import Janus
    from tests.builders.tiny_janus import janus

    pipeline = janus()
    pipeline.processor.chat_template = "{{ '<image> ' }}{{ messages[0]['content'][1]['text'] }}"
    model = Janus(pipeline, plan="none", context=24, steps=2, batch_size=2, question="draw {prompt} ?")
    out = SearchPipeline(model, "self+0.5*redness", "suffix_mcmc", compute=4)("a red star")
    assert set(out.result.best.parts) == {"self", "redness"}
    assert 0 <= out.result.best.parts["self"] <= 1
    with pytest.raises(ValueError, match="'self' is the score of a generator that also answers questions"):
        SearchPipeline("toy/flow", "self")
