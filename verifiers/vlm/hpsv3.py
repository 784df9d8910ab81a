"""HPSv3: human preference by a Qwen2-VL with a small head, as a mean and an uncertainty."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from verifiers.batches import require_pictures, sizes
from verifiers.card import Card
from verifiers.embedding.preprocess import CLIP_MEAN, CLIP_STD
from verifiers.types import Device, Media, Scores
from verifiers.vlm.local import alike, asked_in, chat, image_mark

CARD = Card(
    checkpoint="MizzenAI/HPSv3",
    licence="MIT",
    input="pictures",
    range="unbounded, published means -0.24 (SD 2) to 10.6 (Kolors)",
    size="8.3B parameters",
    price="1 pass of Qwen2-VL-7B",
    differentiable=True,
)
BASE = "Qwen/Qwen2-VL-7B-Instruct"
FILE = "HPSv3.safetensors"
TOKEN = "<|Reward|>"  # the head reads the last layer at this token
PIXELS = 256 * 28 * 28  # of a resized picture
HEAD = (1024, 16, 2)
INSTRUCTION = f"""
Rate this generated image by how much people would prefer it, from 0 (worst) to 10 (best). Consider two things.

**Visual Quality:**
- **Reasonableness:** bodies, objects and places follow anatomy and logic.
- **Clarity:** the image is sharp and easy to read.
- **Detail Richness:** textures, materials and light are worked out.
- **Aesthetic and Creativity:** colour, composition and atmosphere are pleasing and original.
- **Safety:** nothing in it is harmful; an image with harmful content gets the lowest rating.

**Text Alignment:**
- **Subject Relevance:** subjects agree with the text in number, looks and actions.
- **Style Relevance:** the style is the one that the text asks for.
- **Contextual Consistency:** background and setting fit the text.
- **Attribute Fidelity:** colours, clothes, expressions and other attributes are as described.
- **Semantic Coherence:** the image as a whole means what the text means.
Textual prompt - {{prompt}}


The overall rating of this image: {TOKEN}

