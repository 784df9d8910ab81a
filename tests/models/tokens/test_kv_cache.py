"""A cache written in place holds what transformers' own holds, and stays where it is."""

from __future__ import annotations

import pytest
import torch
from transformers import DynamicCache, LlamaConfig, LlamaModel, Qwen3NextConfig

from gensearch.models.tokens.kv_cache import Reserved, reserved


@pytest.fixture(scope="module")
def model() -> LlamaModel:
    config = LlamaConfig(
        vocab_size=11,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaModel(config).eval()


@torch.no_grad()
def test_states_are_those_with_the_caches_of_transformers(model):
    own, theirs = reserved(model.config, 9), DynamicCache(config=model.config)
    for ids in (
        torch.tensor([[3, 1, 4, 1], [5, 9, 2, 6]]),
        torch.tensor([[5], [3]]),
        torch.tensor([[8, 9, 7], [2, 3, 8]]),
    ):
        ours = model(ids, past_key_values=own).last_hidden_state
        torch.testing.assert_close(ours, model(ids, past_key_values=theirs).last_hidden_state, rtol=0, atol=1e-6)
    assert own.get_seq_length() == theirs.get_seq_length() == 8
    for mine, other in zip(own.layers, theirs.layers, strict=True):
        torch.testing.assert_close(mine.keys, other.keys, rtol=0, atol=1e-6)
        torch.testing.assert_close(mine.values, other.values, rtol=0, atol=1e-6)


def test_nothing_moves_while_there_is_room_and_beyond_it_is_an_error():
    layer, places = Reserved(3), set()
    for step in range(3):
        new = torch.full((1, 2, 1, 4), float(step))
        keys, values = layer.update(new, -new)
        places.add((keys.data_ptr(), values.data_ptr()))
        assert keys[0, 0, :, 0].tolist() == list(range(step + 1))
        assert torch.equal(keys, -values)
    assert len(places) == 1
    with pytest.raises(IndexError, match="4 tokens are too many"):
        layer.update(new, new)


def test_layers_that_keep_more_than_keys_and_values_are_refused():
    config = Qwen3NextConfig(num_hidden_layers=2, layer_types=["linear_attention", "full_attention"])
    with pytest.raises(ValueError, match="a LinearAttentionLayer does not keep keys and values alone; load"):
        reserved(config, 9)
