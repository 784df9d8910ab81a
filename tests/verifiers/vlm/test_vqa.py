from __future__ import annotations

import numpy as np
import pytest
import torch

from gensearch.testing import VerifierLaws
from tests.builders.tiny_janus import janus
from tests.builders.tiny_qwen import qwen3_vl
from verifiers.vlm.decompose import Decomposed
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


def test_among_all_words_it_is_the_chance_of_one_spelling():
    verifier = VQAScore(*qwen3_vl(), among="all", batch_size=1)
    media = torch.rand(2, 3, 24, 40, generator=torch.Generator().manual_seed(1))
    scores = verifier(media, ["a red star"] * 2).total
    text = verifier.local.template.replace("{image}", "<|image_pad|>").replace(
        "{question}", 'Does this figure show "a red star"? Please answer yes or no.'
    )
    for row in range(2):
        image = (media[row] * 255).round().to(torch.uint8)
        with torch.no_grad():
            logits = verifier.model(**verifier.processor(text=[text], images=[image], return_tensors="pt")).logits
        x = logits[0, -1].double().numpy()
        chance = np.exp(x - x.max()) / np.exp(x - x.max()).sum()
        assert scores[row].item() == pytest.approx(
            chance[verifier.processor.tokenizer("Yes")["input_ids"][0]], rel=1e-4
        )
    assert (scores < VQAScore(*qwen3_vl())(media, ["a red star"] * 2).total).all()


@pytest.mark.parametrize("among", ["answers", "all"])
def test_answers_are_logarithms_of_the_same_chance(among):
    verifier = VQAScore(*qwen3_vl(), among=among, batch_size=2, question="{prompt} Please answer yes or no.")
    media = torch.rand(3, 3, 24, 24, generator=torch.Generator().manual_seed(2))
    media[1, 0, 0, 0] = torch.nan
    asked = [("Is there a red star?",), ("Is there a cup?", "Is the cup blue?"), ("Is there a cup?", "Is it red?")]
    logs = verifier.answer(media, asked)
    assert [len(row) for row in logs] == [1, 2, 2]
    assert logs[1].isnan().all()
    for row in (0, 2):
        for log, question in zip(logs[row], asked[row], strict=True):
            alone = verifier(media[[row] * 2], [question] * 2).total[0]
            assert log.exp().item() == pytest.approx(alone.item(), rel=1e-5)


class TestDecomposedLaws(VerifierLaws):
    @pytest.fixture
    def verifier(self):
        return Decomposed(VQAScore(*qwen3_vl(), among="all", batch_size=2), name="questions:tiny")


def test_a_decomposed_prompt_scores_by_the_product_of_its_answers():
    judge = VQAScore(*qwen3_vl(), batch_size=1)
    media = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(2))
    (logs,) = judge.answer(media, [("Is there a cup?", "Is the cup red?", "Is there a dog?")])
    scores = Decomposed(judge)(media, ["a photo of a red cup and a dog"])
    assert scores.total.item() == pytest.approx(logs.double().numpy().sum(), rel=1e-6)
    assert scores.parts["Is the cup red?"].item() == pytest.approx(np.exp(logs[1].item()), rel=1e-6)


def test_another_competition_is_refused():
    with pytest.raises(ValueError, match="among is 'some'; it must be 'answers'"):
        build(among="some")
    with pytest.raises(ValueError, match="one prompt each"):
        build().answer(torch.rand(2, 3, 16, 16), [("a",)])
