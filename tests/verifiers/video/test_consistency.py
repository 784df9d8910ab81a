"""Subject consistency on a tiny random DINOv2, background consistency on an embedded CLIP."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Dinov2Config, Dinov2Model

import gensearch.shapes
from gensearch import registry
from gensearch.core.noise import randn
from gensearch.testing import VerifierLaws
from verifiers.combine import overlap
from verifiers.embedding.clip import CLIPScore
from verifiers.video.consistency import IMAGENET_MEAN, IMAGENET_STD, SIZE, Consistency, likeness

CLIP = Path(gensearch.shapes.__file__).parent / "weights" / "clip"
CLIPS = randn(range(4), (3, 3, SIZE, SIZE)).mul(0.2).add(0.5).clamp(0.01, 0.99)
PROMPTS = ["a", "b", "c", "d"]


def dino():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = Dinov2Config(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            mlp_ratio=2,
            image_size=56,
            patch_size=28,
            initializer_range=0.3,
        )
        return Dinov2Model(config).eval()


class TestDino(VerifierLaws):
    @pytest.fixture
    def verifier(self):
        return Consistency.of_dino(dino(), frames_per_batch=2)

    @pytest.fixture
    def media(self):
        return CLIPS


def formula(features):
    """VBench's loop over frames."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    total = 0.0
    for t in range(1, len(unit)):
        total += (max(0.0, unit[t] @ unit[0]) + max(0.0, unit[t] @ unit[t - 1])) / 2
    return total / (len(unit) - 1)


def test_subject_consistency_is_vbenchs_formula_on_class_tokens():
    net = dino()
    verifier = Consistency.of_dino(net)
    mean, std = (np.array(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    for clip, score in zip(CLIPS, verifier(CLIPS, PROMPTS).total.tolist(), strict=True):
        pixels = torch.from_numpy((clip.double().numpy() - mean) / std).float()
        with torch.no_grad():
            tokens = net(pixel_values=pixels).last_hidden_state[:, 0].double().numpy()
        assert score == pytest.approx(formula(tokens), rel=1e-4)


def test_background_consistency_is_the_formula_on_clip_features():
    verifier = registry.verifier(f"background_consistency:{CLIP}")
    guide = CLIPScore.load(CLIP)
    clips = randn(range(2), (5, 3, 64, 50)).mul(0.2).add(0.5).clamp(0, 1)
    for clip, score in zip(clips, verifier(clips, PROMPTS[:2]).total.tolist(), strict=True):
        with torch.no_grad():
            features = guide.model.encode_image(guide.preprocess(clip)).double().numpy()
        assert score == pytest.approx(formula(features), rel=1e-4)
    assert overlap(verifier, guide)
    assert not overlap(verifier, registry.verifier("shapes/clip-holdout"))


def test_opposite_frames_count_as_zero_and_still_clips_as_one():
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [-0.6, 0.8]])
    assert likeness(opposite).item() == pytest.approx((0 + 0 + 0 + 0.6) / 4)
    still = CLIPS[:2, :1].expand(-1, 4, -1, -1, -1)
    verifier = Consistency.of_dino(dino())
    assert verifier(still, PROMPTS[:2]).total.tolist() == pytest.approx([1, 1])
    assert verifier(still[:, :1], PROMPTS[:2]).total.tolist() == [1, 1]


def test_clips_have_the_same_bits_alone():
    verifier = Consistency.of_dino(dino(), frames_per_batch=2)
    alone = torch.cat([verifier(CLIPS[i : i + 1], PROMPTS[i : i + 1]).total for i in range(4)])
    assert torch.equal(alone, verifier(CLIPS, PROMPTS).total)


def test_pictures_are_refused():
    with pytest.raises(ValueError, match="subject_consistency takes clips"):
        Consistency.of_dino(dino())(CLIPS[:, 0], PROMPTS)


def test_a_dino_is_loaded_from_safetensors(tmp_path):
    dino().save_pretrained(tmp_path)
    loaded = registry.verifier(f"subject_consistency:{tmp_path}")
    assert torch.equal(loaded(CLIPS, PROMPTS).total, Consistency.of_dino(dino())(CLIPS, PROMPTS).total)
