"""Train the image tokenizer of `shapes/janus`: a JanusVQVAE from 64x64 pictures to 8x8 codes and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gensearch.shapes.train.loop import fit, learn_only
from gensearch.shapes.train.pictures.vae import batch

CONFIG = dict(
    base_channels=32,
    channel_multiplier=[1, 1, 2, 3],
    num_res_blocks=1,
    latent_channels=64,
    embed_dim=8,
    num_embeddings=1024,
    num_patches=8,
    projection_dim=128,
    image_token_embed_dim=128,
    num_hidden_layers=2,
)
COMMITMENT = 0.25
FIGURES = 8.0  # weight of a pixel of an object, relative to the background


def directions(vq: Any, x: Tensor) -> Tensor:
    """Encode pictures in [-1, 1] to unit vectors [b, 64, 8]."""
    return F.normalize(vq.quant_conv(vq.encoder(x)).flatten(2).mT, dim=-1)


def nearest(vq: Any, z: Tensor) -> Tensor:
    """Return the nearest codes [b, 64] of unit vectors, by cosine, since `decode` normalises the codes."""
    return (z @ F.normalize(vq.quantize.embedding.weight, dim=-1).T).argmax(-1)


def restart(vq: Any, z: Tensor, generator: torch.Generator) -> int:
    """Replace every code that is nearest to no vector of z by one of these vectors; returns the number of codes."""
    with torch.no_grad():
        weight = vq.quantize.embedding.weight
        flat = z.flatten(0, 1)
        dead = (nearest(vq, flat).bincount(minlength=len(weight)) == 0).nonzero().flatten()
        weight.div_(weight.norm(dim=-1, keepdim=True).clamp(min=1e-8))
        weight[dead] = flat[torch.randint(len(flat), (len(dead),), generator=generator)]
    return len(dead)


def figures(x: Tensor) -> Tensor:
    """Return where pictures [b, 3, h, w] in [-1, 1] differ from their median colour, [b, 1, h, w] of 0 and 1."""
    ground = x.flatten(2).median(2).values[..., None, None]
    return ((x - ground).abs().amax(1, keepdim=True) > 0.15).to(x)


def error(y: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Return the mean of |y - x| + 2 (y - x)^2 with weights [b, 1, h, w] of pixels."""
    return (weight * ((y - x).abs() + 2 * (y - x).square())).mean() / weight.mean()


def weights(x: Tensor) -> Tensor:
    """Return the weights of the pixels of pictures, [b, 1, h, w]."""
    return 1 + (FIGURES - 1) * figures(x)


def decode(vq: Any, z: Tensor) -> Tensor:
    """Decode codes as unit vectors [b, 64, 8] to pictures in [-1, 1]."""
    pictures: Tensor = vq.decoder(vq.post_quant_conv(z.mT.unflatten(2, (8, 8))))
    return pictures


def train(
    out: Path, *, name: str, steps: int, size: int, lr: float, restarts: int, restart_every: int, figures_from: int = 0
) -> None:
    """Fit reconstruction and commitment (van den Oord et al. 2017, arXiv:1711.00937); writes out/vq/model.

    From step `figures_from` on, objects have more weight than the background. Codes that 128 pictures do not use are
    restarted every `restart_every` of the first `restarts` steps.
    """
    from transformers import JanusVQVAE, JanusVQVAEConfig

    torch.manual_seed(0)
    vq = JanusVQVAE(JanusVQVAEConfig(**CONFIG))

    def loss(step: int, generator: torch.Generator) -> Tensor:
        if step % restart_every == 0 and step < restarts:
            with torch.no_grad():
                restart(vq, directions(vq, batch(128, 3, step)), generator)
        x = batch(size, 1, step)
        z = directions(vq, x)
        code = F.normalize(vq.quantize.embedding.weight, dim=-1)[nearest(vq, z)]
        passed = z + (code - z).detach()
        weight = weights(x) if step >= figures_from else torch.ones_like(x[:, :1])
        missed = error(decode(vq, passed), x, weight)
        return missed + (code - z.detach()).square().mean() + COMMITMENT * (z - code.detach()).square().mean()

    fit(vq, loss, folder=out / name, steps=steps, lr=lr, weight_decay=0.0, ema_decay=0.995, save_every=200)
    with torch.no_grad():
        vq.quantize.embedding.weight.copy_(F.normalize(vq.quantize.embedding.weight, dim=-1))
    print(quality(vq))
    vq.save_pretrained(out / name / "model")


def train_decoder(out: Path, *, name: str, steps: int, size: int, lr: float) -> None:
    """Fit the decoder only, for fixed codes; replaces that of out/vq/model.

    Tokens keep their meaning, so an autoregressive model of them can be trained before, after or at the same time.
    """
    from transformers import JanusVQVAE

    torch.manual_seed(0)
    vq = JanusVQVAE.from_pretrained(out / "vq" / "model")
    learn_only(vq, "decoder", "post_quant_conv")

    def loss(step: int, generator: torch.Generator) -> Tensor:
        x = batch(size, 14, step)
        with torch.no_grad():
            code = F.normalize(vq.quantize.embedding.weight, dim=-1)[nearest(vq, directions(vq, x))]
        return error(decode(vq, code), x, weights(x))

    fit(vq, loss, folder=out / name, steps=steps, lr=lr, weight_decay=0.0, ema_decay=0.995, save_every=200)
    print(quality(vq))
    vq.save_pretrained(out / "vq" / "model")


@torch.no_grad()
def quality(vq: Any) -> str:
    """Return the reconstruction quality on unseen pictures as text."""
    x = batch(256, 2, 0)
    codes = nearest(vq, directions(vq, x))
    psnr = -10 * torch.log10(((vq.decode(codes) - x) / 2).square().mean((1, 2, 3))).mean()
    return f"psnr {psnr:.2f} dB, {len(codes.unique())} of {CONFIG['num_embeddings']} codes in use"
