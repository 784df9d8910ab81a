"""The networks of `shapes/video`, with dense attention, which has a backward pass on every device.

The transformer is AnyFlow's causal FAR (Gu et al. 2025, arXiv:2503.19325; Gu et al. 2026, arXiv:2605.13724): every
chunk of a clip is denoised at its own time and attends to the clean chunks before it. The diffusers class uses flex
attention, which has no backward pass on CPUs; here the same mask is a dense matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gensearch.shapes import clips
from gensearch.shapes.train.clips.video_vae import CHANNELS
from gensearch.shapes.train.pictures.data import tokenizer

WORDS = 20  # tokens of the longest prompt
TEXT = 128  # width of the text encoder
SIDE, PATCH = 8, 2  # latent pixels along one side, and of one token
TOKENS = (SIDE // PATCH) ** 2  # of a latent frame
TRANSFORMER = dict(
    patch_size=(1, PATCH, PATCH),
    compressed_patch_size=(1, 4, 4),
    full_chunk_limit=4,  # every chunk of a clip stays at full resolution
    num_attention_heads=5,
    attention_head_dim=32,
    in_channels=CHANNELS,
    out_channels=CHANNELS,
    text_dim=TEXT,
    freq_dim=128,
    ffn_dim=448,
    num_layers=5,
    rope_max_seq_len=64,
    chunk_partition=(1, 1, 1, 1),
)


class DenseAttention:
    """`AnyFlowCausalAttnProcessor` without its cache, with a mask [1, 1, n, n] instead of a BlockMask.

    A mask of n + 1 columns adds a key and a value of zeros at the end.
    """

    def __call__(
        self, attn: Any, hidden_states: Tensor, *, attention_mask: Tensor, rotary_emb: dict[str, Tensor]
    ) -> Tensor:
        """Return the self-attention of [b, length, width]."""
        query: Tensor = attn.norm_q(attn.to_q(hidden_states))
        key: Tensor = attn.norm_k(attn.to_k(hidden_states))
        query, key, value = (
            x.unflatten(2, (attn.heads, -1)).transpose(1, 2) for x in (query, key, attn.to_v(hidden_states))
        )
        query, key = rotate(query, rotary_emb["query"]), rotate(key, rotary_emb["key"])
        padding = (0, 0, 0, attention_mask.shape[-1] - key.shape[2])
        key, value = F.pad(key, padding), F.pad(value, padding)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask)
        out: Tensor = attn.to_out[0](mixed.transpose(1, 2).flatten(2))
        return out


def rotate(x: Tensor, frequencies: Tensor) -> Tensor:
    """Return the rotary embedding of x in its precision; the diffusers class uses complex128."""
    pairs = torch.view_as_complex(x.float().unflatten(3, (-1, 2)))
    return torch.view_as_real(pairs * frequencies.to(torch.complex64)).flatten(3).type_as(x)


def causal_mask(transformer: Any, frames: int, context: bool) -> Tensor:
    """Return the training mask of the class for chunks of one frame, bool [1, 1, n, n]; clean `context` doubles n."""
    from torch.nn.attention.flex_attention import create_mask

    block = transformer.build_attention_mask(
        chunk_partition=[1] * frames, height=SIDE, width=SIDE, has_clean_context=context, device=torch.device("cpu")
    )
    length = frames * TOKENS * (2 if context else 1)
    return create_mask(block.mask_mod, None, None, length, length, device="cpu")


@cache
def sampling_mask(transformer: Any, frames: int, context: bool, device: torch.device) -> Tensor:
    """Return the same mask as in the sampler's steps, a bias of attention scores, float [1, 1, n, n + 1].

    A step of the sampler pads its keys with zeros to a multiple of 128 and attends to them; the passes that fill its
    cache do not. So a noisy token also attends to 112 keys and values of zeros, here one with 112 times the weight.
    """
    allowed = causal_mask(transformer, frames, context)
    sink = torch.full((*allowed.shape[:3], 1), -torch.inf)
    sink[:, :, : frames * TOKENS] = math.log(-TOKENS % 128)
    return torch.cat([torch.zeros(allowed.shape).masked_fill(~allowed, -torch.inf), sink], -1).to(device)


class TextToClip(nn.Module):
    """Text encoder and transformer, which are trained together."""

    __call__: Callable[..., Tensor]  # of `forward`

    def __init__(self, transformer: Any, text_encoder: Any) -> None:
        super().__init__()
        self.transformer = transformer
        self.text_encoder = text_encoder
        for block in transformer.blocks:
            block.attn1.set_processor(DenseAttention())

    def read(self, ids: Tensor) -> Tensor:
        """Return the embeddings [b, 20, 128] of token ids [b, 20], zero for padding, as in the pipeline."""
        mask: Tensor = (ids != self.text_encoder.config.pad_token_id).long()
        embeddings: Tensor = self.text_encoder(ids, mask).last_hidden_state
        return embeddings * mask[..., None]

    def forward(self, x: Tensor, t: Tensor, r: Tensor, words: Tensor, clean: Tensor | None = None) -> Tensor:
        """Return the mean velocity [b, f, 16, 8, 8] of frames x from times t [b, f] to r, in [0, 1] with noise at 1.

        A frame attends to the `clean` ones before it and not to other noisy ones; without `clean` there is one frame.
        """
        frames = x.shape[1]
        context = {} if clean is None else {"clean_hidden_states": clean, "clean_timestep": torch.zeros_like(t)}
        velocity: Tensor = self.transformer(
            hidden_states=x,
            timestep=1000 * t,
            r_timestep=1000 * r,
            encoder_hidden_states=words,
            chunk_partition=[1] * frames,
            attention_mask=sampling_mask(self.transformer, frames, clean is not None, x.device),
            return_dict=False,
            **context,
        )[0]
        return velocity.float()


@cache
def words() -> Any:
    """Return the tokenizer of the moving Shapes world."""
    return tokenizer(clips.words(), WORDS)


def build() -> TextToClip:
    """Build the untrained networks."""
    from diffusers import AnyFlowFARTransformer3DModel
    from transformers import UMT5Config, UMT5EncoderModel

    torch.manual_seed(0)
    tokens = words()
    text = UMT5EncoderModel(
        UMT5Config(
            vocab_size=len(tokens),
            d_model=TEXT,
            d_kv=32,
            d_ff=256,
            num_layers=2,
            num_heads=4,
            relative_attention_num_buckets=16,
            relative_attention_max_distance=32,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
            pad_token_id=tokens.pad_token_id,
            eos_token_id=tokens.eos_token_id,
        )
    )
    return TextToClip(AnyFlowFARTransformer3DModel(**TRANSFORMER), text)
