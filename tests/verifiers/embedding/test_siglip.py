"""SigLIP on a tiny random SiglipModel of transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.builders import tiny_embedding as tiny
from verifiers.embedding.preprocess import Preprocess
from verifiers.embedding.siglip import SigLIP


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> SigLIP:
    return SigLIP.load(tiny.siglip(tmp_path_factory.mktemp("siglip")))


def pictures(count: int = 4) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def features(verifier: SigLIP, prompt: str) -> np.ndarray:
    """The head on the last of 48 positions: letters, then padding on the right, without a mask."""
    letters = prompt.lower().replace(" ", "▁")
    ids = [verifier.tokenizer.convert_tokens_to_ids(letter) for letter in letters]
    ids += [verifier.tokenizer.pad_token_id] * (48 - len(ids))
    last = verifier.model.text_model(input_ids=torch.tensor([ids])).last_hidden_state[0, -1].double().numpy()
    layer = verifier.model.text_model.head
    return last @ layer.weight.double().numpy().T + layer.bias.double().numpy()


def test_the_score_is_the_logit(verifier: SigLIP) -> None:
    with torch.no_grad():
        image = verifier.model.vision_model(pixel_values=(pictures() - 0.5) / 0.5).pooler_output.double().numpy()
    text = np.stack([features(verifier, prompt) for prompt in tiny.PROMPTS])
    cosine = (image * text).sum(1) / np.linalg.norm(image, axis=1) / np.linalg.norm(text, axis=1)
    scores = verifier(pictures(), tiny.PROMPTS).total
    np.testing.assert_allclose(scores.numpy(), np.exp(2.3) * cosine - 4.5, rtol=1e-4, atol=1e-4)
    assert scores.std() > 0.01


def test_the_side_of_padding_does_not_follow_the_tokenizer(tmp_path: Path) -> None:
    for side in ("left", "right"):
        (tmp_path / side).mkdir()
    left, right = (SigLIP.load(tiny.siglip(tmp_path / side, side)) for side in ("left", "right"))
    assert [v.tokenizer.padding_side for v in (left, right)] == ["left", "right"]
    assert torch.equal(left(pictures(), tiny.PROMPTS).total, right(pictures(), tiny.PROMPTS).total)
    wrong = left.tokenizer("a ring", padding="max_length", max_length=48, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        other = left.model.get_text_features(input_ids=wrong).pooler_output
    unit = other[0] / other[0].norm()
    assert (unit - left.text_features("a ring")).abs().max() > 1e-3


def test_capital_letters_do_not_matter(verifier: SigLIP) -> None:
    assert torch.equal(verifier.text_features("A Ring"), verifier.text_features("a ring"))


def test_the_picture_is_squashed_by_the_filter_of_the_processor(verifier: SigLIP) -> None:
    assert verifier.preprocess == Preprocess(32, (0.5,) * 3, (0.5,) * 3, "bilinear", squash=True, floor=True)


def test_models_of_flexible_size_are_refused(tmp_path: Path) -> None:
    tiny.siglip(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"model_type": "siglip"', '"model_type": "siglip2"'))
    with pytest.raises(ValueError, match="it is a 'siglip2', not a 'siglip'"):
        SigLIP.load(tmp_path)
