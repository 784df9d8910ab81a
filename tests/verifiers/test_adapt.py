from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gensearch.core.ledger import Ledger
from gensearch.engine.metered import MeteredVerifier
from gensearch.models.toy.gaussian import GaussianTurbo
from gensearch.pipeline import SearchPipeline
from gensearch.testing import VerifierLaws
from verifiers.adapt import as_verifier, ask, scores_of
from verifiers.combine import Panel, Rephrased, Term, WeightedSum
from verifiers.types import Scores, Verifier
from verifiers.video.grid import Grid
from verifiers.video.per_frame import PerFrame
from verifiers.video.staged import Staged

MEDIA = torch.linspace(0, 1, 3 * 3 * 4 * 4).view(3, 3, 4, 4)
MEANS = MEDIA.flatten(1).mean(1)
PROMPTS = ["a", "b", "c"]


def brightness(media, prompts):
    return media.flatten(1).mean(1)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, media, prompts):
        return media.flatten(1).mean(1) * self.weight


class TestAFunctionKeepsTheLaws(VerifierLaws):
    @pytest.fixture
    def verifier(self):
        def score(media, prompts):
            finite = media.isfinite().flatten(1).all(1)
            return [float(row.mean()) if fine else None for row, fine in zip(media, finite, strict=True)]

        return as_verifier(score)

    def test_missing_prompts_are_noticed(self, verifier, media, prompts):
        assert len(verifier(media, prompts[:1]).total) == len(media)


class Whole:
    name = "whole"
    differentiable = True

    def __call__(self, media, prompts, *, progress=1.0):
        return Scores(media.flatten(1).mean(1))


class Nameless:
    def __call__(self, media, prompts, **options):
        return media.flatten(1).mean(1) + options["progress"]


class Quiet:
    name = "quiet"
    batch_size = 2

    def __call__(self, media, prompts):
        return media.flatten(1).mean(1)


def of_media_alone(media):
    return media.flatten(1).mean(1)


@pytest.mark.parametrize(
    ("given", "name", "extra"),
    [
        (brightness, "brightness", 0),
        (of_media_alone, "of_media_alone", 0),
        (partial(brightness), "brightness", 0),
        (Nameless(), "Nameless", 0.5),
        (Nameless, "Nameless", 0.5),
        (Quiet(), "quiet", 0),
        (Network(), "Network", 0),
        (Network().forward, "forward", 0),
        (lambda media, prompts, progress: brightness(media, prompts) + progress, "lambda", 0.5),
    ],
)
def test_whatever_can_be_called_with_media_is_a_verifier(given, name, extra):
    found = as_verifier(given)
    assert isinstance(found, Verifier)
    assert found.name.startswith(name)
    assert found.differentiable is False
    assert torch.equal(found(MEDIA, PROMPTS, progress=0.5).total, MEANS + extra)
    assert as_verifier(found) is found


def test_a_whole_verifier_stays_itself_and_members_of_others_are_kept():
    whole = Whole()
    assert as_verifier(whole) is whole
    assert as_verifier(Quiet()).batch_size == 2  # type: ignore[attr-defined]
    network = Network()
    assert as_verifier(network).model is network  # type: ignore[attr-defined]  # so that its weights are recorded
    with pytest.raises(AttributeError):
        as_verifier(brightness).batch_size  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (3, "verifier 3 is none; give a name, such as 'shapes/clip', or something that can be called"),
        (lambda: 1, "the verifier lambda-.* takes no media; a verifier is called as"),
        (lambda media, prompts, device: 1, "lambda-.* needs device as well; .* Give the others a default"),
        (lambda media, prompts, *, steps: 1, "needs steps as well"),
        (Term, "Term needs arguments, so it is no verifier yet; give an instance"),
    ],
)
def test_what_cannot_be_called_so_is_refused(given, words):
    with pytest.raises(ValueError, match=words):
        as_verifier(given)


async def waits(media, prompts):
    return media.flatten(1).mean(1)


class Waits:
    name, differentiable = "waits", False

    async def __call__(self, media, prompts, *, progress=1.0):
        return media.flatten(1).mean(1)


@pytest.mark.parametrize("given", [waits, Waits(), partial(waits)])
def test_async_functions_are_refused_before_anything_runs(given):
    with pytest.raises(ValueError, match="is async; give a plain function"):
        as_verifier(given)


@pytest.mark.parametrize("size", [0, -3, 2.5, "8"])
def test_a_batch_size_is_an_integer_of_one_or_more(size):
    whole = Whole()
    whole.batch_size = size  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="batch_size of the verifier whole is .* integer of 1 or more"):
        Panel(whole)


