"""An image-text-to-text model of transformers with its processor: the next word after a question, or an answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from verifiers.batches import require_pictures, sizes
from verifiers.calls import quoted
from verifiers.types import Device, Media


class LocalModel:
    """Asks one question about several pictures, or about several groups of pictures, in one physical batch.

    Args:
        model: any image-text-to-text model of transformers; it is frozen and set to eval mode.
        processor: its processor.
        template: the text around a question, with {question} and one {image} for each picture of a group; None for the
            chat template of the processor.
        images: pictures in a group, at least 1; for the chat template.

    Raises:
        ValueError: for a template without {image} or {question}, and for a processor without a chat template where none
            is given.
    """

    def __init__(self, model: nn.Module, processor: Any, template: str | None = None, images: int = 1) -> None:
        self.model: Any = model.eval().requires_grad_(False)
        self.processor = processor
        self.template = template or chat(processor, images)
        if missing := [field for field in ("{image}", "{question}") if field not in self.template]:
            raise ValueError(
                f"the template {self.template!r} lacks {' and '.join(missing)}; write each where it belongs"
            )

    @torch.no_grad()
    def next_word(self, groups: Sequence[Sequence[Tensor]], question: str) -> Tensor:
        """Return the logits [n, words] of the word that comes next, in fp32.

        Args:
            groups: n groups of pictures [3, h, w] in [0, 1].
            question: the same for all of them.
        """
        logits: Tensor = self.model(**self.inputs(groups, question)).logits[:, -1]
        return logits.float()

    @torch.no_grad()
    def write(self, groups: Sequence[Sequence[Tensor]], question: str, length: int) -> list[str]:
        """Return n answers, of the likeliest next word each time.

        Args:
            groups: n groups of pictures [3, h, w] in [0, 1].
            question: the same for all of them.
            length: most tokens of an answer, at least 1.
        """
        inputs = self.inputs(groups, question)
        greedy = {"do_sample": False, "num_beams": 1, "temperature": None, "top_p": None, "top_k": None}
        tokens = self.model.generate(**inputs, max_new_tokens=length, **greedy)
        written = tokens[:, inputs["input_ids"].shape[1] :]
        return list(self.processor.tokenizer.batch_decode(written, skip_special_tokens=True))

    def answers(
        self, groups: Sequence[Sequence[Tensor]], questions: Sequence[str], length: int, batch_size: int
    ) -> list[str]:
        """Return one answer for each group of pictures.

        Args:
            groups: n groups of pictures [3, h, w] in [0, 1].
            questions: n of them.
            length: most tokens of an answer, at least 1.
            batch_size: groups in one physical batch, at least 1.
        """
        found = [""] * len(questions)
        for question, rows, count in alike(questions, sizes(len(questions), batch_size)):
            texts = self.write([groups[row] for row in rows], question, length)
            for row, text in zip(rows[:count], texts[:count], strict=True):
                found[row] = text
        return found

    def inputs(self, groups: Sequence[Sequence[Tensor]], question: str) -> Any:
        """Return what the model reads, on its device; pixels are rounded to 8 bits, as processors expect.

        Args:
            groups: n groups of pictures [3, h, w] in [0, 1].
            question: the same for all of them.
        """
        marked = self.template.replace("{image}", image_mark(self.processor))  # first: questions may hold braces
        text = marked.replace("{question}", question)
        images = [(picture * 255).round().to(torch.uint8) for group in groups for picture in group]
        inputs = self.processor(text=[text] * len(groups), images=images, return_tensors="pt")
        return inputs.to(self.model.device, self.model.dtype)


class Written:
    """What verifiers share whose model writes its scores of a picture as text."""

    kind: ClassVar[str]  # of their names, as in kind:source
    name: str
    length: int
    batch_size: int

    @classmethod
    def load(cls, source: str, *, device: Device = "cpu", dtype: torch.dtype = torch.bfloat16, **options: Any) -> Self:
        """Load model and processor from safetensors; no remote code is run.

        Args:
            source: a local folder, or a name on the Hugging Face hub.
            device: where the model runs.
            dtype: its precision.
            **options: parameters of the class.

        Raises:
            ValueError: as the class.
        """
        make: Any = cls
        found: Self = make(*load(source, device, dtype), **{"name": f"{cls.kind}:{quoted(source)}", **options})
        return found

    def written(
        self, local: LocalModel, question: str, media: Media, prompts: Sequence[str]
    ) -> tuple[list[str], Tensor]:
        """Return what the model writes of each picture, and whether the picture is finite, bool [b].

        Args:
            local: the model.
            question: about one picture, with {prompt}.
            media: pictures [b, 3, h, w] in [0, 1].
            prompts: b prompts.

        Raises:
            ValueError: for clips, and for another number of prompts.
        """
        require_pictures(self.name, media, prompts)
        pixels, finite = cleaned(media)
        questions = [question.replace("{prompt}", prompt) for prompt in prompts]
        return local.answers([[picture] for picture in pixels], questions, self.length, self.batch_size), finite


def load(source: str, device: Device = "cpu", dtype: torch.dtype = torch.float32) -> tuple[nn.Module, Any]:
    """Load a model and its processor from safetensors; no remote code is run.

    Args:
        source: a local folder, or a name on the Hugging Face hub.
        device: where the model runs.
        dtype: its precision.
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained(
        source, dtype=dtype, use_safetensors=True, trust_remote_code=False
    )
    return model.to(device), AutoProcessor.from_pretrained(source, trust_remote_code=False)


def alike(texts: Sequence[str], sizes: Sequence[int]) -> Iterator[tuple[str, list[int], int]]:
    """Go through physical batches that share a text: the text, the rows of the batch, and how many of them count.

    Rows beyond that number repeat the last one. The size of a row's batch does not depend on the other texts.

    Args:
        texts: of each row.
        sizes: of the physical batch that each row is in, as `verifiers.batches.sizes` returns them.
    """
    for text, size in dict.fromkeys(zip(texts, sizes, strict=True)):
        rows = [row for row, own in enumerate(zip(texts, sizes, strict=True)) if own == (text, size)]
        for first in range(0, len(rows), size):
            part = rows[first : first + size]
            yield text, part + [part[-1]] * (size - len(part)), len(part)


def cleaned(media: Media) -> tuple[Tensor, Tensor]:
    """Return pictures on the CPU, without a graph, black where they are not finite; and which are finite [b].

    Args:
        media: pictures [b, 3, h, w].
    """
    pixels = media.detach().cpu()
    finite = pixels.isfinite().flatten(1).all(1)
    return torch.where(finite[:, None, None, None], pixels, 0), finite


def image_mark(processor: Any) -> str:
    """Return the placeholder that a processor replaces by a picture.

    Args:
        processor: a transformers processor of pictures and text.
    """
    return str(getattr(processor, "image_token", None) or processor.tokenizer.image_token)


def chat(processor: Any, images: int = 1) -> str:
    """Return a question about pictures in the chat format of a processor, with {image} and {question}.

    Args:
        processor: a transformers processor of pictures and text.
        images: how many pictures come before the question, at least 1.

    Raises:
        ValueError: if it has no chat template.
    """
    if not getattr(processor, "chat_template", None):
        raise ValueError("this processor has no chat template; give `template` with {image} and {question}")
    content = [*[{"type": "image"}] * images, {"type": "text", "text": "{question}"}]
    text = str(processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True))
    return text.replace(image_mark(processor), "{image}")


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
