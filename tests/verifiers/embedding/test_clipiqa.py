"""CLIP-IQA on a tiny random open_clip model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.builders import tiny_embedding as tiny
from verifiers.embedding.clipiqa import CLIPIQA


@pytest.mark.parametrize("pair", [("Good photo.", "Bad photo."), ("Sharp photo.", "Blurry photo.")])
def test_it_is_the_softmax_over_100_cosines(tmp_path: Path, pair: tuple[str, str]) -> None:
    verifier = CLIPIQA.load(tiny.open_clip_folder(tmp_path), pair=pair)
    x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.4, 0.5, 0.6), (0.3, 0.25, 0.2)))
    with torch.no_grad():
        image = verifier.model.encode_image((x - mean) / std).double().numpy()
        text = verifier.model.encode_text(verifier.tokenizer(list(pair))).double().numpy()
    image, text = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (image, text))
    weights = np.exp(100 * image @ text.T)
    expected = weights[:, 0] / weights.sum(1)
    scores = verifier(x, tiny.PROMPTS).total
    np.testing.assert_allclose(scores.numpy(), expected, rtol=2e-3, atol=1e-5)
    assert torch.equal(scores, verifier(x, ["anything"] * 4).total)
    assert scores.std() > 1e-3