@pytest.mark.parametrize("error", [SystemExit(3), StopIteration(), GeneratorExit()])
def test_what_would_end_a_program_in_silence_is_an_error_of_the_verifier(error):
    def ends(media, prompts):
        raise error

    with pytest.raises(RuntimeError, match=rf"the verifier ends raised {type(error).__name__}"):
        ask(as_verifier(ends), MEDIA, PROMPTS)


def test_switches_of_torch_are_put_back_also_after_an_error():
    def switches(media, prompts):
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.set_num_threads(before[2] + 1)
        raise ValueError("no scores")

    before = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()
    with pytest.raises(ValueError, match="no scores"):
        ask(as_verifier(switches), MEDIA, PROMPTS)
    assert (torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()) == before


@pytest.mark.parametrize("role", ["guide", "select", "holdout"])
def test_a_verifier_that_changes_the_default_dtype_changes_no_sample(role):
    def changes(media, prompts):
        torch.set_default_dtype(torch.float64)
        return media.flatten(1).mean(1)

    guide: Any = brightness
    roles: dict[str, Any] = {
        "guide": {"verifier": changes},
        "select": {"verifier": brightness, "select": changes},
        "holdout": {"verifier": brightness, "holdout": [changes]},
    }
    given: dict[str, Any] = roles[role]
    plain = SearchPipeline(GaussianTurbo(), guide, compute=6)("a cup").result
    found = SearchPipeline(GaussianTurbo(), compute=6, **given)("a cup").result
    assert torch.equal(found.best.media, plain.best.media)
    assert [node.score for node in found.lineage] == [node.score for node in plain.lineage]


@pytest.mark.parametrize("member", [{"bill": lambda: None}, {"bill": lambda: {"dollars": 3}}, {"fee": {"nfe": 0.5}}])
def test_charges_that_no_ledger_knows_are_named(member):
    whole = Whole()
    vars(whole).update(member)
    with pytest.raises(ValueError, match=f"the {next(iter(member))} of the verifier whole is .*critic_tokens"):
        SearchPipeline(GaussianTurbo(), whole, compute=2)("a cup")


def test_a_name_is_a_text():
    odd = Quiet()
    odd.name = 3  # type: ignore[assignment]
    with pytest.raises(ValueError, match="the name of the verifier Quiet is 3; give it a text"):
        as_verifier(odd)


@pytest.mark.parametrize(
    "returned",
    [
        torch.tensor([1.0, 2, 3]),
        torch.tensor([[1.0], [2], [3]]),
        torch.tensor([1, 2, 3]),
        torch.tensor([1, 2, 3], dtype=torch.uint8),
        torch.tensor([1, 2, 3], dtype=torch.bfloat16),
        np.array([1, 2, 3]),
        np.array([[1.0], [2.0], [3.0]], dtype=np.float16),
        [1, 2, 3],
        (1.0, 2.0, 3.0),
        [torch.tensor(1.0), np.float32(2), 3],
        [torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([3.0])],
        Scores(torch.tensor([1, 2, 3]), None),  # type: ignore[arg-type]
        Scores([1, 2, 3], {"p": [4, 5, 6], "q": np.array([True, False, True])}),  # type: ignore[arg-type, dict-item]
    ],
)
def test_one_number_for_each_sample_in_any_form(returned):
    scores = scores_of("v", returned, MEDIA)
    assert scores.total.is_floating_point()
    assert scores.total.tolist() == [1, 2, 3]
    assert all(part.is_floating_point() and part.shape == (3,) for part in scores.parts.values())
    assert scores.total.argmax() == 2


def test_truth_values_and_missing_scores():
    assert scores_of("v", torch.tensor([True, False, True]), MEDIA).total.tolist() == [1, 0, 1]
    total = scores_of("v", [0.1, None, 100_000_001], MEDIA).total
    assert (total[0].item(), total[1].isnan().item(), total[2].item()) == (0.1, True, 100_000_001)


