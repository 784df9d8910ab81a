"""BLIP-VQA against a calculation by hand from the decoder's words."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import interpolate

from gensearch.testing import VerifierLaws
from tests.builders.tiny_blip import blip, tokenizer
from verifiers.embedding.preprocess import CLIP_MEAN, CLIP_STD
from verifiers.vlm.blip_vqa import BlipVQA, question

IMAGES = torch.rand(5, 3, 40, 56, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def judge():
    return BlipVQA(blip(), tokenizer(), side=32)


class TestBlipVQA(VerifierLaws):
    @pytest.fixture
    def verifier(self, judge):
        return judge


def by_hand(model, image, text):
    """P(yes) against P(no) by the softmax over all words, with masks that hide nothing."""
    mean, std = (torch.tensor(value)[:, None, None] for value in (CLIP_MEAN, CLIP_STD))
    small = interpolate(image[None], (32, 32), mode="bicubic", antialias=True, align_corners=False)[0]
    seen = model.vision_model(pixel_values=((small - mean) / std)[None]).last_hidden_state
    ids = torch.tensor([[30523, *tokenizer()(text)["input_ids"][1:]]])
    mask = torch.ones_like(ids)
    read = model.text_encoder(input_ids=ids, attention_mask=mask, encoder_hidden_states=seen).last_hidden_state
    out = model.text_decoder(
        input_ids=torch.tensor([[30522]]), encoder_hidden_states=read, encoder_attention_mask=mask
    ).logits[0, 0]
    shares = out.softmax(0)
    return float(shares[2748] / (shares[2748] + shares[2053]))


@torch.no_grad()
def test_the_answer_is_yes_against_no_of_the_first_word(judge):
    asked = [["a red apple", "the car"], ["a wooden chair"], ["the car"], ["a dog", "a dog", "a rug"], ["a red apple"]]
    found = judge.answer(IMAGES, asked)
    for image, own, texts in zip(IMAGES, found, asked, strict=True):
        wanted = [by_hand(judge.model, image, f"{text}?") for text in texts]
        assert own.exp().tolist() == pytest.approx(wanted, abs=2e-5)
    assert found[0][0] != found[0][1]
    assert found[0][1] != found[2][0], "the picture matters"


@torch.no_grad()
def test_the_first_token_of_a_question_is_that_of_encoding(judge):
    seen = []
    hook = judge.model.text_encoder.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["input_ids"].tolist()), with_kwargs=True
    )
    judge.answer(IMAGES[:1], [["a red apple"]])
    hook.remove()
    assert seen == [[[30523, *tokenizer()("a red apple?")["input_ids"][1:]]]]


@torch.no_grad()
def test_a_batch_is_its_singles(judge):
    asked = [["a red apple"]] * 5
    together = torch.cat(judge.answer(IMAGES, asked))
    alone = torch.cat([judge.answer(IMAGES[i : i + 1], asked[:1])[0] for i in range(5)])
    torch.testing.assert_close(together, alone, atol=2e-5, rtol=0)


@torch.no_grad()
def test_other_sizes_interpolate_the_positions():
    small, large = (BlipVQA(blip(), tokenizer(), side=side).answer(IMAGES, [["a car"]] * 5) for side in (32, 48))
    assert not torch.equal(torch.cat(small), torch.cat(large))
    assert torch.cat(large).isfinite().all()


def test_a_question_is_lower_case_without_marks():
    assert question('The "Red" apple.') == "the red apple?"
    assert question("a dog?") == "a dog?"
    assert question("the fresh, juicy vegetables") == "the fresh, juicy vegetables?"
    assert question(" ".join(["word"] * 70)).count("word") == 50


def test_another_tokenizer_is_refused():
    other = tokenizer()
    other.convert_tokens_to_ids = lambda word: 7
    with pytest.raises(ValueError, match=r"yes and no are the tokens \[7, 7\], not \[2748, 2053\]"):
        BlipVQA(blip(), other)
