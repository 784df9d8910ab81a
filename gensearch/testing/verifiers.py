"""The laws of verifiers as a pytest class: subclass `VerifierLaws` and give it a `verifier` fixture."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from gensearch.core.noise import randn
from gensearch.models.toy.base import undrawn
from gensearch.testing.witness import disturb, global_state
from verifiers.types import Media, Scores, Verifier


class LinearScore:
    """direction . sample, computed from the picture of a toy model: a reward whose distribution is known.

    Args:
        direction: [c, h, w].
    """

    name = "linear"
    differentiable = True

    def __init__(self, direction: Tensor) -> None:
        self.direction = direction

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score pictures [b, 3, h, w] by their first c channels; NaN if not finite."""
        x = undrawn(media)[:, : len(self.direction)]
        total = torch.stack([(row * self.direction).sum() for row in x])  # one by one: sums depend on their batch
        total = total.masked_fill(~media.isfinite().flatten(1).all(1), torch.nan)
        return Scores(total, {self.name: total.detach()})


class VerifierLaws:
    """The laws of the Verifier contract; override `prompts` and `media` if the verifier needs special ones."""

    @pytest.fixture
    def verifier(self) -> Verifier:
        """The verifier under test."""
        raise NotImplementedError("give your subclass of VerifierLaws a `verifier` fixture")

    @pytest.fixture
    def prompts(self) -> list[str]:
        """One prompt per picture."""
        return ["a photo of a red star", "a photo of two blue rings", "a photo of a red star", "a photo of a cross"]

    @pytest.fixture
    def media(self) -> Media:
        """Pictures, four of them, all different."""
        return randn(range(4), (3, 64, 64)).mul(0.2).add(0.5).clamp(0.01, 0.99)

    @pytest.fixture
    def ladder(self) -> tuple[Media, list[str]] | None:
        """Optional: pictures from worst to best, with prompts, to show that higher is better."""
        return None

    def test_says_what_it_is(self, verifier: Verifier) -> None:
        """It has a name and says whether it has gradients."""
        assert isinstance(verifier, Verifier)
        assert isinstance(verifier.name, str)
        assert verifier.name
        assert isinstance(verifier.differentiable, bool)

    def test_one_finite_score_per_picture(self, verifier: Verifier, media: Media, prompts: list[str]) -> None:
        """`total` and every part are [b]; pictures in [0, 1] can be scored."""
        scores = scored(verifier, media, prompts)
        assert scores.total.shape == (len(media),)
        assert scores.total.is_floating_point()
        assert bool(scores.total.isfinite().all())
        assert all(part.shape == (len(media),) for part in scores.parts.values())

    def test_other_rows_do_not_matter(self, verifier: Verifier, media: Media, prompts: list[str]) -> None:
        """A picture gets the same bits whatever the other rows are, and nearly the same score alone."""
        total = scored(verifier, media, prompts).total
        for row in range(len(media)):
            copies = scored(verifier, media[[row] * len(media)], [prompts[row]] * len(media)).total
            assert torch.equal(copies, total[[row] * len(media)]), "a score depends on the rest of its batch"
        alone = torch.cat([scored(verifier, media[i : i + 1], prompts[i : i + 1]).total for i in range(len(media))])
        torch.testing.assert_close(alone, total, rtol=1e-4, atol=1e-4)

    def test_order_does_not_matter(self, verifier: Verifier, media: Media, prompts: list[str]) -> None:
        """Scores stay with their pictures when the batch is turned around."""
        total = scored(verifier, media, prompts).total
        turned = scored(verifier, media.flip(0), prompts[::-1]).total
        assert torch.equal(total, turned.flip(0)), "scores do not follow their pictures"

    def test_same_input_same_score(self, verifier: Verifier, media: Media, prompts: list[str]) -> None:
        """Global generators neither matter nor are touched."""
        disturb(1)
        first = scored(verifier, media, prompts).total
        disturb(2)
        before = global_state()
        second = scored(verifier, media, prompts).total
        assert torch.equal(first, second), "the same pictures got different scores"
        assert global_state() == before, "a global generator was used"

    def test_broken_pictures_are_unscored(self, verifier: Verifier, media: Media, prompts: list[str]) -> None:
        """A picture that is not finite gets NaN, and the others their usual scores."""
        broken = media.clone()
        broken[0, ..., 0] = torch.nan
        broken[2, ..., 0] = torch.inf
        total = scored(verifier, broken, prompts).total
        usual = scored(verifier, media, prompts).total
        assert total.isnan().tolist() == [i in (0, 2) for i in range(len(media))], "NaN means unscored, and only that"
        fine = ~total.isnan()
        assert torch.equal(total[fine], usual[fine]), "a broken picture changed the score of another"

    def test_missing_prompts_are_noticed(self, verifier: Verifier, media: Media, prompts: list[str]) -> None:
        """Fewer prompts than pictures are refused, unless the verifier ignores prompts and scores every picture."""
        try:
            total = scored(verifier, media, prompts[:1]).total
        except (ValueError, TypeError):
            return
        assert torch.equal(total, scored(verifier, media, prompts).total), "pictures without prompts were scored"

    def test_gradient_mode_and_input_are_left_alone(self, verifier: Verifier, media: Media, prompts: list[str]) -> None:
        """Scoring changes neither the mode nor the pictures."""
        kept = media.clone()
        for mode in (True, False):
            with torch.set_grad_enabled(mode):
                verifier(media, prompts)
                assert torch.is_grad_enabled() is mode, "gradient mode was changed"
        assert torch.equal(media, kept), "the pictures were changed"

    def test_gradients_if_it_claims_them(self, verifier: Verifier, media: Media, prompts: list[str]) -> None:
        """d total / d media agrees with finite differences along the gradient; without the claim there is no graph."""
        with torch.enable_grad():
            leaf = media.clone().requires_grad_(verifier.differentiable)
            total = verifier(leaf, prompts).total
        assert total.requires_grad is verifier.differentiable, "the claim about gradients is wrong"
        if not verifier.differentiable:
            return
        (slope,) = torch.autograd.grad(total.sum(), leaf)
        direction = slope / slope.norm()
        step = 1e-2
        up, down = (scored(verifier, media + sign * step * direction, prompts).total.sum() for sign in (1, -1))
        measured = float((up - down) / (2 * step))
        assert measured == pytest.approx(float(slope.norm()), rel=0.1), "the gradient is not that of the score"

    def test_higher_is_better(self, verifier: Verifier, ladder: tuple[Media, list[str]] | None) -> None:
        """Along the ladder, if there is one, scores rise."""
        if ladder is None:
            pytest.skip("no ladder of pictures was given")
        total = scored(verifier, *ladder).total
        assert total.diff().gt(0).all(), f"scores along the ladder do not rise: {total.tolist()}"


@torch.no_grad()
def scored(verifier: Verifier, media: Media, prompts: list[str]) -> Scores:
    """Scores without a graph."""
    return verifier(media, prompts)