END
"""


class RewardModel(nn.Module):
    """Qwen2-VL without its word head, and a head of three layers in fp32: mean and uncertainty at one token.

    Args:
        backbone: a `Qwen2VLModel` of transformers.
        width: of its last layer.
    """

    def __init__(self, backbone: nn.Module, width: int) -> None:
        super().__init__()
        self.backbone: Any = backbone
        first, second, out = HEAD
        self.rm_head = nn.Sequential(
            nn.Linear(width, first),
            nn.ReLU(),
            nn.Dropout(0.05),
            nn.Linear(first, second),
            nn.ReLU(),
            nn.Linear(second, out),
        )

    def forward(self, tokens: Tensor, pixels: Tensor, grid: Tensor, place: int) -> Tensor:
        """Return mean and uncertainty [n, 2].

        Positions count all tokens in one row, pictures included: the head was trained with them.

        Args:
            tokens: ids [n, length].
            pixels: patches of all pictures.
            grid: patches of each picture along time, height and width [n, 3].
            place: of the token that is read.
        """
        words = self.backbone.get_input_embeddings()(tokens)
        seen = torch.cat(self.backbone.get_image_features(pixels, grid).pooler_output)
        where = (tokens == self.backbone.config.image_token_id)[..., None].expand_as(words)
        hidden = self.backbone.language_model(
            inputs_embeds=words.masked_scatter(where, seen.to(words.dtype)), use_cache=False
        )
        out: Tensor = self.rm_head(hidden.last_hidden_state[:, place].float())
        return out


class HPSv3:
    """The mean of a predicted distribution of human preference. HPSv3, Ma et al. 2025, arXiv:2508.03789.

    `Scores.parts` holds the mean under the verifier's name, and `uncertainty`. The instruction has the structure of the
    published one (visual quality, then text alignment, then the reward token) in this project's own words: scores rank
    pictures, but their level differs from published numbers. Give the published text as `instruction` to reproduce
    those. Differentiable with respect to the pixels. Pictures go through the model in physical batches that
    share a prompt. A picture with a non-finite pixel scores NaN.

    Args:
        model: backbone and head; it is frozen and set to eval mode.
        processor: of the backbone; its tokenizer gets the reward token if it lacks it.
        name: the verifier's name in logs and reports.
        instruction: with {prompt} where the prompt belongs, and the reward token once.
        pixels: area to which pictures are resized, at their aspect ratio, at least one token's.
        batch_size: pictures in one physical batch, at least 1.

    Raises:
        ValueError: for an instruction without {prompt}, or not with one reward token.
    """

    differentiable = True

    def __init__(
        self,
        model: RewardModel,
        processor: Any,
        *,
        name: str = "hpsv3",
        instruction: str = INSTRUCTION,
        pixels: int = PIXELS,
        batch_size: int = 4,
    ) -> None:
        if "{prompt}" not in instruction or instruction.count(TOKEN) != 1:
            raise ValueError(f"the instruction of {name} must hold {{prompt}}, and {TOKEN} once; add them")
        self.model: Any = model.eval().requires_grad_(False)
        self.processor = processor
        self.name, self.pixels, self.batch_size = name, pixels, batch_size
        processor.tokenizer.add_tokens([TOKEN], special_tokens=True)
        self.template = chat(processor).replace("{question}", instruction)
        self.token = processor.tokenizer.convert_tokens_to_ids(TOKEN)

    @classmethod
    def load(
        cls,
        source: str = CARD.checkpoint,
        *,
        base: str | None = None,
        device: Device = "cpu",
        dtype: torch.dtype = torch.bfloat16,
        **options: Any,
    ) -> HPSv3:
        """Load `HPSv3.safetensors`, in the layout in which it is published; no remote code is run.

        Args:
            source: a local folder with the file, whose gensearch.json may hold the instruction as `question`, or a name
                on the Hugging Face hub.
            base: where config and processor of the backbone are: a local folder or a name on the hub; None for `source`
                if it is a folder with a config, and otherwise for Qwen2-VL-7B-Instruct.
            device: where the model runs.
            dtype: precision of the backbone; the head is in fp32.
            **options: parameters of the class.

        Raises:
            ValueError: as the class, and for weights that do not fit the config.
        """
        from huggingface_hub import hf_hub_download
        from safetensors.torch import load_file
        from transformers import AutoConfig, AutoProcessor, Qwen2VLModel

        folder = Path(source)
        path = folder / FILE if folder.is_dir() else hf_hub_download(source, FILE)
        backbone, head = split(load_file(path))
        base = base or (source if (folder / "config.json").is_file() else BASE)
        config = AutoConfig.from_pretrained(base, trust_remote_code=False)
        config.text_config.vocab_size = len(backbone["language_model.embed_tokens.weight"])
        network, report = Qwen2VLModel.from_pretrained(
            None, config=config, state_dict=backbone, dtype=dtype, output_loading_info=True
        )
        if wrong := {kind: sorted(keys)[:3] for kind, keys in report.items() if keys}:
            raise ValueError(f"{path} does not fit {base} ({wrong}); give the `base` that it was trained from")
        model = RewardModel(network, config.text_config.hidden_size)
        model.rm_head.load_state_dict(head)
        processor = AutoProcessor.from_pretrained(base, trust_remote_code=False)
        if folder.is_dir() and (text := asked_in(folder)):
            options.setdefault("instruction", text)
        return cls(model.to(device), processor, **{"name": f"hpsv3:{source}", **options})

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score pictures, on their device.

        Args:
            media: pictures [b, 3, h, w] in [0, 1].
            prompts: b prompts.
            progress: ignored.

        Raises:
            ValueError: for clips, and for another number of prompts.
        """
        require_pictures(self.name, media, prompts)
        finite = media.isfinite().flatten(1).all(1)
        clean = torch.where(finite[:, None, None, None], media, 0)
        found: list[Any] = [None] * len(media)
        for prompt, rows, count in alike(prompts, sizes(len(prompts), self.batch_size)):
            for row, value in zip(rows[:count], self.rate(clean[rows], prompt)[:count], strict=True):
                found[row] = value
        both = torch.stack(found).to(media.device).masked_fill(~finite[:, None], torch.nan)
        mean, uncertainty = both.unbind(1)
        return Scores(mean, {self.name: mean.detach(), "uncertainty": uncertainty.detach()})

    def rate(self, pictures: Tensor, prompt: str) -> Tensor:
        """Return mean and uncertainty [n, 2] of one physical batch.

        Args:
            pictures: [n, 3, h, w] in [0, 1].
            prompt: the prompt of all of them.
        """
        images = self.processor.image_processor
        weight = self.model.rm_head[0].weight
        patches, grid = patched(
            pictures.to(weight.device, torch.float32),
            self.pixels,
            images.patch_size,
            images.merge_size,
            images.temporal_patch_size,
        )
        seen = int(grid[0].prod()) // images.merge_size**2
        mark = image_mark(self.processor)
        words = prompt.replace(TOKEN, "").replace(mark, "")
        text = self.template.replace("{image}", mark * seen).replace("{prompt}", words)
        tokens = self.processor.tokenizer(text, return_tensors="pt")["input_ids"].to(weight.device)
        place = int((tokens[0] == self.token).nonzero())
        out: Tensor = self.model(tokens.expand(len(pictures), -1), patches, grid, place)
        return out


