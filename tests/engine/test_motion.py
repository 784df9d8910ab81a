"""The motion of winners: what it is compared with, and the alarm at a verifier that likes stills."""

from __future__ import annotations

import json
from statistics import fmean

import pytest
import torch
from typer.testing import CliRunner

from gensearch.cli.main import app
from gensearch.config.run import RunConfig
from gensearch.core.result import Motion
from gensearch.core.types import Round
from gensearch.engine.motion import Dynamics
from gensearch.engine.run import result, run, stream
from gensearch.models.toy.chunks import ToyChunks
from gensearch.models.toy.gaussian import GaussianFlow
from gensearch.pipeline import SearchPipeline
from gensearch.runs.folder import RunFolder
from gensearch.search import SEARCHES
from gensearch.search.chunks.tree_of_frames import tree_of_frames
from gensearch.search.noise.best_of_n import best_of_n
from verifiers.controls.random import RandomScore
from verifiers.types import Scores
from verifiers.video.motion import Motion as Mover

PROMPT = "a red star moves left"


class Moving:
    """Prefers clips that move, or with -1 those that do not."""

    differentiable = False

    def __init__(self, sign):
        self.sign, self.name = sign, "moving"

    def __call__(self, media, prompts, *, progress=1.0):
        return Scores(self.sign * Mover()(media, prompts).total)


def moved(media):
    return Mover()(media, [""] * len(media)).total.tolist()


def test_all_of_a_linear_search_are_leaves():
    model = ToyChunks(num_steps=3, size=4)
    rounds = list(stream(best_of_n, model, RandomScore(), PROMPT, n=7, seed=2))
    every = [total for progress in rounds for total in moved(progress.round.media)]
    found = result(rounds[-1])
    assert len(every) == 7
    assert found.motion is not None
    assert found.motion.winner == moved(found.best.media[None])[0]
    assert found.motion.leaves == pytest.approx(fmean(every))


def test_leaves_of_a_tree_are_its_clips_and_what_was_pruned_of_two_frames_or_more():
    model = ToyChunks(num_steps=4, size=4)
    rounds = list(stream(tree_of_frames, model, RandomScore(), PROMPT, branch=3, keep=2, seed=5))
    grown = {parent for progress in rounds for parent in progress.round.parents}
    leaves = [
        total
        for progress in rounds
        for id_, total in zip(progress.round.ids, moved(progress.round.media), strict=True)
        if progress.round.media.shape[1] > 1 and (progress.round.done or id_ not in grown)
    ]
    assert len(leaves) == 4 + 4 + 6
    assert rounds[-1].motion is not None
    assert rounds[-1].motion.leaves == pytest.approx(fmean(leaves))
    assert rounds[0].motion is None, "there was no winner yet"


@pytest.mark.parametrize("name", ["best_of_n", "tree_of_frames", "beam_of_frames", "zero_order"])
def test_a_verifier_that_prefers_still_clips_is_noticed(name):
    model = ToyChunks(num_steps=4, size=4, batch_size=8)
    still, lively = (run(SEARCHES[name], model, Moving(sign), PROMPT, compute=12, seed=3).motion for sign in (-1, 1))
    assert still is not None
    assert lively is not None
    assert still.winner < still.leaves
    assert lively.winner > lively.leaves


def test_the_mean_is_that_of_all_clips_whatever_their_order():
    media = torch.rand(40, 3, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    dynamics = Dynamics()
    for first in range(0, 40, 4):
        rows, ids = media[first : first + 4], range(first, first + 4)
        parents = (None,) * 4 if first < 20 else tuple(range(first - 20, first - 16))  # the second half goes on
        dynamics.add(Round(rows, Scores(torch.zeros(4)), ((),) * 4, tuple(ids), parents, done=first >= 20))
    before = dynamics.of(39)
    assert before is not None
    assert before.leaves == fmean(moved(media)[20:])
    dynamics.add(Round(media[:1], Scores(torch.zeros(1)), ((),), (39,), (None,)))  # an id that is there already
    assert dynamics.of(39) == (moved(media)[0], fmean([*moved(media)[20:39], moved(media)[0]]))


def test_half_the_motion_is_the_alarm():
    assert Motion(0.1, 0.21).still
    assert not Motion(0.1, 0.2).still
    assert not Motion(0.0, 0.0).still


def test_pictures_do_not_move_and_broken_clips_are_left_out():
    assert run(best_of_n, GaussianFlow(), RandomScore(), PROMPT, n=3).motion is None
    media = torch.rand(3, 4, 3, 2, 2)
    media[1, 2, 0, 0, 0] = torch.nan
    dynamics = Dynamics()
    dynamics.add(Round(media, Scores(torch.zeros(3)), ((),) * 3, (0, 1, 2), (None,) * 3))
    assert dynamics.of(1) is None
    whole = dynamics.of(0)
    assert whole is not None
    assert whole.leaves == pytest.approx(fmean([moved(media)[0], moved(media)[2]]))


@pytest.mark.parametrize("still", [False, True])
def test_a_run_says_so(tmp_path, still):
    """In result.json, in the report and in the command's last lines."""
    config = RunConfig(prompt=PROMPT, model="toy/chunks", verifier="random", search="best_of_n", knobs={"n": 3})
    pipe = SearchPipeline.from_config(config)
    folder = RunFolder(tmp_path / "run", config)
    with folder.claimed():
        for progress in pipe.stream(PROMPT):
            folder.add(progress)
        progress.motion = Motion(0.125 if still else 0.5, 0.5)
        output = pipe.output(PROMPT, result(progress))
        folder.finish(output.result, output.holdout, pipe.model)
    page = (tmp_path / "run" / "report.html").read_text()
    assert json.loads((tmp_path / "run" / "result.json").read_text())["motion"]["leaves"] == 0.5
    assert "those of all clips of the search by 0.5" in page
    assert ("may prefer still clips" in page) == still
    words = ["--model", "toy/chunks", "--verifier", "random", "--knob", "n=3", "--out", str(folder.path)]
    shown = CliRunner().invoke(app, ["generate", PROMPT, *words])
    assert shown.exit_code == 0
    assert ("the winner moves 0.25 times as much" in shown.output) == still
