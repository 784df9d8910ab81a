"""A tiny random Janus of transformers' own classes, built offline."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    JanusConfig,
    JanusForConditionalGeneration,
    JanusImageProcessor,
    JanusProcessor,
    PreTrainedTokenizerFast,
)

from gensearch.models.tokens.janus import JanusPipeline

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
    "yes",
    "no",
    "draw",
    "it",
    "plan",
    ":",
    ".",
    "user",
]
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<image>", "<boi>", "<eoi>"]


def tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer that begins every text with <s>."""
    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *WORDS])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    extra = {"image_token": "<image>", "boi_token": "<boi>", "eoi_token": "<eoi>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        extra_special_tokens=extra,
        padding_side="left",
    )


def janus(seed: int = 0) -> JanusPipeline:
    """Pictures of 16x16 from 4x4 tokens."""
    words = tokenizer()
    text = dict(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        vocab_size=len(words),
        max_position_embeddings=256,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    vision = dict(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=16,
        patch_size=4,
        num_image_tokens=16,
        projection_dim=32,
        depth=2,
    )
    vq = dict(
        base_channels=32,
        embed_dim=8,
        latent_channels=32,
        channel_multiplier=[1, 1, 1],
        num_res_blocks=1,
        num_embeddings=48,
        projection_dim=32,
        image_token_embed_dim=32,
        num_hidden_layers=2,
        num_patches=4,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = JanusConfig(
            text_config=text, vision_config=vision, vq_config=vq, image_token_id=4, tie_word_embeddings=False
        )
        model = JanusForConditionalGeneration(config).eval()
        for parameter in model.parameters():  # the usual scale leaves all tokens about as likely
            if parameter.ndim == 2:
                parameter.data.mul_(3)
    model.generation_config.bos_token_id = 1
    model.generation_config.eos_token_id = 2
    model.generation_config.pad_token_id = 0
    model.generation_config.generation_kwargs = {"boi_token_id": 5}
    images = JanusImageProcessor(size={"height": 16, "width": 16}, min_size=4)
    return JanusPipeline(model, JanusProcessor(images, words, num_image_tokens=16), "tiny/janus")