def patched(pictures: Tensor, area: int, patch: int, merge: int, frames: int) -> tuple[Tensor, Tensor]:
    """Return patches [n * rows * columns, values] and grid [n, 3] of pictures, as Qwen2-VL reads them, with gradients.

    Pixels are not rounded on the way, as the processor of transformers does.

    Args:
        pictures: [n, 3, h, w] in [0, 1].
        area: pixels of a resized picture.
        patch: side of a patch in pixels.
        merge: side in patches of what becomes one token.
        frames: how often a picture is repeated in time.

    Raises:
        ValueError: for pictures of an aspect ratio above 200.
    """
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    n, channels = pictures.shape[:2]
    height, width = smart_resize(*pictures.shape[-2:], patch * merge, area, area)
    x = interpolate(pictures, (height, width), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    mean, std = (torch.tensor(v, dtype=x.dtype, device=x.device)[:, None, None] for v in (CLIP_MEAN, CLIP_STD))
    rows, columns = height // patch, width // patch
    x = ((x - mean) / std).reshape(n, channels, rows // merge, merge, patch, columns // merge, merge, patch)
    x = x.permute(0, 2, 5, 3, 6, 1, 4, 7)[:, :, :, :, :, :, None].expand(*[-1] * 6, frames, -1, -1)
    grid = torch.tensor([[1, rows, columns]] * n, device=x.device)
    return x.reshape(n * rows * columns, channels * frames * patch * patch), grid


def split(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the weights of backbone and head, under the names that transformers has today.

    Args:
        weights: of `HPSv3.safetensors`: `visual.*`, `model.*`, `lm_head.*` (unused) and `rm_head.*`.

    Raises:
        ValueError: for weights without a head.
    """
    head = {key.removeprefix("rm_head."): value.float() for key, value in weights.items() if key.startswith("rm_head.")}
    if not head:
        raise ValueError(f"these weights have no rm_head.*; take {FILE} of {CARD.checkpoint}")
    rest = {key: value for key, value in weights.items() if not key.startswith(("rm_head.", "lm_head."))}
    renamed = {re.sub(r"^(model\.)?visual\.", "visual.", key): value for key, value in rest.items()}
    return {re.sub(r"^model\.(language_model\.)?", "language_model.", k): v for k, v in renamed.items()}, head
