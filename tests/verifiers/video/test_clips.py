"""Verifiers of clips: frame by frame, by stage, and the amount of motion."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch

from gensearch import registry
from gensearch.config.run import RunConfig
from gensearch.core.noise import randn
from gensearch.testing import VerifierLaws
from verifiers.batches import sizes
from verifiers.combine import Rephrased
from verifiers.controls.random import RandomScore
from verifiers.controls.redness import Redness
from verifiers.types import Scores
from verifiers.video.clips import at_rate
from verifiers.video.flicker import Flicker
from verifiers.video.grid import Grid
from verifiers.video.motion import Motion
from verifiers.video.per_frame import PerFrame
from verifiers.video.smoothness import Smoothness
from verifiers.video.staged import Staged, staged

PROMPTS = ["a red star moves left"] * 3
CLIPS = randn(range(3), (4, 3, 8, 8)).mul(0.2).add(0.5).clamp(0, 1)


class TestPerFrame(VerifierLaws):
    @pytest.fixture
    def verifier(self):
        return PerFrame(Redness())


class TestGrid(VerifierLaws):
    @pytest.fixture
    def verifier(self):
        return Grid(Redness(), 4)

    @pytest.fixture
    def media(self):
        return CLIPS


class TestRephrased(VerifierLaws):
    @pytest.fixture
    def verifier(self):
        return Rephrased(RandomScore(), str.upper)


class TestMotion(VerifierLaws):
    @pytest.fixture
    def verifier(self):
        return Motion()

    @pytest.fixture
    def media(self):
        return randn(range(4), (3, 3, 16, 16)).mul(0.2).add(0.5).clamp(0.01, 0.99)


class TestFlicker(TestMotion):
    @pytest.fixture
    def verifier(self):
        return Flicker()


class TestSmoothness(TestMotion):
    @pytest.fixture
    def verifier(self):
        return Smoothness()


@pytest.mark.parametrize(
    ("which", "frames"),
    [("all", slice(None)), ("first", slice(1)), ("last", slice(3, 4)), ("spread", [0, 1, 3])],
)
def test_a_clip_scores_as_its_frames_do_on_average(which, frames):
    verifier = Redness()
    expected = [verifier(clip[frames], PROMPTS[:1] * len(clip[frames])).total.mean().item() for clip in CLIPS]
    assert PerFrame(verifier, which)(CLIPS, PROMPTS).total.tolist() == pytest.approx(expected)
    assert torch.equal(PerFrame(verifier, which)(CLIPS[:, 0], PROMPTS).total, verifier(CLIPS[:, 0], PROMPTS).total)


class Batched:
    """A score whose value tells the size of the physical batch that it was computed in, and counts calls by size."""

    name, differentiable = "batched", False

    def __init__(self, batch_size):
        self.batch_size, self.calls = batch_size, []

    def __call__(self, media, prompts, *, progress=1.0):
        made = sizes(len(media), self.batch_size)
        self.calls.append(len(media))
        return Scores(media.flatten(1).mean(1) + torch.tensor(made) + torch.tensor([float(len(p)) for p in prompts]))


@pytest.mark.parametrize("wrap", [lambda x: PerFrame(x), lambda x: PerFrame(x, "spread"), Grid, staged])
@pytest.mark.parametrize("most", [1, 4, 6, 8])
def test_scores_of_clips_depend_on_the_size_of_their_physical_batch_alone(wrap, most):
    clips = randn(range(11), (5, 3, 8, 8)).mul(0.2).add(0.5).clamp(0, 1)
    prompts = [f"a {'very ' * row}red star" for row in range(11)]
    inner = Batched(most)
    verifier = wrap(inner)
    assert verifier.batch_size == most
    for count in range(1, 12):
        total = verifier(clips[:count], prompts[:count]).total
        for row, size in enumerate(sizes(count, most)):
            alone = verifier(clips[[row] * size], [prompts[row]] * size).total
            assert torch.equal(alone, total[[row] * size])
    assert all(size & (size - 1) == 0 and size <= most for size in inner.calls) or wrap is Grid


@pytest.mark.parametrize("name", ["frames:shapes/clip", "grid:shapes/clip", "staged:shapes/clip"])
def test_a_network_gives_a_clip_the_same_bits_in_every_round(name):
    clips = randn(range(9), (3, 3, 64, 64)).mul(0.2).add(0.5).clamp(0, 1)
    verifier = registry.verifier(name)
    total = verifier(clips, ["a red star"] * 9).total
    again = verifier(clips.flip(0)[1:], ["a red star"] * 8).total.flip(0)
    assert torch.equal(total[:8], again)  # full batches both
    singles = torch.cat([verifier(clip[None], ["a red star"]).total for clip in clips])
    assert torch.equal(total[8:], singles[8:])  # batches of one both
    torch.testing.assert_close(total, singles, rtol=1e-4, atol=1e-4)


def test_a_verifier_without_batches_scores_all_frames_in_one_call():
    seen = []

    def mean(media, prompts):
        seen.append(len(media))
        return media.flatten(1).mean(1)

    verifier = PerFrame(cast(Any, mean))
    verifier(CLIPS, PROMPTS)
    assert seen == [12]
    with pytest.raises(ValueError, match="3 clips and 1 prompts"):
        verifier(CLIPS, PROMPTS[:1])


def test_a_frame_that_cannot_be_scored_leaves_the_clip_unscored():
    broken = CLIPS.clone()
    broken[1, 2, 0, 0, 0] = torch.nan
    assert PerFrame(RandomScore())(broken, PROMPTS).total.isnan().tolist() == [False, True, False]
    with pytest.raises(ValueError, match="Take 'all', 'first', 'last' or 'spread'"):
        PerFrame(Redness(), "middle")  # type: ignore[arg-type]


def test_motion_is_the_mean_change_of_a_pixel():
    still = CLIPS[:, :1].expand(-1, 4, -1, -1, -1)
    blinking = torch.tensor([0.0, 1, 0, 1])[None, :, None, None, None].expand(1, 4, 3, 2, 2)
    assert Motion()(still, PROMPTS).total.tolist() == [0, 0, 0]
    assert Motion()(blinking, PROMPTS[:1]).total.item() == 1
    assert Motion()(CLIPS[:, :1], PROMPTS).total.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="takes clips"):
        Motion()(CLIPS[:, 0], PROMPTS)


def test_flicker_and_smoothness_are_vbenchs_formulas():
    media = randn(range(3), (7, 3, 5, 9)).mul(0.2).add(0.5).clamp(0, 1)
    pixels = media.double().numpy() * 255
    for row in range(3):
        changes = [np.abs(pixels[row, t] - pixels[row, t + 1]).mean() for t in range(6)]
        assert Flicker()(media, PROMPTS).total[row].item() == pytest.approx((255 - np.mean(changes)) / 255, rel=1e-5)
        for frames, odd in ((7, (1, 3, 5)), (6, (1, 3)), (3, (1,))):
            misses = [np.abs(pixels[row, t] - (pixels[row, t - 1] + pixels[row, t + 1]) / 2).mean() for t in odd]
            score = Smoothness()(media[:, :frames], PROMPTS).total[row].item()
            assert score == pytest.approx((255 - np.mean(misses)) / 255, rel=1e-5)
    assert Flicker()(media[:, :1], PROMPTS).total.tolist() == [1, 1, 1]
    assert Smoothness()(media[:, :2], PROMPTS).total.tolist() == [1, 1, 1]


def test_even_motion_is_smooth_and_uneven_motion_is_not():
    even = torch.linspace(0, 1, 5)[None, :, None, None, None].expand(1, 5, 3, 4, 4)
    assert Smoothness()(even, PROMPTS[:1]).total.item() == pytest.approx(1)
    assert Smoothness()(even[:, [0, 1, 4, 3, 4]], PROMPTS[:1]).total.item() < 0.8


@pytest.mark.parametrize("verifier", [Motion(), Flicker(), Smoothness()], ids=lambda verifier: verifier.name)
def test_clips_have_the_same_bits_alone_and_one_bad_pixel_is_enough(verifier):
    media = randn(range(4), (5, 3, 16, 17)).mul(0.2).add(0.5).clamp(0, 1)
    total = verifier(media, ["a"] * 4).total
    assert torch.equal(torch.cat([verifier(clip[None], ["a"]).total for clip in media]), total)
    media[2, 3, 1, 0, 0] = torch.inf
    assert verifier(media, ["a"] * 4).total.isnan().tolist() == [False, False, True, False]
    with pytest.raises(ValueError, match="3 prompts"):
        verifier(media, PROMPTS)


@pytest.mark.parametrize(
    ("frames", "clip_fps", "taken"),
    [
        (1, 16, [0]),
        (2, 16, [0, 1]),
        (3, 16, [0, 2]),
        (5, 16, [0, 1, 3, 4]),
        (81, 16, [0, 9, 18, 27, 36, 44, 53, 62, 71, 80]),
        (16, 2, list(range(16))),
        (6, 1, list(range(6))),
    ],
)
def test_qwen_is_given_an_even_number_of_frames_at_a_rate(frames, clip_fps, taken):
    assert at_rate(frames, clip_fps, 2) == taken


def test_each_stage_has_its_verifier():
    verifiers = [RandomScore(seed, name=str(seed)) for seed in range(3)]
    staged = Staged(*verifiers, first=0.25)
    for progress, stage in ((0.1, 0), (0.25, 0), (0.3, 1), (0.99, 1), (1.0, 2)):
        assert torch.equal(staged(CLIPS, PROMPTS, progress=progress).total, verifiers[stage](CLIPS, PROMPTS).total)
    with pytest.raises(ValueError, match="cannot end at 1.5"):
        Staged(*verifiers, first=1.5)


def test_verifiers_of_clips_have_names():
    assert registry.verifier("motion").name == "motion"
    verifier = registry.verifier("frames:redness+0.1*motion")
    scores = verifier(CLIPS, PROMPTS)
    expected = PerFrame(Redness())(CLIPS, PROMPTS).total + 0.1 * Motion()(CLIPS, PROMPTS).total
    assert torch.allclose(scores.total, expected)
    with pytest.raises(ValueError, match="no verifier is called 'rednes'"):
        registry.verifier("frames:rednes")


def test_a_verifier_on_frames_counts_as_the_verifier():
    with pytest.raises(ValueError, match="also guides or selects"):
        RunConfig(prompt="a star", verifier="frames:shapes/clip", holdout=["shapes/clip"])


class Witness:
    """A verifier that keeps its inputs."""

    name, differentiable = "witness", False

    def __call__(self, media, prompts, *, progress=1.0):
        self.media, self.prompts, self.progress = media, list(prompts), progress
        return Scores(torch.arange(len(media)).float(), {})


def test_a_grid_shows_evenly_spaced_frames_in_reading_order_and_grey_for_what_is_not_there_yet():
    media = torch.arange(13.0).div(20)[None, :, None, None, None].expand(2, 13, 3, 5, 7)
    verifier = Witness()
    scores = Grid(verifier, 13)(media, PROMPTS[:2], progress=1)
    assert verifier.media.shape == (2, 3, 10, 14)
    corners = verifier.media[1, 2, ::9, ::13].flatten()
    assert torch.equal(corners, torch.tensor([0.0, 4, 8, 12]) / 20)
    assert torch.equal(verifier.media[0, :, :5, :7], media[0, 0])
    assert scores.total.tolist() == [0, 1]
    Grid(verifier, 13)(media[:, :9], PROMPTS[:2], progress=0.75)
    assert torch.equal(verifier.media[0, 0, ::9, ::13].flatten(), torch.tensor([0.0, 0.2, 0.4, 0.5]))
    assert verifier.progress == 0.75
    Grid(verifier, 13, 3)(media, PROMPTS[:2])
    assert verifier.media.shape == (2, 3, 15, 21)
    assert verifier.media[0, 0, 5, ::7].mul(20).tolist() == pytest.approx([4, 6, 8])


def test_a_grid_without_a_length_spreads_the_frames_of_every_clip():
    media = torch.arange(13.0).div(20)[None, :, None, None, None].expand(2, 13, 3, 5, 7)
    verifier = Witness()
    for frames, shown in ((13, [0, 4, 8, 12]), (7, [0, 2, 4, 6]), (4, [0, 1, 2, 3]), (2, [0, 0, 1, 1]), (1, [0] * 4)):
        Grid(verifier)(media[:, :frames], PROMPTS[:2], progress=0.5)
        assert verifier.media[1, 2, ::9, ::13].flatten().mul(20).tolist() == pytest.approx(shown)


def test_a_grid_refuses_what_it_has_no_room_for():
    with pytest.raises(ValueError, match="do not fill 0 x 0"):
        Grid(Redness(), side=0)
    with pytest.raises(ValueError, match="3 frames do not fill 2 x 2"):
        Grid(Redness(), 3)
    with pytest.raises(ValueError, match=r"up to 4 frames, not \[3, 5, 3, 8, 8\]"):
        Grid(Redness(), 4)(CLIPS[:, [0, 1, 2, 3, 3]], PROMPTS)
    with pytest.raises(ValueError, match="takes clips"):
        Grid(Redness(), 4)(CLIPS[:, 0], PROMPTS)


def test_a_rephrased_verifier_reads_other_prompts_and_nothing_else_changes():
    verifier = Witness()
    rephrased = Rephrased(verifier, str.upper, name="loud")
    assert rephrased(CLIPS, PROMPTS, progress=0.5).total.tolist() == [0, 1, 2]
    assert verifier.prompts == [prompt.upper() for prompt in PROMPTS]
    assert (rephrased.name, verifier.progress) == ("loud", 0.5)
