"""V-JEPA 2 surprise on a tiny random model of transformers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import VJEPA2Config, VJEPA2Model

from gensearch.core.noise import randn
from gensearch.testing import VerifierLaws
from verifiers.video.vjepa import VJEPA

CLIPS = randn(range(4), (9, 3, 32, 32)).mul(0.2).add(0.5).clamp(0.01, 0.99)
PROMPTS = ["a", "b", "c", "d"]


def model():
    sizes = dict(
        patch_size=8,
        crop_size=32,
        frames_per_clip=8,
        hidden_size=24,
        num_attention_heads=2,
        num_hidden_layers=2,
        mlp_ratio=2.0,
        pred_hidden_size=24,
        pred_num_attention_heads=2,
        pred_num_hidden_layers=2,
        pred_num_mask_tokens=2,
        pred_mlp_ratio=2.0,
        pred_zero_init_mask_tokens=False,
        initializer_range=0.2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return VJEPA2Model(VJEPA2Config(**sizes)).eval()


def build(**options):
    return VJEPA(model(), **{"context": 4, "future": 4, "stride": 3, **options})


class TestCosine(VerifierLaws):
    @pytest.fixture
    def verifier(self):
        return build()

    @pytest.fixture
    def media(self):
        return CLIPS


class TestL1(TestCosine):
    @pytest.fixture
    def verifier(self):
        return build(error="l1")


@pytest.mark.parametrize("error", ["cosine", "l1"])
def test_it_is_the_error_of_the_predictor_on_frames_that_the_context_does_not_hold(error):
    verifier = build(error=error)
    net = verifier.model
    mean, std = np.array([0.485, 0.456, 0.406])[:, None, None], np.array([0.229, 0.224, 0.225])[:, None, None]
    pixels = torch.from_numpy((CLIPS[0].double().numpy() - mean) / std).float()
    errors = []
    for start in (0, 1):  # 9 frames: 0 to 7, and 1 to 8
        window = pixels[start : start + 8]
        with torch.no_grad():
            seen = net.encoder(pixel_values_videos=window[None, :4]).last_hidden_state
            target = net.encoder(pixel_values_videos=window[None]).last_hidden_state[0, 32:].double().numpy()
            ids = torch.arange(64)[None]
            guess = net.predictor(encoder_hidden_states=seen, context_mask=[ids[:, :32]], target_mask=[ids[:, 32:]])
        guess = guess.last_hidden_state[0].double().numpy()
        if error == "cosine":
            norms = np.linalg.norm(guess, axis=1) * np.linalg.norm(target, axis=1)
            errors.append((1 - (guess * target).sum(1) / norms).mean())
        else:
            centred = target - target.mean(1, keepdims=True)
            errors.append(np.abs(guess - centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)).mean())
    assert verifier(CLIPS[:1], PROMPTS[:1]).total.item() == pytest.approx(-np.mean(errors), rel=1e-4)


def test_later_frames_do_not_leak_into_the_prediction():
    verifier, seen = build(stride=8), []

    def record(module, args, inputs):
        seen.append(inputs["encoder_hidden_states"].clone())

    verifier.model.predictor.register_forward_pre_hook(record, with_kwargs=True)
    other = CLIPS[:1, :8].clone()
    other[:, 4:] = 1 - other[:, 4:]
    scores = [verifier(clip, PROMPTS[:1]).total for clip in (CLIPS[:1, :8], other)]
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(*scores)


def test_windows_cover_every_clip_to_its_end():
    verifier = build()
    assert verifier.starts(8) == [0]
    assert verifier.starts(9) == [0, 1]
    assert verifier.starts(15) == [0, 3, 6, 7]
    short = randn(range(2), (8, 3, 17, 40)).mul(0.2).add(0.5).clamp(0, 1)  # odd sizes are resized and cropped
    assert bool(verifier(short, PROMPTS[:2]).total.isfinite().all())


def test_clips_have_the_same_bits_alone():
    verifier = build()
    alone = torch.cat([verifier(CLIPS[i : i + 1], PROMPTS[i : i + 1]).total for i in range(4)])
    assert torch.equal(alone, verifier(CLIPS, PROMPTS).total)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="got clips of 7; score clips of 8 or more"):
        build()(CLIPS[:, :7], PROMPTS)
    with pytest.raises(ValueError, match="takes clips"):
        build()(CLIPS[:, 0], PROMPTS)
    for options, said in (
        ({"context": 3}, "context is 3 frames; take a multiple of 2"),
        ({"future": 0}, "future is 0 frames"),
        ({"stride": 0}, "stride is 0"),
        ({"error": "l2"}, "take 'cosine' or 'l1'"),
    ):
        with pytest.raises(ValueError, match=said):
            build(**options)


def test_it_is_loaded_from_safetensors(tmp_path):
    model().save_pretrained(tmp_path)
    loaded = VJEPA.load(str(tmp_path), context=4, future=4, stride=3)
    assert torch.equal(loaded(CLIPS, PROMPTS).total, build()(CLIPS, PROMPTS).total)
