"""Many prompts side by side draw what each of them draws alone."""

from __future__ import annotations

from typing import Any

import torch

from gensearch.engine.run import stream
from gensearch.models.toy.tokens import ToyTokens
from gensearch.search.tokens.milr import milr
from gensearch.testing.many import Many
from gensearch.testing.verifiers import LinearScore

PROMPTS = ("a red star", "two blue rings", "a cat")


class Told(LinearScore):
    """A score that depends on the prompt."""

    def __call__(self, media, prompts, *, progress=1.0):
        scores = super().__call__(media, prompts, progress=progress)
        return scores._replace(total=scores.total + torch.tensor([float(len(prompt)) for prompt in prompts]))


def test_each_chain_is_the_search_of_its_own_prompt():
    model, verifier = ToyTokens(image_length=10, text_length=5, batch_size=2), Told(torch.ones(1, 1, 10))
    knobs: dict[str, Any] = {"iterations": 3, "noise": "common", "baseline": "none", "lr": 0.5, "image_share": 0.5}
    many: Any = Many(model, PROMPTS)
    guide: Any = Many(verifier, PROMPTS)
    together = [p.round for p in stream(milr, many, guide, "one prompt each", seed=4, chains=3, **knobs)]
    for place, prompt in enumerate(PROMPTS):
        seed = together[0].recipes[place][0][1]
        alone = [p.round for p in stream(milr, model, verifier, prompt, seed=seed, **knobs)]
        for one, all_of in zip(alone, together, strict=True):
            assert torch.equal(one.media[0], all_of.media[place])
            assert torch.equal(one.scores.total[0], all_of.scores.total[place])


def test_samples_of_one_chain_share_its_prompt():
    assert Many(None, PROMPTS).texts(6) == [PROMPTS[0], PROMPTS[0], PROMPTS[1], PROMPTS[1], PROMPTS[2], PROMPTS[2]]
