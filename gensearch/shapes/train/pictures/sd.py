"""Train `shapes/sd`: a StableDiffusionPipeline with v-prediction, zero terminal SNR and classifier-free guidance."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gensearch.shapes.train.loop import fit
from gensearch.shapes.train.pictures.data import PROMPT_LENGTH, encode, token_ids, tokenizer, vocabulary

SCHEDULE = dict(
    num_train_timesteps=1000,
    beta_schedule="squaredcos_cap_v2",
    prediction_type="v_prediction",
    rescale_betas_zero_snr=True,
    timestep_spacing="trailing",
    clip_sample=False,
    set_alpha_to_one=True,
    steps_offset=0,
)

SHIFT = 2.5  # towards noisy timesteps: below t = 400 the prompt no longer changes the loss


class TextToLatent(nn.Module):
    """Text encoder and UNet, which are trained together; called with token ids instead of embeddings."""

    __call__: Callable[..., Tensor]  # of `forward`

    def __init__(self, unet: Any, text_encoder: Any) -> None:
        super().__init__()
        self.unet = unet
        self.text_encoder = text_encoder

    def forward(self, x: Tensor, t: Tensor, ids: Tensor) -> Tensor:
        """Predict v [b, 16, 8, 8] in fp32."""
        words = self.text_encoder(ids)[0]
        v: Tensor = self.unet(x, t, words).sample.float()
        return v


def build() -> TextToLatent:
    """Build the untrained networks."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=16,
        out_channels=16,
        block_out_channels=(96, 160),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=128,
        attention_head_dim=4,
        norm_num_groups=16,
    )
    words = vocabulary()
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=PROMPT_LENGTH,
            projection_dim=128,
            pad_token_id=words.index("<pad>"),
            bos_token_id=words.index("<bos>"),
            eos_token_id=words.index("<eos>"),
        )
    )
    return TextToLatent(unet, text)


def scheduler() -> Any:
    """Return the DDIM scheduler of the pipeline."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(**SCHEDULE)


def train(out: Path, *, name: str, scenes: int, steps: int, size: int, lr: float) -> None:
    """Fit v-prediction on encoded scenes with 10 % prompt dropout; reads out/vae/model, writes out/sd/model."""
    from diffusers import AutoencoderKL

    (out / name).mkdir(parents=True, exist_ok=True)
    vae = AutoencoderKL.from_pretrained(out / "vae" / "model", use_safetensors=True).eval()
    data = encode(vae, scenes, out / name / f"latents-{scenes}.safetensors")
    networks = build()
    alphas: Tensor = scheduler().alphas_cumprod
    empty = token_ids([""])[0]

    def loss(step: int, generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(data.ids), (size,), generator=generator)
        z = data.mean[rows].float()
        z = z + data.std[rows].float() * torch.randn(z.shape, generator=generator)
        ids = torch.where(torch.rand(size, 1, generator=generator) < 0.1, empty, data.ids[rows])
        u = (torch.arange(size) + torch.rand(size, generator=generator)) / size
        t = (SHIFT * u / (1 + (SHIFT - 1) * u) * 1000).long().clamp(max=999)
        a, s = (v.sqrt().view(-1, 1, 1, 1) for v in (alphas[t], 1 - alphas[t]))
        eps = torch.randn(z.shape, generator=generator)
        v = networks(a * z + s * eps, t, ids)
        return (v - (a * eps - s * z)).square().mean()

    fit(networks, loss, folder=out / name, steps=steps, lr=lr)
    save_pipeline(networks, vae, out / name / "model", settings={"steps": 24, "guidance_scale": 2.0, "batch_size": 16})


def save_pipeline(networks: TextToLatent, vae: Any, folder: Path, settings: dict[str, Any]) -> None:
    """Write a StableDiffusionPipeline folder in fp16 safetensors, with the call settings that it was trained for."""
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=networks.text_encoder,
        tokenizer=tokenizer(),
        unet=networks.unet,
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    for part in (pipeline.vae, pipeline.unet):
        part.register_to_config(_name_or_path="")  # no paths of this machine
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    (folder / "gensearch.json").write_text(json.dumps(settings, indent=2) + "\n")
