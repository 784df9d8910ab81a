"""Tiny random embedding models, built offline: CLIP, SigLIP, open_clip, and ImageReward's original layout."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import open_clip
import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor, nn

PROMPTS = ["a photo of a red star", "two blue rings", "a photo of a red star", "a cross"]
LETTERS = string.ascii_lowercase + "."


def randomise(model: Any, seed: int, std: float = 0.15) -> Any:
    """Weights strong enough that every layer and the activation matter; scales keep their values."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        if "logit" not in name:
            nn.init.normal_(
                weight, mean=float("norm" in name and name.endswith("weight")), std=std, generator=generator
            )
    return model


def clip_tokenizer(path: Path) -> Any:
    """A CLIP tokenizer of single letters whose end has the largest id, as in the real one."""
    pieces = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = transformers.CLIPTokenizer({piece: place for place, piece in enumerate(pieces)}, [])
    tokenizer.save_pretrained(path)
    return tokenizer


def clip(path: Path, activation: str = "gelu", eos: int | None = 2, size: int = 32, projection: int = 12) -> Path:
    """A folder with a CLIPModel, its tokenizer and its image processor."""
    tokenizer = clip_tokenizer(path)
    body = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 40, "eos_token_id": eos, "bos_token_id": 54}
    vision = {"image_size": size, "patch_size": 8}
    shared = {"hidden_act": activation, "projection_dim": projection}
    config = transformers.CLIPConfig(
        text_config={**body, **text, **shared}, vision_config={**body, **vision, **shared}, projection_dim=projection
    )
    randomise(transformers.CLIPModel(config), 3).save_pretrained(path)
    sides = {"height": size, "width": size}
    transformers.CLIPImageProcessor(size={"shortest_edge": size}, crop_size=sides).save_pretrained(path)
    return path


def siglip(path: Path, padding_side: str = "left") -> Path:
    """A folder with a SiglipModel, SigLIP 2's tokenizer and an image processor that squashes."""
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *LETTERS]
    tokenizer = transformers.Siglip2Tokenizer(
        {piece: place for place, piece in enumerate(pieces)}, [], padding_side=padding_side
    )
    tokenizer.save_pretrained(path)
    body = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"vocab_size": len(pieces), "max_position_embeddings": 48}
    config = transformers.SiglipConfig(
        text_config={**body, **text}, vision_config={**body, "image_size": 32, "patch_size": 8}
    )
    model = randomise(transformers.SiglipModel(config), 4)
    with torch.no_grad():
        model.logit_scale.fill_(2.3)
        model.logit_bias.fill_(-4.5)
    model.save_pretrained(path)
    transformers.SiglipImageProcessor(size={"height": 32, "width": 32}, resample=2).save_pretrained(path)
    return path


TINY = "tiny-embedding"
OPEN_CLIP = {
    "embed_dim": 12,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 40, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}


def registered(path: Path) -> str:
    """The name under which a tiny open_clip architecture is known from now on."""
    (path / f"{TINY}.json").write_text(json.dumps(OPEN_CLIP))
    open_clip.add_model_config(path / f"{TINY}.json")
    return TINY


def open_clip_network() -> Any:
    """A tiny open_clip model."""
    return randomise(open_clip.CLIP(**OPEN_CLIP), 5)


def open_clip_folder(path: Path) -> Path:
    """A folder of a tiny open_clip model."""
    preprocess = {"size": 32, "mean": [0.4, 0.5, 0.6], "std": [0.3, 0.25, 0.2]}
    (path / "open_clip_config.json").write_text(json.dumps({"model_cfg": OPEN_CLIP, "preprocess_cfg": preprocess}))
    save_file(open_clip_network().state_dict(), path / "open_clip_model.safetensors")
    return path


