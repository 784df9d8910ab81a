"""More tiny random video pipelines: those whose text goes through language models, and Mochi."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AutoencoderKLHunyuanVideo,
    AutoencoderKLMochi,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideoPipeline,
    HunyuanVideoTransformer3DModel,
    Kandinsky5T2VPipeline,
    Kandinsky5Transformer3DModel,
    MochiPipeline,
    MochiTransformer3DModel,
)
from diffusers.models.transformers.transformer_kandinsky import Kandinsky5Modulation
from torch import nn
from transformers import (
    CLIPTextModel,
    LlamaConfig,
    LlamaModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

from tests.builders.tiny import LENGTH, WORDS, text_config, tokenizer
from tests.builders.tiny_dit import quiet, seeded, t5

LANGUAGE = {  # a language model of 16 numbers a token
    "vocab_size": 4 + len(WORDS),
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def clip() -> CLIPTextModel:
    """A text encoder for the 77 tokens that these pipelines always give it."""
    config = text_config(16)
    config.max_position_embeddings = 77
    return seeded(lambda: CLIPTextModel(config))


def hunyuan_vae() -> AutoencoderKLHunyuanVideo:
    return seeded(
        lambda: AutoencoderKLHunyuanVideo(
            latent_channels=4,
            block_out_channels=(8, 8, 8, 8),
            layers_per_block=1,
            norm_num_groups=4,
            mid_block_add_attention=False,
        )
    )


def hunyuan() -> HunyuanVideoPipeline:
    """Clips of 5 frames of 32x32; latents [4, 2, 4, 4], guidance as an input of the network."""
    transformer = seeded(
        lambda: HunyuanVideoTransformer3DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=10,
            num_layers=1,
            num_single_layers=1,
            num_refiner_layers=1,
            text_embed_dim=16,
            pooled_projection_dim=16,
            rope_axes_dim=(2, 4, 4),
        )
    )
    return quiet(
        HunyuanVideoPipeline(
            text_encoder=seeded(lambda: LlamaModel(LlamaConfig(**LANGUAGE))),
            tokenizer=tokenizer(),
            transformer=transformer,
            vae=hunyuan_vae(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
            text_encoder_2=clip(),
            tokenizer_2=tokenizer(),
        )
    )


HUNYUAN = {  # the words alone: tiny tokens of the real template would not end where it is cut off
    "height": 32,
    "width": 32,
    "num_frames": 5,
    "max_sequence_length": LENGTH,
    "prompt_template": {"template": "{}", "crop_start": 0},
}


def mochi() -> MochiPipeline:
    """Clips of 7 frames of 32x16; latents [12, 2, 4, 2], and noise levels that rise."""
    transformer = seeded(
        lambda: MochiTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=2,
            pooled_projection_dim=16,
            in_channels=12,
            text_embed_dim=16,
            time_embed_dim=4,
            max_sequence_length=LENGTH,
        )
    )
    vae = seeded(
        lambda: AutoencoderKLMochi(
            encoder_block_out_channels=(32, 32, 32, 32),
            decoder_block_out_channels=(32, 32, 32, 32),
            layers_per_block=(1, 1, 1, 1, 1),
        )
    )
    return quiet(
        MochiPipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
            vae=vae,
            text_encoder=t5(),
            tokenizer=tokenizer(),
            transformer=transformer,
        )
    )


MOCHI = {"height": 32, "width": 16, "num_frames": 7, "max_sequence_length": LENGTH}


PADS = ["<|image_pad|>", "<|video_pad|>"]


def processor() -> Qwen2VLProcessor:
    words = tokenizer()
    words.add_tokens(PADS, special_tokens=True)
    words.model_max_length = 1024
    return Qwen2VLProcessor(Qwen2VLImageProcessor(), words, Qwen2VLVideoProcessor())


def qwen() -> Qwen2_5_VLForConditionalGeneration:
    vision = dict(depth=1, hidden_size=16, intermediate_size=16, num_heads=2, out_hidden_size=16)
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10_000.0}
    text = {**LANGUAGE, "vocab_size": LANGUAGE["vocab_size"] + len(PADS), "rope_parameters": rope}
    return seeded(lambda: Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision)))


def kandinsky_transformer(**config: Any) -> Kandinsky5Transformer3DModel:
    transformer = Kandinsky5Transformer3DModel(
        in_visual_dim=4,
        out_visual_dim=4,
        in_text_dim=16,
        in_text_dim2=16,
        time_dim=8,
        model_dim=16,
        ff_dim=16,
        num_text_blocks=1,
        num_visual_blocks=1,
        axes_dims=(2, 2, 4),
        **config,
    )
    for part in transformer.modules():
        if isinstance(part, Kandinsky5Modulation):  # begins at zero, where no prompt counts
            nn.init.normal_(part.out_layer.weight, std=0.5)
    return transformer


def kandinsky(**config: Any) -> Kandinsky5T2VPipeline:
    """Clips of 5 frames of 32x32; latents [2, 4, 4, 4], channels last."""
    pipeline = Kandinsky5T2VPipeline(
        transformer=seeded(lambda: kandinsky_transformer(**config)),
        vae=hunyuan_vae(),
        text_encoder=qwen(),
        tokenizer=processor(),
        text_encoder_2=clip(),
        tokenizer_2=tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0),
    )
    template, _, _ = pipeline.prompt_template.partition("{}")
    (ids,) = pipeline.tokenizer(text=[template]).input_ids
    pipeline.prompt_template_encode_start_idx = len(ids) - 1  # without the token that ends it
    return quiet(pipeline)


KANDINSKY = {"height": 32, "width": 32, "num_frames": 5, "max_sequence_length": LENGTH}
