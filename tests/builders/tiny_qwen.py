"""Tiny random Qwen2-VL and Qwen3-VL of transformers' own classes, with processors, built offline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<unk>",
]
WORDS = [
    "a",
    "photo",
    "of",
    "red",
    "blue",
    "green",
    "star",
    "ring",
    "two",
    "and",
    "cup",
    "dog",
    "there",
    "is",
    "it",
    "the",
    "are",
    "all",
    "exactly",
    "yes",
    "no",
    "user",
]
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PATCH = 4  # pixels; 2x2 patches make one token
PIXELS = 32 * 32  # of a resized picture
START, END, IMAGE, VIDEO = range(3, 7)  # ids of the special tokens


def tokenizer(answers: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """A word-level tokenizer; each text of `answers` is one more token, of any length."""
    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *WORDS])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    made = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token="<unk>",
        additional_special_tokens=[*SPECIAL[1:7]],
        padding_side="left",
    )
    made.add_tokens([AddedToken(answer, normalized=False) for answer in answers])
    return made


def qwen2_vl(seed: int = 0, answers: Sequence[str] = ()) -> tuple[Qwen2VLForConditionalGeneration, Qwen2VLProcessor]:
    """Pictures of about `PIXELS` pixels, 16 tokens each."""
    words = tokenizer(answers)
    vision = dict(
        depth=1, embed_dim=16, hidden_size=32, num_heads=2, mlp_ratio=2, patch_size=PATCH, spatial_merge_size=2
    )
    config = Qwen2VLConfig(
        text_config=text(len(words), {"type": "mrope", "mrope_section": [1, 1, 2]}), vision_config=vision, **marks()
    )
    processor = Qwen2VLProcessor(images(), words, Qwen2VLVideoProcessor(patch_size=PATCH), chat_template=CHAT)
    return random(Qwen2VLForConditionalGeneration, config, seed, words, answers), processor


def qwen3_vl(seed: int = 0, answers: Sequence[str] = ()) -> tuple[Qwen3VLForConditionalGeneration, Qwen3VLProcessor]:
    """The same for Qwen3-VL."""
    words = tokenizer(answers)
    vision = dict(
        depth=2,
        hidden_size=16,
        intermediate_size=32,
        out_hidden_size=32,
        num_heads=2,
        patch_size=PATCH,
        spatial_merge_size=2,
        num_position_embeddings=16,
        deepstack_visual_indexes=[0],
    )
    rope = {"rope_type": "default", "mrope_section": [2, 1, 1], "mrope_interleaved": True}
    config = Qwen3VLConfig(
        text_config=text(len(words), rope) | {"head_dim": 8}, vision_config=vision, **marks(), tie_word_embeddings=False
    )
    processor = Qwen3VLProcessor(images(), words, Qwen3VLVideoProcessor(patch_size=PATCH), chat_template=CHAT)
    return random(Qwen3VLForConditionalGeneration, config, seed, words, answers), processor


def text(words: int, rope: dict[str, Any]) -> dict[str, Any]:
    return dict(
        vocab_size=words,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        rope_parameters={"rope_theta": 10000.0, "rope_type": "default"} | rope,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=0,
    )


def marks() -> dict[str, int]:
    return dict(image_token_id=IMAGE, video_token_id=VIDEO, vision_start_token_id=START, vision_end_token_id=END)


def images() -> Qwen2VLImageProcessor:
    return Qwen2VLImageProcessor(patch_size=PATCH, merge_size=2, size={"shortest_edge": PIXELS, "longest_edge": PIXELS})


def random(kind: Any, config: Any, seed: int, words: PreTrainedTokenizerFast, answers: Sequence[str]) -> Any:
    """Random weights, large enough that words differ; with `answers`, one of them is all that the model can write."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = kind(config).eval()
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.data.mul_(6)
    generation = model.generation_config
    generation.eos_token_id, generation.pad_token_id, generation.bos_token_id = 2, 0, 0
    if answers:
        allowed = set(words.convert_tokens_to_ids(list(answers)))
        generation.suppress_tokens = [i for i in range(len(words)) if i not in allowed]
        generation.max_length = None
    return model