def head(width: int, seed: int = 7, sizes: tuple[int, ...] = (20, 16, 8, 4, 1)) -> dict[str, Tensor]:
    """A reward head with the original's names: dropouts are numbered, too."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for place, (into, out) in zip((0, 2, 4, 6, 7), zip((width, *sizes), sizes, strict=False), strict=True):
        weights[f"layers.{place}.weight"] = torch.randn(out, into, generator=generator) * into**-0.5
        weights[f"layers.{place}.bias"] = torch.randn(out, generator=generator) * 0.3
    return weights


def imagereward(
    vision: int = 128, text: int = 64, layers: int = 2, words: int = 40, device: str = "cpu"
) -> dict[str, Tensor]:
    """The tensors of ImageReward.pt in a tiny size, by their original names.

    Real sizes are vision 1024, text 768, layers 24 and 12, words 30524; with `device="meta"` they cost nothing.
    """
    tiny = vision < 1024
    side, patch, positions = (32, 8, 40) if tiny else (224, 16, 512)
    wide, deep = vision * (2 if tiny else 4), text * (2 if tiny else 4)
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, vision),
        "pos_embed": (1, (side // patch) ** 2 + 1, vision),
        "patch_embed.proj.weight": (vision, 3, patch, patch),
        "patch_embed.proj.bias": (vision,),
        "norm.weight": (vision,),
        "norm.bias": (vision,),
    }
    linear: dict[str, tuple[int, ...]] = {
        "attn.qkv": (3 * vision, vision),
        "attn.proj": (vision, vision),
        "mlp.fc1": (wide, vision),
        "mlp.fc2": (vision, wide),
    }
    for block in range(layers if tiny else 24):
        for name, shape in linear.items():
            shapes |= {f"blocks.{block}.{name}.weight": shape, f"blocks.{block}.{name}.bias": shape[:1]}
        for name in ("norm1", "norm2"):
            shapes |= {f"blocks.{block}.{name}.weight": (vision,), f"blocks.{block}.{name}.bias": (vision,)}
    found = {f"blip.visual_encoder.{name}": shape for name, shape in shapes.items()}
    found |= {
        f"blip.text_encoder.{name}": shape
        for name, shape in bert(vision, text, layers if tiny else 12, words, deep, positions).items()
    }
    found |= {"blip.vision_proj.weight": (256, vision), "blip.vision_proj.bias": (256,)}
    found |= {"blip.text_proj.weight": (256, text), "blip.text_proj.bias": (256,)}
    generator = torch.Generator().manual_seed(9)
    weights = {}
    for name, shape in found.items():
        norm = name.endswith("weight") and "norm" in name.lower()
        drawn = (
            torch.empty(shape, device=device) if device == "meta" else torch.randn(shape, generator=generator) * 0.15
        )
        weights[name] = drawn + norm
    weights["blip.text_encoder.embeddings.position_ids"] = torch.arange(positions, device=device)[None]
    sizes = (20, 16, 8, 4, 1) if tiny else (1024, 128, 64, 16, 1)
    return weights | {f"mlp.{name}": value.to(device) for name, value in head(text, sizes=sizes).items()}


def bert(vision: int, width: int, layers: int, words: int, deep: int, positions: int) -> dict[str, tuple[int, ...]]:
    """Shapes of a BERT with cross-attention."""
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (words, width),
        "embeddings.position_embeddings.weight": (positions, width),
        "embeddings.LayerNorm.weight": (width,),
        "embeddings.LayerNorm.bias": (width,),
    }
    for layer in range(layers):
        linear: dict[str, tuple[int, ...]] = {"intermediate.dense": (deep, width), "output.dense": (width, deep)}
        norms = ["output.LayerNorm"]
        for kind, into in (("attention", width), ("crossattention", vision)):
            linear |= {f"{kind}.self.query": (width, width), f"{kind}.output.dense": (width, width)}
            linear |= {f"{kind}.self.key": (width, into), f"{kind}.self.value": (width, into)}
            norms.append(f"{kind}.output.LayerNorm")
        for name, shape in linear.items():
            shapes |= {f"encoder.layer.{layer}.{name}.weight": shape, f"encoder.layer.{layer}.{name}.bias": shape[:1]}
        for name in norms:
            shapes |= {f"encoder.layer.{layer}.{name}.{part}": (width,) for part in ("weight", "bias")}
    return shapes


def bert_tokenizer(path: Path) -> Path:
    """A folder with a BERT tokenizer of single letters."""
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *string.ascii_lowercase[:13],
        *(f"##{x}" for x in string.ascii_lowercase[:20]),
    ]
    transformers.BertTokenizer({piece: place for place, piece in enumerate(pieces)}).save_pretrained(path)
    return path


def write(found: Any, folder: Path, **changes: Any) -> Path:
    """Write a converted checkpoint."""
    save_file({name: value.contiguous() for name, value in found.tensors.items()}, folder / found.weights)
    (folder / found.config).write_text(json.dumps({**found.settings, **changes}))
    return folder
