"""VideoScore2: a language model reasons about a clip and then writes three scores from 1 to 5."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from verifiers.card import Card
from verifiers.types import Device, Media, Scores
from verifiers.video.clips import at_rate, chat_inputs, clip_by_clip, settings

CARD = Card(
    checkpoint="TIGER-Lab/VideoScore2",
    licence="Apache-2.0",
    input="clips",
    range="1 to 5 (expectation), 0 to 5 (peak); 2.5 to 4 for current generators",
    size="8.3B parameters (Qwen2.5-VL-7B)",
    price="up to 1024 generated tokens; 2 frames a second, at least 4",
)
ASPECTS = ("visual quality", "text-to-video alignment", "physical/common-sense consistency")
QUESTION = """Rate this generated video from 1 (worst) to 5 (best) in three respects.
(1) visual quality: resolution, sharpness, smooth and stable frames, no artifacts.
(2) text-to-video alignment: objects, actions, scene and style are those of the text.
(3) physical/common-sense consistency: nothing breaks the laws of physics or common sense.
The text is: {prompt}
Think first. Then answer in this form:
visual quality: <score>; text-to-video alignment: <score>; physical/common-sense consistency: <score>"""
DIGITS = ("1", "2", "3", "4", "5")


class VideoScore2:
    """The mean of three scores that VideoScore2 (He et al. 2025, arXiv:2509.22799) writes about a clip.

    Each score is read from the probabilities of the digits 1 to 5 where the model writes it. "peak" is upstream's: the
    likeliest digit times its share of their probability, so an unsure 4 can be less than a sure 3. "expectation" is the
    mean digit under these shares. Answers are greedy; upstream samples. `Scores.parts` holds the three scores. An
    answer without all three, also one that ends at `answer_tokens`, is unscored (NaN) and counted in `unparsed`. Clips
    go through the model one by one. Not differentiable.

    The default question is a paraphrase. Published results need the question of the model card: give it as `question`,
    here or in the gensearch.json of a local folder, where `clip_fps` may stand as well.

    Args:
        model: a `Qwen2_5_VLForConditionalGeneration` of transformers; it is frozen and set to eval mode.
        processor: its processor.
        name: the verifier's name in logs and reports.
        question: the question, with {prompt} where the prompt belongs; it must name the three aspects.
        soft: "peak" or "expectation".
        clip_fps: frames per second of the clips, above 0.
        fps: frames per second that the model is given, above 0.
        answer_tokens: longest answer in tokens, at least 1.

    Raises:
        ValueError: for a question without {prompt}, another `soft`, rates that are not positive, and a tokenizer in
            which a digit is not a single token.
    """

    differentiable = False
    batch_size = 1

    def __init__(
        self,
        model: nn.Module,
        processor: Any,
        *,
        name: str = "videoscore",
        question: str = QUESTION,
        soft: Literal["peak", "expectation"] = "peak",
        clip_fps: float = 16.0,
        fps: float = 2.0,
        answer_tokens: int = 1024,
    ) -> None:
        if "{prompt}" not in question:
            raise ValueError(f"the question {question[:60]!r} lacks {{prompt}}; put it where the prompt belongs")
        if soft not in ("peak", "expectation"):
            raise ValueError(f"soft is {soft!r}; take 'peak' or 'expectation'")
        if not min(clip_fps, fps) > 0:
            raise ValueError(f"clip_fps is {clip_fps} and fps is {fps}; give frames per second above 0")
        self.model: Any = model.eval().requires_grad_(False)
        self.processor = processor
        self.name, self.question, self.soft = name, question, soft
        self.clip_fps, self.fps, self.answer_tokens = clip_fps, fps, answer_tokens
        self.unparsed = 0
        found = [processor.tokenizer(digit, add_special_tokens=False)["input_ids"] for digit in DIGITS]
        if any(len(ids) != 1 or ids[0] == processor.tokenizer.unk_token_id for ids in found):
            raise ValueError(f"{name} needs a tokenizer in which 1 to 5 are single tokens; take that of VideoScore2")
        self.digits = [ids[0] for ids in found]

    @classmethod
    def load(
        cls, source: str, *, device: Device = "cpu", dtype: torch.dtype = torch.float32, **options: Any
    ) -> VideoScore2:
        """Load model and processor from safetensors; no remote code is run.

        Args:
            source: a name on the Hugging Face hub, or a local folder.
            device: where the model runs.
            dtype: its precision.
            **options: parameters of the class.

        Raises:
            ValueError: as the class, and for a gensearch.json that cannot be read.
        """
        from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

        model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            source, dtype=dtype, use_safetensors=True, trust_remote_code=False
        )
        processor = AutoProcessor.from_pretrained(source, trust_remote_code=False)
        return cls(model.to(device), processor, **{**settings(source, ("question", "clip_fps")), **options})

    @torch.no_grad()
    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score clips, on their device.

        Args:
            media: clips [b, t, 3, h, w] in [0, 1], of any length.
            prompts: b prompts.
            progress: ignored.

        Raises:
            ValueError: for pictures, for another number of prompts, and for a prompt with a placeholder of the model.
        """
        scores = clip_by_clip(self.name, media, prompts, len(ASPECTS), self.score)
        total = scores.mean(1)
        return Scores(total, {self.name: total, **dict(zip(ASPECTS, scores.unbind(1), strict=True))})

    def score(self, clip: Tensor, prompt: str) -> Tensor:
        """Return the three scores of one clip; NaN if the answer cannot be read.

        Args:
            clip: frames [t, 3, h, w] in [0, 1].
            prompt: its prompt.
        """
        taken = clip[at_rate(len(clip), self.clip_fps, self.fps)]
        inputs = chat_inputs(self.processor, taken, self.question.replace("{prompt}", prompt), self.fps)
        asked = inputs["input_ids"].shape[1]
        answer = self.model.generate(
            **inputs.to(self.model.device, self.model.dtype),
            do_sample=False,
            max_new_tokens=self.answer_tokens,
            output_logits=True,
            return_dict_in_generate=True,
        )
        pieces = [self.processor.tokenizer.decode([token]) for token in answer.sequences[0, asked:].tolist()]
        places = find_scores(pieces)
        if places is None:
            self.unparsed += 1
            return torch.full((len(ASPECTS),), torch.nan)
        logits = torch.stack([answer.logits[place][0, self.digits] for place in places])
        return soften(logits.float(), self.soft)


