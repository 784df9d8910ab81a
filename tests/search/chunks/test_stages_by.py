"""Stages written by a language model: its first three lines, or the templates."""

from __future__ import annotations

import pytest
import torch
from transformers import BatchEncoding, LlamaConfig, LlamaForCausalLM

from gensearch.engine.run import run
from gensearch.models.toy.chunks import ToyChunks
from gensearch.search.chunks.stages import stages_by
from gensearch.search.chunks.tree_of_frames import tree_of_frames
from tests.builders.tiny_janus import tokenizer
from verifiers.controls.random import RandomScore

PROMPT = "a red {star}"


class Letters:
    """A tokenizer of bytes."""

    def __call__(self, text, return_tensors):
        self.asked = text
        return BatchEncoding({"input_ids": torch.tensor([list(text.encode())])})

    def decode(self, ids, skip_special_tokens):
        return bytes(ids.tolist()).decode()


class Says:
    """A language model that goes on with given text."""

    device = torch.device("cpu")

    def __init__(self, text):
        self.text = text

    def generate(self, input_ids, do_sample, max_new_tokens):
        assert not do_sample
        return torch.cat([input_ids, torch.tensor([list(self.text.encode())[:max_new_tokens]])], 1)


@pytest.mark.parametrize(
    "said",
    [
        "a star\nit moves left\na star that moves left",
        "1. a star\n\n2) it moves left\n 3: a star that moves left\n4. more",
        "- a star\n* it moves left\n  - a star that moves left",
    ],
)
def test_the_first_three_lines_are_the_stages(said):
    words = Letters()
    assert stages_by(Says(said), words)(PROMPT) == ("a star", "it moves left", "a star that moves left")
    assert PROMPT in words.asked


def test_fewer_lines_are_the_templates():
    write = stages_by(Says("a star\nit moves"), Letters(), otherwise=["still {prompt}", "moving {prompt}", "{prompt}"])
    assert write(PROMPT) == (f"still {PROMPT}", f"moving {PROMPT}", PROMPT)
    assert stages_by(Says("a\nb\nc"), Letters(), length=3)(PROMPT) == (PROMPT,) * 3


def test_a_model_of_transformers_writes_for_a_tree():
    words = tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = LlamaConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
        config.vocab_size = len(words)
        language = LlamaForCausalLM(config).eval()
    stages = stages_by(language, words, length=5)
    found = run(tree_of_frames, ToyChunks(num_steps=3), RandomScore(), "a star", branch=2, stages=stages)
    assert found.best.media.shape[0] == 3
