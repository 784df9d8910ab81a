from __future__ import annotations

import pytest
import torch

from gensearch.testing import VerifierLaws
from tests.builders.tiny_janus import janus
from verifiers.vlm.vqa import VQAScore, single_tokens

TEMPLATE = "user : {image} {question} plan :"
QUESTION = "draw {prompt} yes and no"


def build(**changes):
    pipeline = janus()
    return VQAScore(pipeline.model, pipeline.processor, **{"template": TEMPLATE, "question": QUESTION, **changes})


class TestLaws(VerifierLaws):
    @pytest.fixture
    def verifier(self):
        return build(batch_size=2)


def test_it_is_the_share_of_yes_among_yes_and_no():
    verifier = build(batch_size=1)
    media = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    scores = verifier(media, ["a red star", "two blue ring"]).total
    for row, prompt in enumerate(("a red star", "two blue ring")):
        text = f"user : <image> draw {prompt} yes and no plan :"
        image = (media[row] * 255).round().to(torch.uint8)
        with torch.no_grad():
            logits = verifier.model(**verifier.processor(text=[text], images=[image], return_tensors="pt")).logits[
                0, -1
            ]
        chance = logits.softmax(-1)
        yes, no = (chance[verifier.processor.tokenizer.convert_tokens_to_ids(word)] for word in ("yes", "no"))
        torch.testing.assert_close(scores[row], yes / (yes + no), rtol=1e-4, atol=1e-5)


def test_the_picture_and_the_prompt_matter():
    verifier = build()
    media = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    scores = verifier(media, ["a red star"] * 3).total
    assert len(set(scores.tolist())) == 3
    assert not torch.equal(scores, verifier(media, ["two blue ring"] * 3).total)


def test_braces_in_a_prompt_are_letters():
    media = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    assert bool(build()(media, ["a {image} and {question} star"]).total.isfinite().all())


def test_words_count_if_they_are_one_token():
    tokens = janus().processor.tokenizer
    assert single_tokens(tokens, ("Yes", "yes")) == [tokens.convert_tokens_to_ids("yes")]
    assert single_tokens(tokens, ("perhaps", "yes no")) == []


def test_what_cannot_be_asked_is_refused():
    with pytest.raises(ValueError, match="lacks {question}"):
        build(template="{image} what?")
    with pytest.raises(ValueError, match="no chat template; give `template`"):
        build(template=None)
    pipeline = janus()
    pipeline.processor.tokenizer = pipeline.processor.tokenizer.__class__(
        tokenizer_object=pipeline.processor.tokenizer.backend_tokenizer.__class__.from_str(
            pipeline.processor.tokenizer.backend_tokenizer.to_str().replace('"yes"', '"yea"')
        ),
        unk_token="<unk>",
    )
    with pytest.raises(ValueError, match="cannot say yes in one token"):
        VQAScore(pipeline.model, pipeline.processor, template=TEMPLATE)
    with pytest.raises(ValueError, match="one prompt each"):
        build()(torch.rand(2, 3, 16, 16), ["a"])