def find_scores(pieces: Sequence[str]) -> list[int] | None:
    """Return which tokens of an answer are the scores of the three aspects; None if one of them is missing.

    A score is the digit after the name of its aspect and a colon, with any other text but colons and line ends before
    the colon. The last one counts: names also occur while the model reasons.

    Args:
        pieces: the text of each token.
    """
    text, holders = "".join(pieces), [i for i, piece in enumerate(pieces) for mark in piece if mark.isdigit()]
    places = []
    for aspect in ASPECTS:
        spelling = r"\s*".join(re.escape(word) for word in re.findall(r"\w+|[^\w\s]", aspect))
        found = list(re.finditer(rf"{spelling}[^:\n]*:[\s*<\[(]*([1-5])(?!\d|\.[1-9])", text, re.IGNORECASE))
        if not found:
            return None
        place = holders[sum(mark.isdigit() for mark in text[: found[-1].start(1)])]
        if pieces[place].strip() not in DIGITS:  # together with other text in one token
            return None
        places.append(place)
    return places


def soften(logits: Tensor, soft: str) -> Tensor:
    """Return scores [n] from the logits of the digits 1 to 5.

    Args:
        logits: [n, 5].
        soft: "peak" or "expectation".
    """
    shares = logits.softmax(1)
    if soft == "expectation":
        return (shares * torch.arange(1, 6, device=logits.device)).sum(1)
    highest, digit = shares.max(1)
    return (digit + 1) * highest
