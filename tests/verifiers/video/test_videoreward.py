"""VideoReward on a tiny random Qwen2-VL, and the conversion of its checkpoint."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import Qwen2VLForConditionalGeneration, Qwen2VLProcessor

from gensearch.core.noise import randn
from gensearch.testing import VerifierLaws
from tests.builders.tiny_qwen_video import SPECIAL, processor, qwen2_config, reward_model, tokenizer
from verifiers.video.convert_videoreward import convert, merged
from verifiers.video.videoreward import ASPECTS, MEAN, STD, TOKENS, VideoReward, reward_network

QUESTION = "visual quality : <|VQ_reward|> <|MQ_reward|> text {prompt} <|TA_reward|>"
CLIPS = randn(range(4), (5, 3, 16, 24)).mul(0.2).add(0.5).clamp(0.01, 0.99)
PROMPTS = ["a red star", "a blue ring", "a red ring", "a star"]


def build(**options):
    return VideoReward(*reward_model(), **{"question": QUESTION, **options})


class TestLaws(VerifierLaws):
    @pytest.fixture
    def verifier(self):
        return build()

    @pytest.fixture
    def media(self):
        return CLIPS

    @pytest.fixture
    def prompts(self):
        return PROMPTS


def test_rewards_are_the_heads_numbers_at_the_reward_tokens_standardised():
    verifier = build()
    scores = verifier(CLIPS, PROMPTS)
    head = verifier.model.rm_head.weight.double().numpy()[0]
    for row, prompt in enumerate(PROMPTS):
        inputs = verifier.processor(
            text=[f"<|vision_start|><|video_pad|><|vision_end|> {QUESTION.replace('{prompt}', prompt)} "],
            videos=[(CLIPS[row, [0, 1, 3, 4]] * 255).round().to(torch.uint8)],
            videos_kwargs={"do_sample_frames": False},
            return_tensors="pt",
        )
        kinds = inputs.pop("mm_token_type_ids")
        places = torch.arange(kinds.shape[1]).expand(3, 1, -1)
        with torch.no_grad():
            hidden = verifier.model.model(**inputs, position_ids=places).last_hidden_state[0].double().numpy()
        words = verifier.processor.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0].tolist())
        raw = np.array([hidden[words.index(token)] @ head for token in TOKENS])
        expected = (raw - np.array(MEAN)) / np.array(STD)
        assert [scores.parts[aspect][row].item() for aspect in ASPECTS] == pytest.approx(expected, rel=1e-4, abs=1e-5)
        assert scores.total[row].item() == pytest.approx(expected.sum(), rel=1e-4, abs=1e-5)


def test_only_text_alignment_depends_on_the_prompt():
    verifier = build()
    one, other = (verifier(CLIPS, [prompt] * 4).parts for prompt in ("a red star", "a blue ring"))
    assert torch.equal(one["VQ"], other["VQ"])
    assert torch.equal(one["MQ"], other["MQ"])
    assert bool((one["TA"] != other["TA"]).all())
    assert len(set(one["MQ"].tolist())) == 4


def test_clips_have_the_same_bits_alone():
    verifier = build()
    alone = torch.cat([verifier(CLIPS[i : i + 1], PROMPTS[i : i + 1]).total for i in range(4)])
    assert torch.equal(alone, verifier(CLIPS, PROMPTS).total)


@pytest.mark.parametrize(("frames", "side"), [(1, 16), (2, 15), (3, 17), (5, 33)])
def test_odd_lengths_and_sizes_are_scored(frames, side):
    clips = randn(range(2), (frames, 3, side, 20)).mul(0.2).add(0.5).clamp(0, 1)
    assert bool(build()(clips, PROMPTS[:2]).total.isfinite().all())


def test_large_frames_are_made_smaller():
    verifier, seen = build(most_pixels=128), []

    def record(module, args, inputs):
        seen.append(inputs["video_grid_thw"].tolist())

    verifier.model.model.register_forward_pre_hook(record, with_kwargs=True)
    verifier(CLIPS[:1], PROMPTS[:1])
    assert seen == [[[2, 2, 2]]]  # of 4x4 pixels: 64 of at most 128


def test_what_cannot_be_asked_is_refused():
    for options, said in (
        ({"question": "{prompt} <|VQ_reward|> <|MQ_reward|>"}, r"<\|TA_reward\|> 0 times"),
        ({"question": QUESTION + "{prompt}"}, "{prompt} 2 times"),
        ({"std": (1.0, 0.0, 1.0)}, "std above 0"),
        ({"fps": -1.0}, "above 0"),
    ):
        with pytest.raises(ValueError, match=said):
            build(**options)
    with pytest.raises(ValueError, match="takes clips"):
        build()(CLIPS[:, 0], PROMPTS)
    with pytest.raises(ValueError, match="where a score is read"):
        build()(CLIPS[:1], ["a <|TA_reward|> star"])
    model, _ = reward_model()
    with pytest.raises(ValueError, match="does not know"):
        VideoReward(model, processor(Qwen2VLProcessor, tokenizer(SPECIAL)))


def released(folder):
    """A checkpoint in upstream's form around a tiny network: its pickle, its base model, and the network it means."""
    model, _ = reward_model(seed=1)
    base = folder / "base"
    with torch.random.fork_rng():
        torch.manual_seed(2)
        Qwen2VLForConditionalGeneration(qwen2_config(tokenizer(SPECIAL))).save_pretrained(base)
    processor(Qwen2VLProcessor, tokenizer(SPECIAL)).save_pretrained(base)
    state: dict[str, torch.Tensor] = {}
    for name, tensor in model.state_dict().items():
        old = name.replace("model.language_model.", "model.").replace("model.visual.", "visual.")
        if name.endswith("q_proj.weight"):
            layer = "base_model.model." + old.removesuffix(".weight")
            state |= {
                f"{layer}.base_layer.weight": tensor,
                f"{layer}.lora_A.default.weight": randn([3], (4, 32))[0],
                f"{layer}.lora_B.default.weight": randn([4], (32, 4))[0],
            }
        elif name.endswith("q_proj.bias"):
            state["base_model.model." + old.replace(".bias", ".base_layer.bias")] = tensor
        elif name == "rm_head.weight":
            state["base_model.model.rm_head.original_module.weight"] = torch.zeros_like(tensor)
            state["base_model.model.rm_head.modules_to_save.default.weight"] = tensor
        else:
            state["base_model.model." + old] = tensor
    state["base_model.model.lm_head.weight"] = torch.zeros(3)
    step = folder / "released" / "checkpoint-10"
    step.mkdir(parents=True)
    torch.save(state, step / "model.pth")
    known = {
        "data_config": {"fps": 2, "max_frame_pixels": 1024},
        "peft_lora_config": {"lora_r": 4, "lora_alpha": 8},
        "inference_config": {
            f"{a}_{k}": v + i for i, a in enumerate(ASPECTS) for k, v in (("mean", 0.5), ("std", 1.5))
        },
    }
    (folder / "released" / "model_config.json").write_text(json.dumps(known))
    return model


