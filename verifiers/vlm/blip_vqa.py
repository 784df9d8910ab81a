"""BLIP-VQA: whether a picture shows a noun phrase, by the first word that BLIP answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from verifiers.batches import physical_batches, require_pictures, sizes
from verifiers.card import Card
from verifiers.embedding.preprocess import Preprocess
from verifiers.types import Device, Media, Scores
from verifiers.vlm.local import alike, cleaned

CARD = Card(
    checkpoint="Salesforce/blip-vqa-capfilt-large",
    licence="BSD-3-Clause",
    input="pictures",
    range="0 to 1",
    size="385M parameters",
    price="1 pass of the image encoder, and 1 of the text encoder for a question",
)
SIDE = 480  # pixels: of the original; the converted checkpoint was interpolated to 384
WORDS, TOKENS = 50, 35  # that are read of a question
ENCODE, DECODE = 30523, 30522  # tokens that begin a question and an answer
YES, NO = 2748, 2053
UNREAD = r"[.!\"()*#:;~]"


class BlipVQA:
    """P(yes) / (P(yes) + P(no)) of BLIP's first word after "<prompt>?", in [0, 1].

    BLIP, Li et al. 2022, arXiv:2201.12086, as T2I-CompBench asks it (Huang et al. 2023, arXiv:2307.06350). Pictures are
    squashed to a square. The first token of a question is [ENC], and the decoder reads [DEC] alone. Questions with the
    same text share a physical batch, so the bits of a score do not depend on the other pictures. A picture with a
    non-finite pixel scores NaN. Not differentiable.

    Args:
        model: a `BlipForQuestionAnswering` of transformers; it is frozen and set to eval mode.
        tokenizer: of bert-base-uncased with BLIP's two further tokens.
        side: of the input in pixels; position embeddings are interpolated if it is not that of the model.
        name: the verifier's name in logs and reports.
        batch_size: pictures in one physical batch, at least 1.

    Raises:
        ValueError: for a tokenizer with other ids of yes and no.
    """

    differentiable = False

    def __init__(
        self, model: nn.Module, tokenizer: Any, *, side: int = SIDE, name: str = "blip-vqa", batch_size: int = 8
    ) -> None:
        ids = [tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no")]
        if ids != [YES, NO]:
            raise ValueError(
                f"yes and no are the tokens {ids}, not {[YES, NO]}; take the tokenizer of {CARD.checkpoint}"
            )
        self.model: Any = model.eval().requires_grad_(False)
        self.tokenizer, self.name, self.batch_size = tokenizer, name, batch_size
        self.preprocess = Preprocess(side, squash=True)

    @classmethod
    def load(cls, source: str = CARD.checkpoint, *, device: Device = "cpu", **options: Any) -> BlipVQA:
        """Load model and tokenizer from safetensors; no remote code is run.

        Args:
            source: a name on the Hugging Face hub, or a local folder.
            device: where the model runs.
            **options: parameters of the class.
        """
        from transformers import AutoTokenizer, BlipForQuestionAnswering

        model = BlipForQuestionAnswering.from_pretrained(source, use_safetensors=True, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        return cls(model.to(device), tokenizer, **{"name": f"blip-vqa:{source}", **options})

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score pictures, on their device.

        Args:
            media: pictures [b, 3, h, w] in [0, 1].
            prompts: b prompts, each asked as one question.
            progress: ignored.

        Raises:
            ValueError: for clips, and for another number of prompts.
        """
        total = torch.cat(self.answer(media, [[prompt] for prompt in prompts])).exp()
        return Scores(total, {self.name: total})

    def answer(self, media: Media, questions: Sequence[Sequence[str]]) -> list[Tensor]:
        """Return the logarithms of P(yes), one tensor [q] for each picture; NaN for a picture that is not finite.

        Args:
            media: pictures [b, 3, h, w] in [0, 1].
            questions: of each picture, b sequences of phrases or questions.

        Raises:
            ValueError: for clips, and for another number of sequences.
        """
        require_pictures(self.name, media, ["" for _ in questions])
        pixels, finite = cleaned(media)
        seen = self.encoded(pixels)
        asked = [(row, question(text)) for row, own in enumerate(questions) for text in own]
        batches = sizes(len(media), self.batch_size)
        found = torch.empty(len(asked))
        for text, places, count in alike([text for _, text in asked], [batches[row] for row, _ in asked]):
            margin = self.margin(seen[[asked[place][0] for place in places]], text)
            found[places[:count]] = logsigmoid(margin)[:count].cpu()
        found[~finite[[row for row, _ in asked]]] = torch.nan
        return list(found.to(media.device).split([len(own) for own in questions]))

    @torch.no_grad()
    def encoded(self, pixels: Media) -> Tensor:
        """Return the features of pictures [b, patches, d].

        Args:
            pixels: finite pictures on the CPU [b, 3, h, w] in [0, 1].
        """
        own = next(self.model.parameters())

        def once(batch: Tensor) -> Tensor:
            ready = self.preprocess(batch.float()).to(own.device, own.dtype)
            features: Tensor = self.model.vision_model(
                pixel_values=ready, interpolate_pos_encoding=True
            ).last_hidden_state
            return features

        return torch.cat([once(pixels[rows]) for rows in physical_batches(len(pixels), self.batch_size)])[: len(pixels)]

    @torch.no_grad()
    def margin(self, seen: Tensor, text: str) -> Tensor:
        """Return the logit of yes minus that of no as the first word of the answer [n], in fp32.

        Args:
            seen: features of pictures [n, patches, d].
            text: the question, the same for all of them.
        """
        read = self.tokenizer(text, return_tensors="pt", truncation=True, max_length=TOKENS)
        ids = read["input_ids"].to(seen.device).repeat(len(seen), 1)
        ids[:, 0] = ENCODE
        known = self.model.text_encoder(input_ids=ids, encoder_hidden_states=seen).last_hidden_state
        first = torch.full((len(seen), 1), DECODE, device=seen.device)
        logits = self.model.text_decoder(input_ids=first, encoder_hidden_states=known).logits[:, -1].float()
        margin: Tensor = logits[:, YES] - logits[:, NO]
        return margin


def question(phrase: str) -> str:
    """Return a phrase as the question that BLIP reads: lower case, without marks, at most 50 words.

    Args:
        phrase: such as "a red apple".
    """
    words = re.sub(UNREAD, "", phrase.lower().removesuffix("?")).split()
    return f"{' '.join(words[:WORDS])}?"
