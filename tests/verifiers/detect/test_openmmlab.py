"""OpenMMLab's Mask2Former in the layout of transformers: both ways, and the parts whose maths differ."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.builders.openmmlab import as_openmmlab
from tests.builders.tiny_detectors import mask2former
from verifiers.detect.mask2former import Mask2FormerDetector
from verifiers.detect.openmmlab import from_original, patch_order, translated, window_index


def randomised():
    """A tiny network without two equal tensors: norms and embeddings are random as well."""
    model = mask2former()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


@pytest.mark.parametrize("new", [False, True])
def test_a_network_comes_back_bit_by_bit(new, tmp_path):
    from safetensors.torch import save_file
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

    model = randomised()
    found = from_original(as_openmmlab(model, new))
    save_file(found.tensors, tmp_path / found.weights)
    config = Mask2FormerConfig.from_dict(found.settings)
    (tmp_path / found.config).write_text(config.to_json_string())
    loaded = Mask2FormerForUniversalSegmentation.from_pretrained(tmp_path)
    theirs, mine = model.state_dict(), loaded.state_dict()
    unused = {name for name in mine if ".swin.layernorm." in name}
    assert len(unused) == 2
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs.keys() - unused)
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    assert [loaded.config.id2label[i] for i in (0, 63, 64, 79)] == ["person", "laptop", "mouse", "toothbrush"]
    a, b = (Mask2FormerDetector(m, short=64, long=96).detect(image) for m in (model, loaded))
    assert a == b
    assert sum(map(len, a.values())) == 100


def test_merged_patches_are_those_of_unfold():
    swin = randomised().model.pixel_level_module.encoder.swin
    merge = swin.encoder.layers[0].downsample
    x = torch.randn(1, 6, 4, 8, generator=torch.Generator().manual_seed(1))
    stored = {
        name: tensor
        for name, tensor in as_openmmlab(randomised(), True).items()
        if name.startswith("backbone.stages.0.downsample.")
    }
    columns = nn.Unfold(2, stride=2)(x.permute(0, 3, 1, 2)).transpose(1, 2)  # as OpenMMLab merges patches
    prefix = "backbone.stages.0.downsample."
    normed = nn.functional.layer_norm(
        columns, columns.shape[-1:], stored[f"{prefix}norm.weight"], stored[f"{prefix}norm.bias"]
    )
    with torch.no_grad():
        ours = merge(x.flatten(1, 2), (6, 4))
    assert torch.allclose(normed @ stored[f"{prefix}reduction.weight"].T, ours, atol=1e-5)
    assert sorted(patch_order(24).tolist()) == list(range(24))


def test_a_joint_projection_is_cut_in_the_order_of_query_key_value():
    fused = torch.arange(24.0).view(12, 2)
    found = translated("backbone.stages.2.blocks.7.attn.w_msa.qkv.weight", fused)
    block = "model.pixel_level_module.encoder.encoder.layers.2.blocks.7.attention.self"
    assert list(found) == [f"{block}.{part}.weight" for part in ("query", "key", "value")]
    assert torch.equal(torch.cat(list(found.values())), fused)
    out = translated("panoptic_head.transformer_decoder.layers.3.attentions.1.attn.in_proj_bias", torch.arange(9.0))
    assert [name.split(".")[-2:] for name in out] == [[f"{part}_proj", "bias"] for part in "qkv"]
    (cross,) = translated(
        "panoptic_head.transformer_decoder.layers.3.attentions.0.attn.in_proj_bias", torch.arange(9.0)
    )
    assert cross.endswith("layers.3.cross_attn.in_proj_bias")


@pytest.mark.parametrize("side", [2, 7])
def test_the_index_of_a_window_counts_offsets_row_by_row(side):
    index = window_index(side)
    for a, b in ((0, 0), (0, side * side - 1), (side * side - 1, 0), (side, 1)):
        down, right = a // side - b // side + side - 1, a % side - b % side + side - 1
        assert index[a, b] == down * (2 * side - 1) + right
    name = "backbone.stages.0.blocks.0.attn.w_msa.relative_position_index"
    assert translated(name, index) == {}
    with pytest.raises(ValueError, match="not the usual order"):
        translated(name, index.T.contiguous())


def test_another_network_is_refused():
    with pytest.raises(ValueError, match="'backbone.layer1.0.conv1.weight' is no tensor of OpenMMLab's Mask2Former"):
        from_original({"backbone.layer1.0.conv1.weight": torch.zeros(3)})
    whole = as_openmmlab(mask2former(), True)
    with pytest.raises(ValueError, match=r"it has no '?.*cls_embed"):
        from_original({name: tensor for name, tensor in whole.items() if "cls_embed" not in name})
    with pytest.raises(ValueError, match=r"query_feat.*|queries_embedder.*missing, unknown or of another shape"):
        from_original({name: tensor for name, tensor in whole.items() if "query_embed" not in name})
    with pytest.raises(ValueError, match="another shape"):
        from_original(whole | {"panoptic_head.cls_embed.bias": torch.zeros(5)})