@pytest.mark.parametrize("returned", [0.5, 1, True, torch.tensor(0.5), torch.ones(1, 1), [[0.5]], np.float32(0.5)])
def test_a_single_sample_may_have_a_single_number(returned):
    assert scores_of("v", returned, MEDIA[:1]).total.shape == (1,)


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (None, "the verifier v returned NoneType for 3 samples; return Scores whose total has one number for each"),
        (0.5, r"the verifier v returned \[\] for 3 samples"),
        (torch.ones(2), r"the verifier v returned \[2\] for 3 samples"),
        (torch.ones(1, 3), r"the verifier v returned \[1, 3\] for 3 samples"),
        (torch.ones(3, dtype=torch.complex64), "the verifier v returned Tensor for 3"),
        (torch.empty(3, device="meta"), "the verifier v returned Tensor for 3"),
        (torch.ones(3).to_sparse(), "the verifier v returned Tensor for 3"),
        (iter([1.0, 2.0, 3.0]), "the verifier v returned list_iterator for 3"),
        ((torch.ones(3), {"p": torch.ones(3)}), "the verifier v returned tuple for 3"),
        ("abc", "the verifier v returned str for 3"),
        (["a", "b", "c"], "the verifier v returned list for 3"),
        ([[1], [2, 3], [4]], "the verifier v returned list for 3"),
        ({"total": [1, 2, 3]}, "the verifier v returned dict for 3"),
        (Scores(torch.ones(3), {"p": torch.ones(2)}), r"the part 'p' of v returned \[2\] for 3"),
        (Scores(torch.ones(3), {"p": 1.0}), r"the part 'p' of v returned \[\] for 3"),  # type: ignore[dict-item]
        (Scores(torch.ones(3), [1, 2, 3]), "the verifier v returned list as parts"),  # type: ignore[arg-type]
    ],
)
def test_anything_else_is_refused_by_name(returned, words):
    with pytest.raises(ValueError, match=words):
        scores_of("v", returned, MEDIA)


def test_gradients_flow_through_lists_of_tensors():
    leaf = MEDIA.clone().requires_grad_()
    total = scores_of("v", [row.square().mean() for row in leaf], leaf).total
    (slope,) = torch.autograd.grad(total.sum(), leaf)
    torch.testing.assert_close(slope, 2 * MEDIA / MEDIA[0].numel())


class InPlace(Whole):
    name = "in place"

    def __call__(self, media, prompts, *, progress=1.0):
        media.sub_(0.5).div_(0.25)
        prompts.clear()
        return Scores(media.square().flatten(1).mean(1))


def test_what_a_verifier_changes_in_place_is_its_own():
    """Neither the media nor what the next verifier of a sum, a panel or a clip gets; nor the gradient."""
    kept, prompts, clips = MEDIA.clone(), [*PROMPTS], MEDIA[:, None].clone()
    both = WeightedSum(Term(InPlace()), Term(Whole()))
    panel = Panel(as_verifier(of_media_alone), holdout={"one": InPlace(), "two": Whole()})
    assert torch.equal(both(kept, prompts).parts["whole"], MEANS)
    assert torch.equal(panel.report(kept, prompts)["two"], MEANS)
    MeteredVerifier(InPlace(), Ledger())(kept, prompts)
    PerFrame(InPlace())(clips, prompts)
    Staged(*[InPlace()] * 3)(clips, prompts)
    Rephrased(InPlace(), str.upper)(kept, prompts)
    assert torch.equal(kept, MEDIA)
    assert torch.equal(clips, MEDIA[:, None])
    assert prompts == PROMPTS
    leaf = MEDIA.clone().requires_grad_()
    (slope,) = torch.autograd.grad(ask(InPlace(), leaf, prompts).total.sum(), leaf)
    torch.testing.assert_close(slope, 2 * (MEDIA - 0.5) / 0.25**2 / MEDIA[0].numel())


def test_functions_in_every_place_that_takes_a_verifier():
    two = WeightedSum(Term(brightness, 2), Term(lambda media: [1] * len(media)))  # type: ignore[arg-type]
    torch.testing.assert_close(two(MEDIA, PROMPTS).total, 2 * MEANS + 1, check_dtype=False)
    panel = Panel(brightness, holdout={"own": of_media_alone})  # type: ignore[arg-type, dict-item]
    assert panel.select is panel.guide
    assert torch.equal(panel.report(MEDIA, PROMPTS)["own"], MEANS)
    clips = MEDIA[:, None]
    for judge in (PerFrame(brightness), Grid(brightness, 1, 1), Staged(*[brightness] * 3)):  # type: ignore[arg-type]
        torch.testing.assert_close(judge(clips, PROMPTS).total, MEANS)
    same = Panel(brightness, brightness)  # type: ignore[arg-type]
    assert same.select is same.guide


class Parted(Quiet):
    """Gives other parts in every physical batch."""

    calls = 0

    def __call__(self, media, prompts):
        self.calls += 1
        parts: dict[str, Any] = {"both": [0.5] * len(media), f"of {self.calls}": [1] * len(media)}
        return Scores(media.flatten(1).mean(1), parts)


def test_parts_that_only_some_batches_have_are_nan_elsewhere():
    scores = MeteredVerifier(as_verifier(Parted()), Ledger())(MEDIA, PROMPTS)
    assert list(scores.parts) == ["both", "of 1", "of 2"]
    assert scores.parts["both"].tolist() == [0.5] * 3
    assert [value.isnan().tolist() for value in list(scores.parts.values())[1:]] == [
        [False, False, True],
        [True, True, False],
    ]
