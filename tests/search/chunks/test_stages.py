"""What verifiers are asked at each stage, who elects the winner, and clips that go on from a record."""

from __future__ import annotations

import pytest
import torch

from gensearch.config.run import RunConfig
from gensearch.engine.run import result, run, stream
from gensearch.models.toy.chunks import ToyChunks
from gensearch.pipeline import SearchPipeline
from gensearch.runs.folder import RunFolder
from gensearch.search import OF_CHUNKS, SEARCHES
from gensearch.search.chunks.tree_of_frames import tree_of_frames
from verifiers.combine import RankVote, Term, WeightedSum
from verifiers.controls.random import RandomScore
from verifiers.types import Scores

PROMPT = "a red star moves left"
STAGES = ["a still of {prompt}", "does {prompt} move smoothly", "a whole clip of {prompt}"]


class Recording:
    """Writes down what it was asked about clips of how many frames."""

    name = "recording"
    differentiable = False

    def __init__(self):
        self.asked = []
        self.lottery = RandomScore(2)

    def __call__(self, media, prompts, *, progress=1.0):
        self.asked += [(media.shape[1], prompt, progress) for prompt in prompts]
        return self.lottery(media, prompts)


def texts(asked, frames):
    return {prompt for length, prompt, _ in asked if length == frames}


@pytest.mark.parametrize("stages", [STAGES, lambda prompt: [s.replace("{prompt}", prompt) for s in STAGES]])
def test_each_stage_is_asked_its_own_question(stages):
    verifier = Recording()
    run(tree_of_frames, ToyChunks(num_steps=4), verifier, PROMPT, branch=3, stages=stages)
    still, moving, whole = (text.replace("{prompt}", PROMPT) for text in STAGES)
    assert [texts(verifier.asked, frames) for frames in (1, 2, 3, 4)] == [{still}, {moving}, {moving}, {whole}]
    assert {progress for _, _, progress in verifier.asked} == {0.25, 0.5, 0.75, 1.0}


def test_a_clip_of_one_chunk_is_at_its_end():
    verifier = Recording()
    run(tree_of_frames, ToyChunks(num_steps=1), verifier, PROMPT, branch=3, stages=STAGES)
    assert texts(verifier.asked, 1) == {STAGES[2].replace("{prompt}", PROMPT)}


def test_braces_of_a_prompt_are_words():
    verifier = Recording()
    run(tree_of_frames, ToyChunks(num_steps=2), verifier, "a {0} star {x}", branch=2, stages=STAGES)
    assert texts(verifier.asked, 1) == {"a still of a {0} star {x}"}


def test_there_are_three_stages():
    with pytest.raises(ValueError, match="should have at least 3"):
        list(stream(tree_of_frames, ToyChunks(), RandomScore(), PROMPT, branch=2, stages=["{prompt}"]))
    with pytest.raises(ValueError, match="three stages"):
        list(stream(tree_of_frames, ToyChunks(), RandomScore(), PROMPT, branch=2, stages=lambda prompt: [prompt]))


# --- the vote


class Rescaled:
    """Another scale of the same scores."""

    differentiable = False

    def __init__(self, verifier, name):
        self.verifier, self.name = verifier, name

    def __call__(self, media, prompts, *, progress=1.0):
        total = self.verifier(media, prompts).total
        return Scores((5 * total - 2).exp(), {})


class Constant:
    name = "constant"
    differentiable = False

    def __call__(self, media, prompts, *, progress=1.0):
        return Scores(torch.ones(len(media)))


def test_a_rank_vote_elects_whatever_the_scales():
    first, second = RandomScore(1, name="first"), RandomScore(2, name="second")
    votes = [
        RankVote(first, second),
        RankVote(Rescaled(first, "first"), second),
        RankVote(first, Rescaled(second, "second")),
        RankVote(first, second, Constant()),
    ]
    model = ToyChunks(num_steps=3, batch_size=4)
    picks = [run(tree_of_frames, model, RandomScore(3), PROMPT, branch=6, select=vote).best.id for vote in votes]
    assert len(set(picks)) == 1
    alone = run(tree_of_frames, model, RandomScore(3), PROMPT, branch=6, select=first).best.id
    second_alone = run(tree_of_frames, model, RandomScore(3), PROMPT, branch=6, select=second).best.id
    assert alone != second_alone, "the vote has nothing to settle"


def test_a_sum_that_guides_pays_for_each_of_its_verifiers():
    verifier = WeightedSum(Term(RandomScore(1, name="a")), Term(RandomScore(2, name="b")))
    outcome = run(tree_of_frames, ToyChunks(num_steps=3), verifier, PROMPT, branch=4)
    assert outcome.ledger.spent.scored == 2 * outcome.ledger.spent.decoded == 2 * 12


