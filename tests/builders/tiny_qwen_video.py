"""Tiny random Qwen-VLs of transformers' own classes that are given clips, built offline."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLConfig,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

SPECIAL = ["<pad>", "<eos>", "<unk>", "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
REWARDS = ["<|VQ_reward|>", "<|MQ_reward|>", "<|TA_reward|>"]
WORDS = (
    "a red blue star ring visual quality text to video alignment physical common sense consistency of : ; - / 1 2 3 4 5"
)
TEMPLATE = (
    "{% for m in messages %}{% for c in m['content'] %}{% if c['type'] == 'video' %}"
    "<|vision_start|><|video_pad|><|vision_end|>{% else %} {{ c['text'] }} {% endif %}{% endfor %}{% endfor %}"
)
IDS = dict(image_token_id=3, video_token_id=4, vision_start_token_id=5, vision_end_token_id=6)


def tokenizer(known=(*SPECIAL, *REWARDS)):
    """A word-level tokenizer; punctuation and words are tokens."""
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate([*known, *WORDS.split()])}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    words = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        extra_special_tokens={"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"},
    )
    words.add_special_tokens({"additional_special_tokens": list(known[5:])})
    return words


def processor(kind, words):
    """A processor of 4x4 patches, two by two of which are one token."""
    pixels = dict(patch_size=4, merge_size=2, size={"shortest_edge": 64, "longest_edge": 1024})
    clips = Qwen2VLVideoProcessor(temporal_patch_size=2, cap_pixels_per_frame=False, **pixels)
    return kind(Qwen2VLImageProcessor(**pixels), words, clips, chat_template=TEMPLATE)


def text(words):
    """The config of a language model with two layers."""
    return dict(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        vocab_size=len(words),
        max_position_embeddings=512,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
        initializer_range=0.3,
    )


def qwen25(seed=0):
    """A Qwen2.5-VL and its processor."""
    words = tokenizer()
    vision = dict(
        depth=2,
        hidden_size=32,
        intermediate_size=64,
        num_heads=2,
        patch_size=4,
        window_size=16,
        out_hidden_size=32,
        fullatt_block_indexes=[1],
        initializer_range=0.3,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = Qwen2_5_VLConfig(text_config=text(words), vision_config=vision, initializer_range=0.3, **IDS)
        model = Qwen2_5_VLForConditionalGeneration(config).eval()
    return model, processor(Qwen2_5_VLProcessor, words)


def qwen2_config(words):
    """The config of a Qwen2-VL."""
    vision = dict(depth=2, embed_dim=32, hidden_size=32, num_heads=2, patch_size=4, mlp_ratio=2, initializer_range=0.3)
    return Qwen2VLConfig(text_config=text(words), vision_config=vision, initializer_range=0.3, **IDS)


def reward_model(seed=0):
    """A Qwen2-VL with a reward head and its processor."""
    from verifiers.video.videoreward import reward_network

    words = tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = reward_network()(qwen2_config(words)).eval()
    return model, processor(Qwen2VLProcessor, words)
