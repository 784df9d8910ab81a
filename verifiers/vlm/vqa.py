"""VQAScore: the probability that a vision-language model answers yes when asked whether a picture shows its prompt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from verifiers.batches import physical_batches, require_pictures
from verifiers.card import Card
from verifiers.types import Device, Media, Scores

QUESTION = 'Does this figure show "{prompt}"? Please answer yes or no.'
WORDS = {"yes": ("Yes", "yes", " Yes", " yes"), "no": ("No", "no", " No", " no")}
CARD = Card(
    checkpoint="deepseek-community/Janus-Pro-1B",
    licence="DeepSeek Model License",
    input="pictures",
    range="0 to 1",
    size="2.1B parameters",
    price="1 pass of the model for a picture and a question",
)
SELF = CARD._replace(checkpoint="that of the generator", licence="that of the generator", size="")


class VQAScore:
    """P(yes) / (P(yes) + P(no)) of the next word after picture and question, in [0, 1].

    VQAScore, Lin et al. 2024, arXiv:2404.01291. The paper takes P(yes) alone, which also falls when other words become
    likelier. Pictures go through the model in batches of exactly `batch_size`, all with one question, so the bits of a
    score do not depend on the other pictures. A picture with a non-finite pixel scores NaN. Not differentiable:
    processors round pixels.

    Args:
        model: any image-text-to-text model of transformers; it is frozen and set to eval mode.
        processor: its processor.
        name: the verifier's name in logs and reports.
        question: the question, with {prompt} where the prompt belongs.
        template: the text around it, with {image} and {question}; None for the chat template of the processor.
        batch_size: pictures in one physical batch, at least 1.

    Raises:
        ValueError: for a template without {image} or {question}, for a processor without a chat template where none is
            given, and for a tokenizer in which yes or no is not a single token.
    """

    differentiable = False  # processors round pixels

    def __init__(
        self,
        model: nn.Module,
        processor: Any,
        *,
        name: str = "vqa",
        question: str = QUESTION,
        template: str | None = None,
        batch_size: int = 4,
    ) -> None:
        self.model: Any = model.eval().requires_grad_(False)
        self.processor = processor
        self.name = name
        self.batch_size = batch_size
        self.question = question
        self.template = template or chat(processor)
        if missing := [field for field in ("{image}", "{question}") if field not in self.template]:
            raise ValueError(f"the template {self.template!r} lacks {' and '.join(missing)}")
        self.answers = {word: single_tokens(processor.tokenizer, forms) for word, forms in WORDS.items()}
        if unknown := [word for word, ids in self.answers.items() if not ids]:
            raise ValueError(f"{name} cannot say {' or '.join(unknown)} in one token; take another verifier")

    @classmethod
    def load(
        cls,
        source: str,
        *,
        device: Device = "cpu",
        dtype: torch.dtype = torch.float32,
        **options: Any,
    ) -> VQAScore:
        """Load model and processor from safetensors; no remote code is run.

        Args:
            source: a local folder, or a name on the Hugging Face hub.
            device: where the model runs.
            dtype: its precision.
            **options: parameters of the class.

        Raises:
            ValueError: as the class.
        """
        from transformers import AutoModelForImageTextToText, AutoProcessor

        model = AutoModelForImageTextToText.from_pretrained(
            source, dtype=dtype, use_safetensors=True, trust_remote_code=False
        )
        processor = AutoProcessor.from_pretrained(source, trust_remote_code=False)
        return cls(model.to(device), processor, **{"name": f"vqa:{source}", **options})

    @torch.no_grad()
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
        pixels = torch.where(finite[:, None, None, None], media, 0).cpu()
        total = torch.empty(len(media), dtype=torch.float32)
        for prompt in dict.fromkeys(prompts):
            alike = torch.tensor([row for row, own in enumerate(prompts) if own == prompt])
            batches = [
                self.says_yes(pixels[alike[rows]], prompt) for rows in physical_batches(len(alike), self.batch_size)
            ]
            total[alike] = torch.cat(batches)[: len(alike)]
        total = total.to(media.device).masked_fill(~finite, torch.nan)
        return Scores(total, {self.name: total})

    def says_yes(self, pixels: Tensor, prompt: str) -> Tensor:
        """Return the scores [n] of one physical batch, on the CPU.

        Args:
            pixels: pictures [n, 3, h, w] in [0, 1].
            prompt: the prompt of all of them.
        """
        marked = self.template.replace("{image}", image_mark(self.processor))  # first: prompts may hold braces
        text = marked.replace("{question}", self.question.replace("{prompt}", prompt))
        images = list((pixels * 255).round().to(torch.uint8))
        inputs = self.processor(text=[text] * len(images), images=images, return_tensors="pt")
        logits: Tensor = self.model(**inputs.to(self.model.device, self.model.dtype)).logits[:, -1].float()
        yes, no = (logits[:, ids].logsumexp(1) for ids in (self.answers["yes"], self.answers["no"]))
        return (yes - no).sigmoid().cpu()


def image_mark(processor: Any) -> str:
    """Return the placeholder that a processor replaces by a picture.

    Args:
        processor: a transformers processor of pictures and text.
    """
    return str(getattr(processor, "image_token", None) or processor.tokenizer.image_token)


def chat(processor: Any) -> str:
    """Return a question about a picture in the chat format of a processor, with {image} and {question}.

    Args:
        processor: a transformers processor of pictures and text.

    Raises:
        ValueError: if it has no chat template.
    """
    if not getattr(processor, "chat_template", None):
        raise ValueError("this processor has no chat template; give `template` with {image} and {question}")
    content = [{"type": "image"}, {"type": "text", "text": "{question}"}]
    text = str(processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True))
    return text.replace(image_mark(processor), "{image}")


def single_tokens(tokenizer: Any, forms: Sequence[str]) -> list[int]:
    """Return the sorted ids of those spellings that are one known token.

    Args:
        tokenizer: a transformers tokenizer.
        forms: spellings of one word.
    """
    found = [tokenizer(form, add_special_tokens=False)["input_ids"] for form in forms]
    return sorted({ids[0] for ids in found if len(ids) == 1 and ids[0] != tokenizer.unk_token_id})


def asked_in(folder: Path) -> str | None:
    """Return the question that a model was trained with: `question` of the folder's gensearch.json, if there is one.

    Args:
        folder: a local folder of weights.

    Raises:
        ValueError: for a gensearch.json that cannot be read.
    """
    path = folder / "gensearch.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON ({error}); correct or remove it") from error
    return settings.get("question") if isinstance(settings, dict) else None
