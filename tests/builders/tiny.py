"""Tiny random pipelines of the UNet families, built offline in well under a second each."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, PreTrainedTokenizerFast

WORDS = ["a", "photo", "of", "red", "blue", "green", "star", "circle", "cat", "dog", "two", "and"]
LENGTH = 12  # of every prompt in tokens


def tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer: <pad> 0, <s> 1, </s> 2, <unk> 3, then the words."""
    vocabulary = {word: i for i, word in enumerate(["<pad>", "<s>", "</s>", "<unk>", *WORDS])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    special = dict(bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>")
    return PreTrainedTokenizerFast(tokenizer_object=inner, model_max_length=LENGTH, **special)


def scheduler(kind: type[Any] = DDIMScheduler, **config: Any) -> Any:
    """A scheduler on Stable Diffusion's noise levels."""
    levels = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1)
    return kind(**{**levels, **({"clip_sample": False} if kind is DDIMScheduler else {}), **config})


def stable_diffusion(schedule: Any = None, channels: int = 4) -> StableDiffusionPipeline:
    """Latents [channels, 8, 8], pictures of 16x16."""
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.manual_seed(0)
        pipeline = StableDiffusionPipeline(
            vae=vae(channels),
            text_encoder=CLIPTextModel(text_config(16)).eval(),
            tokenizer=tokenizer(),
            unet=unet(channels, cross_attention_dim=16),
            scheduler=schedule or scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def stable_diffusion_xl(schedule: Any = None, **config: Any) -> StableDiffusionXLPipeline:
    """Latents [4, 8, 8], pictures of 16x16."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        pipeline = StableDiffusionXLPipeline(
            vae=vae(4),
            text_encoder=CLIPTextModel(text_config(16)).eval(),
            text_encoder_2=CLIPTextModelWithProjection(text_config(24)).eval(),
            tokenizer=tokenizer(),
            tokenizer_2=tokenizer(),
            unet=unet(
                4,
                cross_attention_dim=40,
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                projection_class_embeddings_input_dim=6 * 8 + 24,
                transformer_layers_per_block=1,
                use_linear_projection=True,
            ),
            scheduler=schedule or scheduler(EulerDiscreteScheduler),
            add_watermarker=False,
            **config,
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def text_config(width: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(WORDS) + 4,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        projection_dim=width,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )


def unet(channels: int, **config: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
        norm_num_groups=4,
        **config,
    ).eval()


def vae(channels: int) -> AutoencoderKL:
    return AutoencoderKL(
        latent_channels=channels,
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
        norm_num_groups=4,
        sample_size=16,
    ).eval()
