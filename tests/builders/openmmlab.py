"""A tiny Mask2Former written out as mmdet 2 or 3 names and stores it, module by module."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def state(module: Any, prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in module.state_dict().items()}


def joined(modules: list[Any], name: str, separator: str) -> dict[str, Tensor]:
    """Three linear layers as one."""
    return {f"{name}{separator}{kind}": torch.cat([getattr(m, kind) for m in modules]) for kind in ("weight", "bias")}


def unfolded(tensor: Tensor) -> Tensor:
    """The last axis from transformers' order of merged patches to that of `torch.nn.Unfold`."""
    four = tensor.unflatten(-1, (4, -1))  # (0,0) (1,0) (0,1) (1,1) of all channels
    return torch.stack([four[..., i, :] for i in (0, 2, 1, 3)], -1).flatten(-2)


def backbone(encoder: Any) -> dict[str, Tensor]:
    swin = encoder.swin
    out = state(swin.embeddings.patch_embeddings.projection, "backbone.patch_embed.projection")
    out |= state(swin.embeddings.norm, "backbone.patch_embed.norm")
    for i, stage in enumerate(swin.encoder.layers):
        for j, block in enumerate(stage.blocks):
            name, attention = f"backbone.stages.{i}.blocks.{j}", block.attention
            out |= state(block.layernorm_before, f"{name}.norm1") | state(block.layernorm_after, f"{name}.norm2")
            three = [attention.q_proj, attention.k_proj, attention.v_proj]
            out |= joined(three, f"{name}.attn.w_msa.qkv", ".") | state(attention.o_proj, f"{name}.attn.w_msa.proj")
            table = attention.relative_position_bias.relative_position_bias_table
            out[f"{name}.attn.w_msa.relative_position_bias_table"] = table
            side = (int(len(table) ** 0.5) + 1) // 2
            step = (torch.arange(side)[:, None] * (2 * side - 1) + torch.arange(side)).reshape(1, -1)
            out[f"{name}.attn.w_msa.relative_position_index"] = (step + step.T).flip(1)
            out |= state(block.mlp.fc1, f"{name}.ffn.layers.0.0") | state(block.mlp.fc2, f"{name}.ffn.layers.1")
        if stage.downsample is not None:
            for part in ("norm", "reduction"):
                kept = state(getattr(stage.downsample, part), f"backbone.stages.{i}.downsample.{part}")
                out |= {name: unfolded(tensor) for name, tensor in kept.items()}
        out |= state(getattr(encoder.hidden_states_norms, f"stage{i + 1}"), f"backbone.norm{i}")
    return out


def pixel_decoder(decoder: Any, new: bool) -> dict[str, Tensor]:
    name = "panoptic_head.pixel_decoder"
    out = {f"{name}.level_encoding.weight": decoder.level_embed} | state(
        decoder.mask_projection, f"{name}.mask_feature"
    )
    for i, (conv, norm) in enumerate(decoder.input_projections):
        out |= state(conv, f"{name}.input_convs.{i}.conv") | state(norm, f"{name}.input_convs.{i}.gn")
    for kind, pair in (("lateral_convs", decoder.adapter_1), ("output_convs", decoder.layer_1)):
        out |= state(pair[0], f"{name}.{kind}.0.conv") | state(pair[1], f"{name}.{kind}.0.gn")
    for i, layer in enumerate(decoder.encoder.layers):
        inner = f"{name}.encoder.layers.{i}"
        out |= state(layer.self_attn, f"{inner}.{'self_attn' if new else 'attentions.0'}")
        out |= state(layer.self_attn_layer_norm, f"{inner}.norms.0") | state(layer.final_layer_norm, f"{inner}.norms.1")
        ffn = f"{inner}.{'ffn' if new else 'ffns.0'}.layers"
        out |= state(layer.fc1, f"{ffn}.0.0") | state(layer.fc2, f"{ffn}.1")
    return out


def as_openmmlab(model: Any, new: bool) -> dict[str, Tensor]:
    """The tensors of a Mask2Former of transformers as mmdet 2 (or 3, if `new`) would store them."""
    level, module = model.model.pixel_level_module, model.model.transformer_module
    out = (
        backbone(level.encoder)
        | pixel_decoder(level.decoder, new)
        | state(model.class_predictor, "panoptic_head.cls_embed")
    )
    for old, name in (
        ("queries_embedder", "query_embed"),
        ("queries_features", "query_feat"),
        ("level_embed", "level_embed"),
    ):
        out |= state(getattr(module, old), f"panoptic_head.{name}")
    for i, block in enumerate(module.decoder.mask_predictor.mask_embedder.children()):
        out |= state(next(block.children()), f"panoptic_head.mask_embed.{2 * i}")
    out |= state(module.decoder.layernorm, "panoptic_head.transformer_decoder.post_norm")
    for i, layer in enumerate(module.decoder.layers):
        inner = f"panoptic_head.transformer_decoder.layers.{i}"
        cross, own, ffn = ("cross_attn", "self_attn", "ffn") if new else ("attentions.0", "attentions.1", "ffns.0")
        out |= state(layer.cross_attn, f"{inner}.{cross}.attn")
        three = [layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj]
        out |= joined(three, f"{inner}.{own}.attn", ".in_proj_") | state(
            layer.self_attn.out_proj, f"{inner}.{own}.attn.out_proj"
        )
        out |= state(layer.cross_attn_layer_norm, f"{inner}.norms.0") | state(
            layer.self_attn_layer_norm, f"{inner}.norms.1"
        )
        out |= state(layer.final_layer_norm, f"{inner}.norms.2")
        out |= state(layer.fc1, f"{inner}.{ffn}.layers.0.0") | state(layer.fc2, f"{inner}.{ffn}.layers.1")
    return {name: tensor.detach().clone() for name, tensor in out.items()}
