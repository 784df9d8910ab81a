"""VQAScore: how surely a multimodal language model says yes when asked whether a picture shows its prompt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from verifiers.batches import physical_batches, require_pictures
from verifiers.types import Media, Scores

QUESTION = 'Does this figure show "{prompt}"? Please answer yes or no.'
WORDS = {"yes": ("Yes", "yes", " Yes", " yes"), "no": ("No", "no", " No", " no")}


class VQAScore:
    """P(yes) / (P(yes) + P(no)) of the next word after picture and question (Lin et al. 2024, arXiv:2404.01291).

    In [0, 1]; the paper takes P(yes) alone, which also falls when a model would rather say something else. Takes any
    image-text-to-text model of transformers with its processor. Pictures go through it in batches of exactly
    `batch_size`, all with one question, so a score's bits do not depend on its neighbours. A picture with a non-finite
    pixel scores NaN.
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
        """Take model and processor as they are; `template` holds {image} and {question}, None: the processor's chat.

        Raises ValueError for a template without these and for a tokenizer in which yes or no is no single token.
        """
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
            raise ValueError(f"{name} cannot say {' or '.join(unknown)} in one token; take another judge")

    @classmethod
    def load(cls, source: str, *, device: Any = "cpu", dtype: torch.dtype = torch.float32, **options: Any) -> VQAScore:
        """From a folder or a name on the hub, in safetensors; no remote code is run. `options` as for the class."""
        from transformers import AutoModelForImageTextToText, AutoProcessor

        model = AutoModelForImageTextToText.from_pretrained(
            source, dtype=dtype, use_safetensors=True, trust_remote_code=False
        )
        processor = AutoProcessor.from_pretrained(source, trust_remote_code=False)
        return cls(model.to(device), processor, **{"name": f"vqa:{source}", **options})

    @torch.no_grad()
    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score pictures [b, 3, h, w] in [0, 1], one prompt each."""
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
        """One physical batch of pictures with one prompt, [n]."""
        marked = self.template.replace("{image}", image_mark(self.processor))  # first: prompts may hold braces
        text = marked.replace("{question}", self.question.replace("{prompt}", prompt))
        images = list((pixels * 255).round().to(torch.uint8))
        inputs = self.processor(text=[text] * len(images), images=images, return_tensors="pt")
        logits = self.model(**inputs.to(self.model.device, self.model.dtype)).logits[:, -1].float()
        yes, no = (logits[:, ids].logsumexp(1) for ids in (self.answers["yes"], self.answers["no"]))
        return (yes - no).sigmoid().cpu()


def image_mark(processor: Any) -> str:
    """What a processor replaces by a picture."""
    return str(getattr(processor, "image_token", None) or processor.tokenizer.image_token)


def chat(processor: Any) -> str:
    """A question about a picture in a processor's chat format; raises ValueError if it has none."""
    if not getattr(processor, "chat_template", None):
        raise ValueError("this processor has no chat template; give `template` with {image} and {question}")
    content = [{"type": "image"}, {"type": "text", "text": "{question}"}]
    text = str(processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True))
    return text.replace(image_mark(processor), "{image}")


def single_tokens(tokenizer: Any, forms: Sequence[str]) -> list[int]:
    """The ids of those spellings that are one known token."""
    found = [tokenizer(form, add_special_tokens=False)["input_ids"] for form in forms]
    return sorted({ids[0] for ids in found if len(ids) == 1 and ids[0] != tokenizer.unk_token_id})


def asked_in(folder: Path) -> str | None:
    """The question that a folder of weights wants to be asked: `question` of its gensearch.json, if there is one."""
    path = folder / "gensearch.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON ({error}); mend or remove it") from error
    return settings.get("question") if isinstance(settings, dict) else None
