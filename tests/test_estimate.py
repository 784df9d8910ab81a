from __future__ import annotations

from typing import Any

import pytest
from diffusers import PNDMScheduler

from gensearch.config.run import RunConfig
from gensearch.estimate import adapter, rehearse, show_plan
from gensearch.models.black_box import BlackBox
from gensearch.models.native.stable_diffusion import StableDiffusion
from gensearch.models.toy.chunks import ToyChunks
from gensearch.pipeline import SearchPipeline
from gensearch.resolve import for_prompt
from gensearch.runs.folder import RunFolder
from gensearch.search import OF_CHUNKS
from gensearch.testing.witness import counting
from tests.builders import tiny


def test_the_plan_says_which_adapter_runs_the_model_and_what_it_can(tmp_path, capsys):
    config = RunConfig(prompt="a photo of a red star", model="toy/flow", verifier="random")
    job = for_prompt(SearchPipeline.from_config(config).job, config.prompt)
    show_plan(job, RunFolder(tmp_path / "run", config))
    said = capsys.readouterr().out.splitlines()
    assert "adapter:    GaussianFlow, verbs: branch, gradient, rewind, transition" in said


def test_what_an_adapter_changed_is_part_of_the_plan():
    with pytest.warns(UserWarning, match="PNDMScheduler has no native step"):
        model = StableDiffusion(tiny.stable_diffusion(tiny.scheduler(PNDMScheduler)))
    assert adapter(model).endswith("; PNDMScheduler has no native step; DDIM on its noise levels is used instead")


def test_an_adapter_without_verbs_says_so():
    assert adapter(BlackBox(lambda prompts, noise: noise, (3, 4, 4))) == "BlackBox, verbs: none"


@pytest.mark.parametrize("search", sorted(OF_CHUNKS))
@pytest.mark.parametrize("reading", [0, 1])
def test_a_rehearsal_of_clips_costs_what_the_search_does_and_runs_no_network(search, reading):
    model = ToyChunks(num_steps=4, reading=reading, batch_size=1)
    knobs: dict[str, Any] = {"passing": 2.0} if search == "backtracking" else {}
    pipe = SearchPipeline(model, "random", search, compute=7, **knobs)
    with counting({"nfe": model.network}) as seen:
        planned = rehearse(for_prompt(pipe.job, "a star"), "a star", 3).spent
    assert not seen
    spent = pipe("a star", 3).result.ledger.spent
    if search == "backtracking":  # where clips fail depends on the scores
        assert planned.nfe <= 7 * (4 + 3 * reading)
    else:
        assert planned == spent
