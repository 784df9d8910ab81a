"""A tiny random BLIP for questions, with BLIP's ids of tokens, and a tiny random DPT; built offline."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BlipConfig,
    BlipForQuestionAnswering,
    DPTConfig,
    DPTForDepthEstimation,
    PreTrainedTokenizerFast,
)

from tests.builders.tiny_detectors import seeded
from tests.builders.tiny_embedding import randomise

WORDS = ["a", "the", "red", "blue", "green", "apple", "car", "dog", "chair", "wooden", "?", "rug", "metallic"]


def tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer with BERT's marks, and BLIP's ids of yes and no."""
    vocabulary = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "yes": 2748, "no": 2053}
    vocabulary |= {word: i for i, word in enumerate(WORDS, 3000)}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    marks = [("[CLS]", 101), ("[SEP]", 102)]
    inner.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=marks)
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", model_max_length=40)


def blip() -> Any:
    """A network of 32-pixel pictures with patches of 8."""
    shared = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2)
    text = shared | dict(vocab_size=30524, encoder_hidden_size=32, max_position_embeddings=40, hidden_dropout_prob=0.0)
    vision = shared | dict(image_size=32, patch_size=8)
    return randomise(BlipForQuestionAnswering(BlipConfig(text_config=text, vision_config=vision)).eval(), 6, 0.4)


def dpt() -> Any:
    """A network of 32-pixel pictures with patches of 8."""
    config = DPTConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        is_hybrid=False,
    )
    return seeded(DPTForDepthEstimation, config, 2)
