"""Tiny random video pipelines, built offline in well under a second each."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AnyFlowFARPipeline,
    AnyFlowFARTransformer3DModel,
    AutoencoderKLCogVideoX,
    AutoencoderKLLTXVideo,
    AutoencoderKLWan,
    CogVideoXDDIMScheduler,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
    FlowMapEulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeliosPipeline,
    HeliosScheduler,
    HeliosTransformer3DModel,
    LTXConditionPipeline,
    LTXPipeline,
    LTXVideoTransformer3DModel,
    WanImageToVideoPipeline,
    WanTransformer3DModel,
)
from transformers import UMT5Config, UMT5EncoderModel

from tests.builders.tiny import LENGTH, tokenizer
from tests.builders.tiny_dit import quiet, seeded, t5


def wan_vae(channels: int = 4) -> AutoencoderKLWan:
    return seeded(
        lambda: AutoencoderKLWan(
            base_dim=3,
            z_dim=channels,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            temperal_downsample=[False, True, True],
            latents_mean=[0.1, -0.2, 0.3, 0.0],
            latents_std=[1.5, 0.8, 1.1, 2.0],
        )
    )


def anyflow(partition: tuple[int, ...] = (1, 2, 1), **config: Any) -> AnyFlowFARPipeline:
    """Clips of 32x32, latents [4, t, 4, 4]; chunks before the newest two are compressed."""
    transformer = seeded(
        lambda: AnyFlowFARTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=16,
            in_channels=4,
            out_channels=4,
            text_dim=16,
            freq_dim=16,
            ffn_dim=32,
            num_layers=1,
            rope_max_seq_len=64,
            chunk_partition=partition,
            **{"full_chunk_limit": 2, **config},
        )
    )
    return quiet(
        AnyFlowFARPipeline(
            tokenizer=tokenizer(),
            text_encoder=t5(UMT5EncoderModel, UMT5Config),
            transformer=transformer,
            vae=wan_vae(),
            scheduler=FlowMapEulerDiscreteScheduler(shift=5.0),
        )
    )


ANYFLOW = {"height": 32, "width": 32, "num_inference_steps": 2, "max_sequence_length": LENGTH}


def ltx_vae(**config: Any) -> AutoencoderKLLTXVideo:
    return seeded(
        lambda: AutoencoderKLLTXVideo(
            latent_channels=8,
            block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8),
            down_block_types=("LTXVideoDownBlock3D",) * 2,
            layers_per_block=(1, 1, 1),
            decoder_layers_per_block=(1, 1, 1),
            spatio_temporal_scaling=(True, False),
            decoder_spatio_temporal_scaling=(True, False),
            decoder_inject_noise=(False, False, False),
            downsample_type=("conv", "conv"),
            upsample_residual=(False, False),
            upsample_factor=(1, 1),
            patch_size=2,
            **config,
        )
    )


def ltx_parts() -> dict[str, Any]:
    transformer = seeded(
        lambda: LTXVideoTransformer3DModel(
            in_channels=8,
            out_channels=8,
            num_attention_heads=2,
            attention_head_dim=8,
            cross_attention_dim=16,
            caption_channels=16,
            num_layers=1,
        )
    )
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        "vae": ltx_vae(),
        "text_encoder": t5(),
        "tokenizer": tokenizer(),
        "transformer": transformer,
    }


def ltx() -> LTXPipeline:
    """Clips of 3 or 5 frames of 32x32; latents [8, t, 8, 8], two frames for each after the first."""
    return quiet(LTXPipeline(**ltx_parts()))


LTX: dict[str, Any] = {"height": 32, "width": 32, "num_frames": 3, "max_sequence_length": LENGTH}


def helios() -> HeliosPipeline:
    """Clips of 16x16, latents [4, t, 2, 2]; with three latent frames a chunk has 9 frames."""
    transformer = seeded(
        lambda: HeliosTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=4,
            out_channels=4,
            text_dim=16,
            freq_dim=16,
            ffn_dim=16,
            num_layers=1,
            rope_dim=(4, 4, 4),
        )
    )
    return quiet(
        HeliosPipeline(
            tokenizer=tokenizer(),
            text_encoder=t5(UMT5EncoderModel, UMT5Config),
            vae=wan_vae(),
            scheduler=HeliosScheduler(stage_range=[0, 1], stages=1),
            transformer=transformer,
        )
    )


HELIOS: dict[str, Any] = {
    "height": 16,
    "width": 16,
    "num_frames": 18,
    "num_latent_frames_per_chunk": 3,
    "max_sequence_length": LENGTH,
    "history_sizes": [4, 2, 1],
}


def wan_image_to_video() -> WanImageToVideoPipeline:
    """Clips of 5 frames of 16x16 that begin with a picture."""
    transformer = seeded(
        lambda: WanTransformer3DModel(
            patch_size=(1, 2, 2),
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=12,
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
    return quiet(
        WanImageToVideoPipeline(
            tokenizer=tokenizer(),
            text_encoder=t5(UMT5EncoderModel, UMT5Config),
            vae=wan_vae(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
            transformer=transformer,
        )
    )


def ltx_condition() -> LTXConditionPipeline:
    """The same, that goes on from frames if there are any."""
    return quiet(LTXConditionPipeline(**{**ltx_parts(), "scheduler": FlowMatchEulerDiscreteScheduler()}))


def cogvideox() -> CogVideoXPipeline:
    """Clips of 5 frames of 32x32; latents [2, 4, 4, 4], frames before channels."""
    transformer = seeded(
        lambda: CogVideoXTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            in_channels=4,
            out_channels=4,
            time_embed_dim=2,
            text_embed_dim=16,
            num_layers=1,
            sample_width=4,
            sample_height=4,
            sample_frames=5,
            patch_size=2,
            temporal_compression_ratio=4,
            max_text_seq_length=LENGTH,
        )
    )
    vae = seeded(
        lambda: AutoencoderKLCogVideoX(
            down_block_types=("CogVideoXDownBlock3D",) * 4,
            up_block_types=("CogVideoXUpBlock3D",) * 4,
            block_out_channels=(8, 8, 8, 8),
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=2,
            temporal_compression_ratio=4,
        )
    )
    return quiet(
        CogVideoXPipeline(
            tokenizer=tokenizer(),
            text_encoder=t5(),
            vae=vae,
            transformer=transformer,
            scheduler=CogVideoXDDIMScheduler(),
        )
    )
