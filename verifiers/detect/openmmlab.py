"""OpenMMLab's Mask2Former with a Swin backbone, which GenEval runs, as a checkpoint of transformers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from verifiers.detect.classes import GENEVAL_CLASSES, RENAMED
from verifiers.embedding.files import Converted

PUBLISHED = {  # the first 8 digits of the sha256, which are part of OpenMMLab's file names -> how mmdet wrote it
    "743b7d99": "mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco_20220504_001756-743b7d99.pth, mmdet 2",
    "c9d0c4f2": "mask2former_swin-s-p4-w7-224_8xb2-lsj-50e_coco_20220504_001756-c9d0c4f2.pth, mmdet 3",
}
LEVELS, POINTS = 3, 4  # of the deformable attention: scales, and samples of each
SWIN, PIXELS, QUERIES = (
    "model.pixel_level_module.encoder",
    "model.pixel_level_module.decoder",
    "model.transformer_module",
)
LAYER, ENCODER = (
    r"panoptic_head\.transformer_decoder\.layers\.(\d+)",
    r"panoptic_head\.pixel_decoder\.encoder\.layers\.(\d+)",
)
BLOCK, DOWN = r"backbone\.stages\.(\d+)\.blocks\.(\d+)", r"backbone\.stages\.(\d+)\.downsample"
TO_BLOCK, TO_LAYER = SWIN + r".encoder.layers.\1.blocks.\2", QUERIES + r".decoder.layers.\1"
CROSS, SELF = r"(?:attentions\.0|cross_attn)\.attn", r"(?:attentions\.1|self_attn)\.attn"  # mmdet 2, mmdet 3
FFN, DEFORMABLE = r"(?:ffns\.0|ffn)\.layers", r"(?:attentions\.0|self_attn)"
NAMES = (  # OpenMMLab's name -> that of transformers; with {}, a tensor that is cut into three of these names
    (r"backbone\.patch_embed\.projection\.(\w+)", SWIN + r".embeddings.patch_embeddings.projection.\1"),
    (r"backbone\.patch_embed\.norm\.(\w+)", SWIN + r".embeddings.norm.\1"),
    (BLOCK + r"\.norm1\.(\w+)", TO_BLOCK + r".layernorm_before.\3"),
    (BLOCK + r"\.norm2\.(\w+)", TO_BLOCK + r".layernorm_after.\3"),
    (BLOCK + r"\.attn\.w_msa\.qkv\.(\w+)", TO_BLOCK + r".attention.self.{query,key,value}.\3"),
    (BLOCK + r"\.attn\.w_msa\.proj\.(\w+)", TO_BLOCK + r".attention.output.dense.\3"),
    (BLOCK + r"\.attn\.w_msa\.(relative_position_bias_table)", TO_BLOCK + r".attention.self.\3"),
    (BLOCK + r"\.ffn\.layers\.0\.0\.(\w+)", TO_BLOCK + r".intermediate.dense.\3"),
    (BLOCK + r"\.ffn\.layers\.1\.(\w+)", TO_BLOCK + r".output.dense.\3"),
    (DOWN + r"\.(norm|reduction)\.(\w+)", SWIN + r".encoder.layers.\1.downsample.\2.\3"),
    *((rf"backbone\.norm{i}\.(\w+)", SWIN + rf".hidden_states_norms.stage{i + 1}.\1") for i in range(4)),
    (r"panoptic_head\.pixel_decoder\.input_convs\.(\d)\.conv\.(\w+)", PIXELS + r".input_projections.\1.0.\2"),
    (r"panoptic_head\.pixel_decoder\.input_convs\.(\d)\.gn\.(\w+)", PIXELS + r".input_projections.\1.1.\2"),
    (ENCODER + rf"\.{DEFORMABLE}\.(\w+)\.(\w+)", PIXELS + r".encoder.layers.\1.self_attn.\2.\3"),
    (ENCODER + r"\.norms\.0\.(\w+)", PIXELS + r".encoder.layers.\1.self_attn_layer_norm.\2"),
    (ENCODER + r"\.norms\.1\.(\w+)", PIXELS + r".encoder.layers.\1.final_layer_norm.\2"),
    (ENCODER + rf"\.{FFN}\.0\.0\.(\w+)", PIXELS + r".encoder.layers.\1.fc1.\2"),
    (ENCODER + rf"\.{FFN}\.1\.(\w+)", PIXELS + r".encoder.layers.\1.fc2.\2"),
    (r"panoptic_head\.pixel_decoder\.level_encoding\.weight", PIXELS + r".level_embed"),
    (r"panoptic_head\.pixel_decoder\.lateral_convs\.0\.conv\.(\w+)", PIXELS + r".adapter_1.0.\1"),
    (r"panoptic_head\.pixel_decoder\.lateral_convs\.0\.gn\.(\w+)", PIXELS + r".adapter_1.1.\1"),
    (r"panoptic_head\.pixel_decoder\.output_convs\.0\.conv\.(\w+)", PIXELS + r".layer_1.0.\1"),
    (r"panoptic_head\.pixel_decoder\.output_convs\.0\.gn\.(\w+)", PIXELS + r".layer_1.1.\1"),
    (r"panoptic_head\.pixel_decoder\.mask_feature\.(\w+)", PIXELS + r".mask_projection.\1"),
    (r"panoptic_head\.query_embed\.(\w+)", QUERIES + r".queries_embedder.\1"),
    (r"panoptic_head\.query_feat\.(\w+)", QUERIES + r".queries_features.\1"),
    (r"panoptic_head\.level_embed\.(\w+)", QUERIES + r".level_embed.\1"),
    (LAYER + rf"\.{CROSS}\.(.+)", TO_LAYER + r".cross_attn.\2"),
    (LAYER + rf"\.{SELF}\.in_proj_(\w+)", TO_LAYER + r".self_attn.{q_proj,k_proj,v_proj}.\2"),
    (LAYER + rf"\.{SELF}\.out_proj\.(\w+)", TO_LAYER + r".self_attn.out_proj.\2"),
    (LAYER + r"\.norms\.0\.(\w+)", TO_LAYER + r".cross_attn_layer_norm.\2"),  # cross-attention comes first
    (LAYER + r"\.norms\.1\.(\w+)", TO_LAYER + r".self_attn_layer_norm.\2"),
    (LAYER + r"\.norms\.2\.(\w+)", TO_LAYER + r".final_layer_norm.\2"),
    (LAYER + rf"\.{FFN}\.0\.0\.(\w+)", TO_LAYER + r".fc1.\2"),
    (LAYER + rf"\.{FFN}\.1\.(\w+)", TO_LAYER + r".fc2.\2"),
    (r"panoptic_head\.transformer_decoder\.post_norm\.(\w+)", QUERIES + r".decoder.layernorm.\1"),
    (r"panoptic_head\.cls_embed\.(\w+)", r"class_predictor.\1"),
    *(
        (rf"panoptic_head\.mask_embed\.{2 * i}\.(\w+)", QUERIES + rf".decoder.mask_predictor.mask_embedder.{i}.0.\1")
        for i in range(3)
    ),
)
UNUSED = ("layernorm.weight", "layernorm.bias", "criterion.empty_weight")  # of transformers' class, not in inference


def from_original(content: Mapping[str, Any]) -> Converted:
    """Translate a checkpoint of mmdet 2 or 3, whose sizes are read from the shapes of its tensors.

    Args:
        content: name -> tensor.

    Raises:
        ValueError: for another network, and for a tensor that is missing, unknown or of another shape.
    """
    from transformers import Mask2FormerForUniversalSegmentation

    found: dict[str, Tensor] = {}
    for name, tensor in content.items():
        found |= translated(name, tensor)
    try:
        config = configured(content)
    except (KeyError, StopIteration) as error:
        raise ValueError(f"this is no Mask2Former with a Swin backbone of OpenMMLab: it has no {error}") from None
    model, report = Mask2FormerForUniversalSegmentation.from_pretrained(
        None, config=config, state_dict=found, output_loading_info=True, ignore_mismatched_sizes=True
    )
    missing = [name for name in report["missing_keys"] if not name.endswith(UNUSED)]
    if wrong := sorted(map(str, [*missing, *report["unexpected_keys"], *report["mismatched_keys"]])):
        raise ValueError(f"{wrong[0]} is missing, unknown or of another shape in this file; give the original one")
    with TemporaryDirectory() as folder:
        from safetensors.torch import load_file

        model.save_pretrained(folder)
        settings = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        return Converted(load_file(Path(folder) / "model.safetensors"), settings, config="config.json")


def translated(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """Return one tensor of OpenMMLab under transformers' names: one, three for a joint projection, or none.

    Args:
        name: of the tensor.
        tensor: itself.

    Raises:
        ValueError: for an unknown name, and for windows that are indexed in another order.
    """
    if name.endswith(".relative_position_index"):  # transformers computes it
        if not torch.equal(tensor, window_index(math.isqrt(len(tensor)))):
            raise ValueError(f"{name} is not the usual order of positions in a window; give the original file")
        return {}
    hits = ((re.fullmatch(pattern, name), target) for pattern, target in NAMES)
    match, target = next(((hit, target) for hit, target in hits if hit), (None, ""))
    if match is None:
        raise ValueError(f"{name!r} is no tensor of OpenMMLab's Mask2Former with a Swin backbone; give its .pth file")
    if ".downsample." in name:
        tensor = tensor[..., patch_order(tensor.shape[-1])]
    new = match.expand(target)
    if "{" not in new:
        return {new: tensor}
    before, three, after = re.split("[{}]", new)
    return {before + part + after: piece for part, piece in zip(three.split(","), tensor.chunk(3), strict=True)}


def patch_order(channels: int) -> Tensor:
    """Return where transformers' channels of four merged patches are in OpenMMLab's order.

    OpenMMLab unfolds 2x2 patches: channel after channel, each row by row. transformers joins four pictures of all
    channels, column by column.

    Args:
        channels: of the merged patches, a multiple of 4.
    """
    return torch.arange(channels).view(-1, 2, 2).permute(2, 1, 0).flatten()


def window_index(side: int) -> Tensor:
    """Return which bias belongs to each pair of positions in a window [side^2, side^2].

    Args:
        side: of the window, in patches.
    """
    rows, columns = (place.flatten() for place in torch.meshgrid(*[torch.arange(side)] * 2, indexing="ij"))
    down, right = (place[:, None] - place[None] + side - 1 for place in (rows, columns))
    return down * (2 * side - 1) + right


def configured(tensors: Mapping[str, Any]) -> Any:
    """Return the configuration whose sizes fit the tensors.

    Args:
        tensors: OpenMMLab's name -> tensor.

    Raises:
        KeyError: for one that is missing.
    """
    from transformers import Mask2FormerConfig, SwinConfig

    def size(name: str, axis: int = 0) -> int:
        return int(tensors[name].shape[axis])

    def one(start: str, end: str) -> str:
        return next((name for name in tensors if name.startswith(start) and name.endswith(end)), start + "..." + end)

    def count(pattern: str) -> int:
        return len({match[1] for name in tensors if (match := re.match(pattern, name))})

    embed = size("backbone.patch_embed.projection.weight")
    tables = [f"backbone.stages.{i}.blocks.0.attn.w_msa.relative_position_bias_table" for i in range(4)]
    swin = SwinConfig(
        embed_dim=embed,
        depths=[count(rf"backbone\.stages\.{i}\.blocks\.(\d+)\.") for i in range(4)],
        num_heads=[size(name, 1) for name in tables],
        window_size=(math.isqrt(size(tables[0])) + 1) // 2,
        mlp_ratio=size("backbone.stages.0.blocks.0.ffn.layers.0.0.weight") / embed,
        out_features=[f"stage{i}" for i in range(1, 5)],
    )
    pixels, decoder = "panoptic_head.pixel_decoder.encoder.layers.0.", "panoptic_head.transformer_decoder.layers.0."
    labels = size("panoptic_head.cls_embed.weight") - 1
    coco = {name: original for original, name in RENAMED.items()}
    names = {index: coco.get(name, name) for index, name in enumerate(GENEVAL_CLASSES)}
    return Mask2FormerConfig(
        backbone_config=swin,
        feature_size=size("panoptic_head.pixel_decoder.mask_feature.weight", 1),
        mask_feature_size=size("panoptic_head.pixel_decoder.mask_feature.weight"),
        hidden_dim=size("panoptic_head.query_feat.weight", 1),
        encoder_feedforward_dim=size(one(pixels + "ffn", "0.0.weight")),
        encoder_layers=count(ENCODER),
        num_attention_heads=size(one(pixels, "sampling_offsets.bias")) // (2 * LEVELS * POINTS),
        decoder_layers=count(LAYER) + 1,  # transformers counts the prediction before the first layer
        dim_feedforward=size(one(decoder + "ffn", "0.0.weight")),
        num_queries=size("panoptic_head.query_feat.weight"),
        **({"id2label": names} if labels == len(names) else {"num_labels": labels}),
    )
