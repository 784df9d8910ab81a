from __future__ import annotations

import pytest
import torch

from tests.builders.tiny_qwen import qwen2_vl, qwen3_vl
from verifiers.vlm.local import LocalModel, alike, cleaned

ANSWERS = ("first answer", "second answer", "third answer", "fourth answer")


def pictures(n: int):
    return torch.rand(n, 3, 24, 40, generator=torch.Generator().manual_seed(1))


def test_batches_share_a_text_and_their_size_does_not_depend_on_the_others():
    texts = ["a", "b", "a", "a", "b"]
    assert list(alike(texts, [2] * 5)) == [("a", [0, 2], 2), ("a", [3, 3], 1), ("b", [1, 4], 2)]
    assert list(alike(texts, [2, 2, 2, 2, 1])) == [
        ("a", [0, 2], 2),
        ("a", [3, 3], 1),
        ("b", [1, 1], 1),
        ("b", [4], 1),
    ]


@pytest.mark.parametrize("build", [qwen2_vl, qwen3_vl])
def test_an_answer_is_the_likeliest_words_and_depends_on_every_picture(build):
    model, processor = build(answers=ANSWERS)
    local = LocalModel(model, processor, images=2)
    pairs = [[a, b] for a in pictures(4) for b in pictures(4)]
    texts = local.answers(pairs, ["is it a dog"] * 16, 1, 2)
    allowed = processor.tokenizer.convert_tokens_to_ids(list(ANSWERS))
    logits = torch.cat([local.next_word([pair], "is it a dog") for pair in pairs])[:, allowed]
    assert texts == [ANSWERS[i] for i in logits.argmax(1)]
    assert len({row[0].item() for row in logits}) == 16


def test_a_broken_picture_is_black():
    media = pictures(2)
    media[1, 2, 3, 4] = torch.inf
    pixels, finite = cleaned(media)
    assert finite.tolist() == [True, False]
    assert torch.equal(pixels[0], media[0])
    assert not pixels[1].any()
