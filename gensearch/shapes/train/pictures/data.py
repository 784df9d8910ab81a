"""Training data of the embedded image models: latents of rendered scenes, with their prompts as token ids."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gensearch.shapes import world
from gensearch.shapes.train.loop import autocast
from gensearch.shapes.train.pictures.vae import pictures

PROMPT_LENGTH = 16
PART = 250  # scenes drawn from one seed


class Latents(NamedTuple):
    """Encoded scenes.

    Attributes:
        mean: of the posterior, scaled, fp16 [n, 16, 8, 8].
        std: of the posterior, scaled, fp16 [n, 16, 8, 8].
        ids: tokens of the prompts, int64 [n, 16].
    """

    mean: Tensor
    std: Tensor
    ids: Tensor


def vocabulary() -> list[str]:
    """Return every word of the grammar, special tokens first."""
    words = ["a", "an", "photo", "of", "and", "left", "right", "above", "below", *world.NUMBERS.values(), *world.COLORS]
    return ["<pad>", "<unk>", "<bos>", "<eos>", *words, *world.SHAPES, *(world.plural(s) for s in world.SHAPES)]


def tokenizer(known: Sequence[str] = (), length: int = PROMPT_LENGTH) -> Any:
    """Return a word-level transformers tokenizer, padded to `length`; by default with the words for pictures."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocab = {word: i for i, word in enumerate(known or vocabulary())}
    words = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", vocab["<bos>"]), ("<eos>", vocab["<eos>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        model_max_length=length,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<bos>",
        eos_token="<eos>",
    )


def token_ids(prompts: list[str]) -> Tensor:
    """Return the tokens of prompts, int64 [n, 16]."""
    ids: Tensor = tokenizer()(prompts, padding="max_length", truncation=True, return_tensors="pt").input_ids
    return ids


def scenes(start: int) -> tuple[list[tuple[world.Spec, world.Scene]], Tensor]:
    """Draw `PART` training prompts and scenes, from number `start` on, and pictures [PART, 3, 64, 64] of them."""
    rng = np.random.default_rng((11, start))
    drawn = [world.sample(rng) for _ in range(PART)]
    return drawn, pictures([scene for _, scene in drawn])


@torch.no_grad()
def encode(vae: Any, count: int, path: Path) -> Latents:
    """Render and encode `count` training scenes, or load them if `path` exists."""
    if not path.exists():
        scale = vae.config.scaling_factor
        means, stds, prompts = [], [], []
        for start in range(0, count, PART):
            drawn, x = scenes(start)
            with autocast():
                posterior = vae.encode(x.to(memory_format=torch.channels_last)).latent_dist
            means.append((posterior.mean * scale).half())
            stds.append((posterior.std * scale).half())
            prompts += [line["prompt"] for line, _ in drawn]
        tensors = {"mean": torch.cat(means), "std": torch.cat(stds), "ids": token_ids(prompts)}
        partial = path.with_suffix(".partial")
        save_file({k: v.contiguous() for k, v in tensors.items()}, partial)
        os.replace(partial, path)
    return Latents(**load_file(path))
