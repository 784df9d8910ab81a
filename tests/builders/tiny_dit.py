"""Tiny random pipelines of the transformer families, built offline in well under a second each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    AutoencoderKLWan,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SanaPipeline,
    SanaSprintPipeline,
    SanaTransformer2DModel,
    SCMScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from transformers import (
    CLIPTextModel,
    Gemma2Config,
    Gemma2Model,
    T5Config,
    T5EncoderModel,
    UMT5Config,
    UMT5EncoderModel,
)

from tests.builders.tiny import LENGTH, WORDS, stable_diffusion, stable_diffusion_xl, text_config, tokenizer


def seeded(build: Any, seed: int = 0) -> Any:
    """Random weights that are the same in every run, without touching the global generator."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build().eval()


def autoencoder(channels: int, **config: Any) -> AutoencoderKL:
    return seeded(
        lambda: AutoencoderKL(
            block_out_channels=(8, 8),
            in_channels=3,
            out_channels=3,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=channels,
            norm_num_groups=4,
            sample_size=16,
            **config,
        )
    )


def t5(kind: Any = T5EncoderModel, config: Any = T5Config) -> Any:
    shape = config(vocab_size=4 + len(WORDS), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    return seeded(lambda: kind(shape))


def flux(**scheduler: Any) -> FluxPipeline:
    """16x16 pictures, packed latents of 16 tokens of 16 numbers."""
    transformer = seeded(
        lambda: FluxTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=16,
            pooled_projection_dim=16,
            axes_dims_rope=[4, 4, 8],
        )
    )
    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**scheduler),
        text_encoder=seeded(lambda: CLIPTextModel(text_config(16))),
        text_encoder_2=t5(),
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer(),
        transformer=transformer,
        vae=autoencoder(4, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.06, scaling_factor=1.5),
    )
    return quiet(pipeline)


def sana_parts() -> dict[str, Any]:
    text = Gemma2Config(
        vocab_size=4 + len(WORDS),
        head_dim=8,
        hidden_size=16,
        intermediate_size=16,
        num_attention_heads=2,
        num_hidden_layers=1,
        num_key_value_heads=1,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    vae = seeded(
        lambda: AutoencoderDC(
            latent_channels=4,
            attention_head_dim=2,
            encoder_block_types=("ResBlock", "EfficientViTBlock"),
            decoder_block_types=("ResBlock", "EfficientViTBlock"),
            encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8),
            encoder_qkv_multiscales=((), (5,)),
            decoder_qkv_multiscales=((), (5,)),
            encoder_layers_per_block=(1, 1),
            decoder_layers_per_block=(1, 1),
            downsample_block_type="conv",
            upsample_block_type="interpolate",
            decoder_norm_types="rms_norm",
            decoder_act_fns="silu",
            scaling_factor=0.41407,
        )
    )
    return {"tokenizer": tokenizer(), "text_encoder": seeded(lambda: Gemma2Model(text)), "vae": vae}


def sana_transformer(**config: Any) -> SanaTransformer2DModel:
    return seeded(
        lambda: SanaTransformer2DModel(
            patch_size=1,
            in_channels=4,
            out_channels=4,
            num_layers=1,
            num_attention_heads=2,
            attention_head_dim=8,
            num_cross_attention_heads=2,
            cross_attention_head_dim=8,
            cross_attention_dim=16,
            caption_channels=16,
            sample_size=8,
            **config,
        )
    )


def sana(scheduler: Any = None) -> SanaPipeline:
    """32x32 pictures with `use_resolution_binning=False`."""
    solver = DPMSolverMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    return quiet(SanaPipeline(transformer=sana_transformer(), scheduler=scheduler or solver, **sana_parts()))


def sana_sprint() -> SanaSprintPipeline:
    """The same size; guidance is an input of the network."""
    transformer = sana_transformer(guidance_embeds=True, qk_norm="rms_norm_across_heads")
    return quiet(SanaSprintPipeline(transformer=transformer, scheduler=SCMScheduler(), **sana_parts()))


def wan(scheduler: Any = None) -> WanPipeline:
    """Clips of 5 frames of 16x16."""
    transformer = seeded(
        lambda: WanTransformer3DModel(
            patch_size=(1, 2, 2),
            num_attention_heads=2,
            attention_head_dim=16,
            in_channels=4,
            out_channels=4,
            text_dim=16,
            freq_dim=16,
            ffn_dim=16,
            num_layers=1,
            cross_attn_norm=True,
            qk_norm="rms_norm_across_heads",
            rope_max_seq_len=32,
        )
    )
    vae = seeded(
        lambda: AutoencoderKLWan(
            base_dim=3,
            z_dim=4,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            temperal_downsample=[False, True, True],
            latents_mean=[0.1, -0.2, 0.3, 0.0],
            latents_std=[1.5, 0.8, 1.1, 2.0],
        )
    )
    pipeline = WanPipeline(
        tokenizer=tokenizer(),
        text_encoder=t5(UMT5EncoderModel, UMT5Config),
        vae=vae,
        scheduler=scheduler or FlowMatchEulerDiscreteScheduler(shift=7.0),
        transformer=transformer,
    )
    return quiet(pipeline)


def quiet(pipeline: Any) -> Any:
    """No progress bar."""
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


SIZE: dict[str, Any] = {"height": 16, "width": 16}
SANA: dict[str, Any] = {"height": 32, "width": 32, "use_resolution_binning": False, "complex_human_instruction": None}
# name -> how to build it, the settings of a short call
FAMILIES: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "sd": (stable_diffusion, {**SIZE, "num_inference_steps": 3}),
    "sdxl": (stable_diffusion_xl, {**SIZE, "num_inference_steps": 3}),
    "flux": (flux, {**SIZE, "num_inference_steps": 3, "max_sequence_length": LENGTH}),
    "sana": (sana, {**SANA, "num_inference_steps": 3, "max_sequence_length": LENGTH}),
    "sana-sprint": (sana_sprint, {**SANA, "num_inference_steps": 2, "max_sequence_length": LENGTH}),
    "wan": (wan, {**SIZE, "num_frames": 5, "num_inference_steps": 3, "max_sequence_length": LENGTH}),
}