def test_a_released_checkpoint_is_converted_once(tmp_path):
    model = released(tmp_path)
    convert(tmp_path / "released", str(tmp_path / "base"), tmp_path / "ours", QUESTION.replace("prompt", "text_prompt"))
    verifier = VideoReward.load(str(tmp_path / "ours"))
    assert verifier.question == QUESTION
    assert verifier.mean.tolist() == [0.5, 1.5, 2.5]
    assert verifier.std.tolist() == [1.5, 2.5, 3.5]
    assert (verifier.fps, verifier.most_pixels) == (2, 1024)
    low = randn([4], (32, 4))[0].double().numpy() @ randn([3], (4, 32))[0].double().numpy()
    for name, tensor in verifier.model.state_dict().items():
        expected = model.state_dict()[name].double().numpy() + (2 * low if name.endswith("q_proj.weight") else 0)
        assert tensor.numpy() == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert bool(verifier(CLIPS, PROMPTS).total.isfinite().all())
    assert set(load_file(tmp_path / "ours" / "model.safetensors")) == set(model.state_dict())


def test_checkpoints_that_do_not_fit_are_refused(tmp_path):
    released(tmp_path)
    with pytest.raises(ValueError, match="lacks model_config.json"):
        convert(tmp_path / "base", str(tmp_path / "base"), tmp_path / "ours")
    with pytest.raises(ValueError, match="holds no model in safetensors.*convert_videoreward"):
        VideoReward.load(str(tmp_path / "released"))
    with pytest.raises(ValueError, match="lacks rm_head.weight"):
        VideoReward.load(str(tmp_path / "base"))
    broken = {"base_model.model.rm_head.weight": torch.zeros(1, 7)}
    torch.save(broken, tmp_path / "released" / "checkpoint-10" / "model.pth")
    with pytest.raises(ValueError, match="does not fit"):
        convert(tmp_path / "released", str(tmp_path / "base"), tmp_path / "ours")


def test_weights_without_adapters_keep_their_values():
    state = {"visual.a.weight": torch.ones(2, 2), "model.layers.0.b.base_layer.weight": torch.ones(2, 2)}
    found = merged(state, 2.0)
    assert list(found) == ["model.visual.a.weight", "model.language_model.layers.0.b.weight"]
    assert all(torch.equal(tensor, torch.ones(2, 2)) for tensor in found.values())


def test_the_network_is_one_class():
    assert reward_network() is reward_network()
