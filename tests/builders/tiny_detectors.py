"""Tiny random detectors of transformers' own classes, with processors, built offline."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    Owlv2Processor,
    PreTrainedTokenizerFast,
    SwinConfig,
)

WORDS = ["a", "photo", "of", "red", "blue", "star", "ring", "cup", "dog", "cat", "clock", "bus", "wine", "glass", "hot"]
START, END, STOP = 101, 102, 1012  # the ids at which Grounding DINO's code splits a text


def tokenizer(room: int, start: str, end: str, ids: dict[str, int]) -> PreTrainedTokenizerFast:
    """A word-level tokenizer with start and end tokens; `ids` fixes some tokens, words follow from 20."""
    vocabulary = {"<pad>": 0, "<unk>": 1} | {word: i for i, word in enumerate(WORDS, 20)} | ids
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    marks = [(start, ids[start]), (end, ids[end])]
    inner.post_processor = processors.TemplateProcessing(single=f"{start} $A {end}", special_tokens=marks)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", unk_token="<unk>", eos_token=end, model_max_length=room
    )


def seeded(kind: Any, config: Any, scale: float = 1) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = kind(config).eval()
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.data.mul_(scale)
    return model


def swin(**changes: Any) -> SwinConfig:
    return SwinConfig(embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4, **changes)


def mask2former(classes: int = 80) -> Mask2FormerForUniversalSegmentation:
    config = Mask2FormerConfig(
        backbone_config=swin(out_features=["stage1", "stage2", "stage3", "stage4"]),
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=16,
        dim_feedforward=16,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        num_queries=12,
        num_labels=classes,
    )
    return seeded(Mask2FormerForUniversalSegmentation, config, 4)


def grounding() -> tuple[GroundingDinoForObjectDetection, GroundingDinoProcessor]:
    text = dict(
        model_type="bert",
        vocab_size=1040,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=256,
    )
    config = GroundingDinoConfig(
        backbone_config=swin(out_indices=[2, 3, 4]),
        text_config=text,
        num_queries=20,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_text_len=256,
    )
    words = tokenizer(256, "[cls]", "[sep]", {"[cls]": START, "[sep]": END, ".": STOP})
    images = GroundingDinoImageProcessor(size={"shortest_edge": 96, "longest_edge": 160})
    return seeded(GroundingDinoForObjectDetection, config, 2), GroundingDinoProcessor(images, words)


def owlv2() -> tuple[Owlv2ForObjectDetection, Owlv2Processor]:
    shared = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    text = shared | dict(vocab_size=64, max_position_embeddings=8, pad_token_id=0, bos_token_id=2, eos_token_id=3)
    config = Owlv2Config(text_config=text, vision_config=shared | dict(image_size=32, patch_size=8), projection_dim=16)
    words = tokenizer(8, "<s>", "</s>", {"<s>": 2, "</s>": 3})
    images = Owlv2ImageProcessor(size={"height": 32, "width": 32})
    return seeded(Owlv2ForObjectDetection, config), Owlv2Processor(images, words)
