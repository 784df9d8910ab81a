"""VQAScore: the probability that a vision-language model answers yes when asked whether a picture shows its prompt."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from verifiers.batches import require_pictures, sizes
from verifiers.card import Card
from verifiers.types import Device, Media, Scores
from verifiers.vlm.local import LocalModel, alike, asked_in, cleaned, load

CARD = Card(
    checkpoint="Qwen/Qwen3-VL-8B-Instruct",
    licence="Apache-2.0",
    input="pictures",
    range="0 to 1, mostly close to one of them",
    size="8.8B parameters",
    price="1 pass of the model for a picture and a question",
)
QUESTIONS = CARD._replace(range="at most 0, a log probability", price="1 pass of the model for each question")
QUESTION = 'Does this figure show "{prompt}"? Please answer yes or no.'
FACT = "{question} Please answer yes or no."
WORDS = {"yes": ("Yes", "yes", " Yes", " yes"), "no": ("No", "no", " No", " no")}
JANUS = Card(
    checkpoint="deepseek-community/Janus-Pro-1B",
    licence="DeepSeek Model License",
    input="pictures",
    range="0 to 1",
    size="2.1B parameters",
    price="1 pass of the model for a picture and a question",
)
SELF = JANUS._replace(checkpoint="that of the generator", licence="that of the generator", size="")


class VQAScore:
    """P(yes) of the next word after picture and question, in [0, 1].

    VQAScore, Lin et al. 2024, arXiv:2404.01291. The paper takes P(yes) among all words (`among="all"`), which also
    falls when other words become likelier. P(yes) / (P(yes) + P(no)) does not (`among="answers"`). Pictures go through
    the model in physical batches that share a question, so the bits of a score do not depend on the other pictures. A
    picture with a non-finite pixel scores NaN. Not differentiable: processors round pixels.

    Args:
        model: any image-text-to-text model of transformers; it is frozen and set to eval mode.
        processor: its processor.
        name: the verifier's name in logs and reports.
        question: the question, with {prompt} where the prompt belongs.
        template: the text around it, with {image} and {question}; None for the chat template of the processor.
        among: the words that yes competes with, "answers" (yes and no in all spellings) or "all". Among all, one
            spelling counts: Yes, or yes where Yes is no single token.
        batch_size: pictures in one physical batch, at least 1.

    Raises:
        ValueError: for another `among`, for a template without {image} or {question}, for a processor without a chat
            template where none is given, and for a tokenizer in which yes or no is not a single token.
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
        among: str = "answers",
        batch_size: int = 4,
    ) -> None:
        if among not in ("answers", "all"):
            raise ValueError(f"among is {among!r}; it must be 'answers' (yes and no) or 'all' (the whole vocabulary)")
        self.local = LocalModel(model, processor, template)
        self.model: Any = self.local.model
        self.processor, self.template = processor, self.local.template
        self.name, self.question, self.among, self.batch_size = name, question, among, batch_size
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
            source: a name on the Hugging Face hub, or a local folder, whose gensearch.json may hold the `question`.
            device: where the model runs.
            dtype: its precision.
            **options: parameters of the class.

        Raises:
            ValueError: as the class, and for a gensearch.json that cannot be read.
        """
        asked = asked_in(Path(source)) if os.path.isdir(source) else None
        kind = "vqascore" if options.get("among") == "all" else "vqa"
        known = {"name": f"{kind}:{source}", "question": asked or QUESTION}
        return cls(*load(source, device, dtype), **{**known, **options})

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
        questions = [[self.question.replace("{prompt}", prompt)] for prompt in prompts]
        total = torch.cat(self.log_yes(media, questions)).exp()
        return Scores(total, {self.name: total})

    def answer(self, media: Media, questions: Sequence[Sequence[str]]) -> list[Tensor]:
        """Return the logarithms of P(yes), one tensor [q] for each picture; NaN for a picture that is not finite.

        With `verifiers.vlm.decompose.Decomposed` this scores a prompt by its single facts.

        Args:
            media: pictures [b, 3, h, w] in [0, 1].
            questions: of each picture, b sequences of one or more, without a request for yes or no.

        Raises:
            ValueError: for clips, and for another number of sequences.
        """
        require_pictures(self.name, media, [" ".join(asked) for asked in questions])
        return self.log_yes(media, [[FACT.replace("{question}", q) for q in asked] for asked in questions])

    def log_yes(self, media: Media, questions: Sequence[Sequence[str]]) -> list[Tensor]:
        """Return the logarithms of P(yes) after questions that are complete, on the device of the pictures.

        Args:
            media: pictures [b, 3, h, w] in [0, 1].
            questions: of each picture, b sequences.
        """
        pixels, finite = cleaned(media)
        asked = [(row, question) for row, own in enumerate(questions) for question in own]
        batches = sizes(len(media), self.batch_size)
        found = torch.empty(len(asked))
        for question, places, count in alike([question for _, question in asked], [batches[row] for row, _ in asked]):
            logits = self.local.next_word([[pixels[asked[place][0]]] for place in places], question)
            found[places[:count]] = self.read(logits)[:count].cpu()
        found[~finite[[row for row, _ in asked]]] = torch.nan
        return list(found.to(media.device).split([len(own) for own in questions]))

    def read(self, logits: Tensor) -> Tensor:
        """Return the logarithms of P(yes) [n].

        Args:
            logits: of the next word [n, words].
        """
        yes, no = self.answers["yes"], self.answers["no"]
        if self.among == "all":
            return logits.log_softmax(1)[:, yes[0]]
        return logsigmoid(logits[:, yes].logsumexp(1) - logits[:, no].logsumexp(1))


def single_tokens(tokenizer: Any, forms: Sequence[str]) -> list[int]:
    """Return the ids of those spellings that are one known token, in their order and each once.

    Args:
        tokenizer: a transformers tokenizer.
        forms: spellings of one word.
    """
    found = [tokenizer(form, add_special_tokens=False)["input_ids"] for form in forms]
    return list(dict.fromkeys(ids[0] for ids in found if len(ids) == 1 and ids[0] != tokenizer.unk_token_id))