# --- trouble with verifiers


@pytest.mark.parametrize("name", sorted(OF_CHUNKS))
def test_a_verifier_that_raises_is_heard(name):
    class Broken(Constant):
        def __call__(self, media, prompts, *, progress=1.0):
            raise RuntimeError("the verifier is broken")

    with pytest.raises(RuntimeError, match="the verifier is broken"):
        run(SEARCHES[name], ToyChunks(num_steps=3), Broken(), PROMPT, compute=4)


def test_scores_do_not_depend_on_company():
    class Alone(RandomScore):
        batch_size = 1

    model = ToyChunks(num_steps=3, batch_size=4)
    one = [p.round.scores.total for p in stream(tree_of_frames, model, Alone(4), PROMPT, branch=4)]
    all_ = [p.round.scores.total for p in stream(tree_of_frames, model, RandomScore(4), PROMPT, branch=4)]
    assert all(torch.equal(a, b) for a, b in zip(one, all_, strict=True))


# --- going on from a record


MODEL = {"num_steps": 4, "batch_size": 4}


@pytest.mark.parametrize("name", sorted(OF_CHUNKS))
@pytest.mark.parametrize("chunk", [1, 3])
def test_what_precedes_a_chunk_is_kept_and_the_rest_made_anew(name, chunk):
    model = ToyChunks(**MODEL)
    first = run(tree_of_frames, model, RandomScore(1), PROMPT, branch=4, seed=7).best
    again = list(
        stream(SEARCHES[name], model, RandomScore(2), PROMPT, compute=6, resume=first.recipe, chunk=chunk, seed=7)
    )
    leaves = torch.cat([p.round.media for p in again if p.round.done])
    assert len(leaves) > 1
    assert all(torch.equal(leaf[:chunk], first.media[:chunk]) for leaf in leaves), "the kept chunks changed"
    assert len({leaf.numpy().tobytes() for leaf in leaves}) == len(leaves)
    assert again[-1].best is not None
    assert again[-1].best.recipe[0] == first.recipe[0]


def test_the_recorded_clip_is_the_first_candidate():
    model = ToyChunks(**MODEL)
    first = run(tree_of_frames, model, RandomScore(1), PROMPT, branch=4, seed=7).best
    assert len(first.recipe) > 1
    knobs = {"branch": 2, "keep": 9, "resume": first.recipe, "chunk": 2}
    again = run(tree_of_frames, model, RandomScore(2), PROMPT, seed=1, **knobs)
    assert torch.equal(again.base.media, first.media)
    assert again.lineage[0].recipe == first.recipe
    assert again.ledger.spent.nfe == 2 + 2 + 4


def test_a_run_folder_is_a_record(tmp_path):
    config = RunConfig(
        prompt=PROMPT, model="toy/chunks", verifier="random", search="tree_of_frames", knobs={"branch": [3, 2]}, seed=5
    )
    pipe = SearchPipeline.from_config(config)
    folder = RunFolder(tmp_path / "run", config)
    with folder.claimed():
        for progress in pipe.stream(PROMPT, 5):
            folder.add(progress)
        output = pipe.output(PROMPT, result(progress))
        folder.finish(output.result, output.holdout, pipe.model)
    again = pipe(PROMPT, 5, branch=2, resume=str(tmp_path / "run"), chunk=2)
    assert progress.best is not None
    kept = progress.best.media
    assert torch.equal(again.result.best.media[:2], kept[:2])
    with pytest.raises(ValueError, match="its chunks cannot be kept. Give its own prompt"):
        pipe("another prompt", 5, branch=2, resume=str(tmp_path / "run"), chunk=2)
    other = SearchPipeline("toy/chunks", "random", "tree_of_frames", branch=2, options={"steps": 5})
    with pytest.raises(ValueError, match="was made by another model: .*num_steps differ"):
        other(PROMPT, 5, resume=str(tmp_path / "run"), chunk=2)


@pytest.mark.parametrize("chunk", [0, 4, 9])
def test_a_chunk_that_keeps_nothing_or_everything_is_refused(chunk):
    recipe = (("gaussian", 1),)
    with pytest.raises(ValueError, match=rf"chunk is {chunk}: say which of the chunks 1 to 3"):
        run(tree_of_frames, ToyChunks(**MODEL), RandomScore(), PROMPT, branch=2, resume=recipe, chunk=chunk)


@pytest.mark.parametrize("name", sorted(OF_CHUNKS))
def test_models_without_chunks_are_refused(name):
    from gensearch.models.toy.gaussian import GaussianFlow

    with pytest.raises(ValueError, match=f"{name} branches between the chunks of a clip, and toy/flow has none"):
        run(SEARCHES[name], GaussianFlow(), RandomScore(), PROMPT, compute=3)
