"""VideoReward: visual quality, motion quality and text alignment, read from a language model at three reward tokens."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from verifiers.card import Card
from verifiers.types import Device, Media, Scores
from verifiers.video.clips import at_rate, chat_inputs, clip_by_clip, settings

CARD = Card(
    checkpoint="KwaiVGI/VideoReward, converted by `python -m verifiers.video.convert_videoreward`",
    licence="Apache-2.0",
    input="clips",
    range="sum of three scores, each about -3 to 3; 0 is the training mean",
    size="2.2B parameters (Qwen2-VL-2B)",
    price="1 pass; 2 frames a second, at least 4, of up to 200704 pixels",
)
ASPECTS = ("VQ", "MQ", "TA")
TOKENS = tuple(f"<|{aspect}_reward|>" for aspect in ASPECTS)
MEAN = (3.6757, 1.1646, 2.8105)  # of raw scores, by aspect
STD = (2.2476, 1.3811, 2.5121)
MOST_PIXELS = 200704  # of a frame, 448 * 448
QUESTION = """Rate this generated video from 0 (worst) to 10 (best) in three independent respects.

Visual quality of single frames: sound anatomy and objects, sharpness, rich detail, beauty, safe content.
Rating of visual quality: <|VQ_reward|>

Motion quality: stable, natural and fluid movement, clean edges of what moves, enough movement.
Rating of motion quality: <|MQ_reward|>

Text alignment: subjects, movement, surroundings, style and camera are those of the text.
The text is: {prompt}
Rating of text alignment: <|TA_reward|>
"""


class VideoReward:
    """The sum of three standardised rewards of a clip; higher is better (Liu et al. 2025, arXiv:2501.13918).

    A linear head reads the last hidden states of a Qwen2-VL at three reward tokens: visual quality (VQ), motion quality
    (MQ) and text alignment (TA), which `Scores.parts` holds. The prompt comes after the first two, so only TA depends
    on it. Positions count tokens one by one, as in upstream's training, and not by Qwen2-VL's grid of frames. Clips go
    through the model one by one. Not differentiable: the processor rounds pixels.

    The default question is a paraphrase. Published results need the question of the training: give upstream's template
    "detailed_special" as `question`, here or in the gensearch.json of a local folder. Mean and standard deviation are
    those of the released checkpoint.

    Args:
        model: a network of `reward_network()`; it is frozen and set to eval mode.
        processor: its `Qwen2VLProcessor`, with the reward tokens.
        name: the verifier's name in logs and reports.
        question: the question, with the three reward tokens once each, and {prompt} where the prompt belongs.
        mean: mean of the raw scores of VQ, MQ and TA.
        std: their standard deviations, above 0.
        clip_fps: frames per second of the clips, above 0.
        fps: frames per second that the model is given, above 0.
        most_pixels: largest number of pixels of a frame; larger ones are made smaller.

    Raises:
        ValueError: for a question without {prompt} or without each token once, rates or deviations that are not
            positive, and a tokenizer that does not know the tokens.
    """

    differentiable = False
    batch_size = 1

    def __init__(
        self,
        model: nn.Module,
        processor: Any,
        *,
        name: str = "videoreward",
        question: str = QUESTION,
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
        clip_fps: float = 16.0,
        fps: float = 2.0,
        most_pixels: int = MOST_PIXELS,
    ) -> None:
        if wrong := [mark for mark in ("{prompt}", *TOKENS) if question.count(mark) != 1]:
            raise ValueError(f"the question holds {wrong[0]} {question.count(wrong[0])} times; write it once")
        if len(mean) != len(ASPECTS) or len(std) != len(ASPECTS) or not min(std) > 0:
            raise ValueError(f"mean is {list(mean)} and std {list(std)}; give three numbers each, std above 0")
        if not min(clip_fps, fps) > 0:
            raise ValueError(f"clip_fps is {clip_fps} and fps is {fps}; give frames per second above 0")
        self.model: Any = model.eval().requires_grad_(False)
        self.processor = processor
        self.name, self.question = name, question
        self.mean, self.std = torch.tensor(mean), torch.tensor(std)
        self.clip_fps, self.fps, self.most_pixels = clip_fps, fps, most_pixels
        self.tokens = processor.tokenizer.convert_tokens_to_ids(list(TOKENS))
        if None in self.tokens or processor.tokenizer.unk_token_id in self.tokens:
            raise ValueError(
                f"the tokenizer does not know {', '.join(TOKENS)}; add them as special tokens, in this order"
            )

    @classmethod
    def load(
        cls, source: str, *, device: Device = "cpu", dtype: torch.dtype = torch.float32, **options: Any
    ) -> VideoReward:
        """Load a converted checkpoint from safetensors; no remote code is run.

        Args:
            source: a local folder or a name on the Hugging Face hub, with model, head and processor.
            device: where the model runs.
            dtype: its precision.
            **options: parameters of the class.

        Raises:
            ValueError: as the class, for a checkpoint without safetensors or without the head, and for a gensearch.json
                that cannot be read.
        """
        from transformers import AutoProcessor

        try:
            model, found = reward_network().from_pretrained(
                source, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True
            )
        except OSError as error:
            raise ValueError(
                f"{source} holds no model in safetensors ({' '.join(str(error).split())[:160]}); convert the released "
                "checkpoint once by `python -m verifiers.video.convert_videoreward CHECKPOINT BASE FOLDER`"
            ) from error
        if missing := found["missing_keys"]:
            raise ValueError(
                f"{source} lacks {max(missing)}; convert the checkpoint of VideoReward, not its base model"
            )
        processor = AutoProcessor.from_pretrained(source, trust_remote_code=False)
        known = settings(source, ("question", "mean", "std", "clip_fps", "fps", "most_pixels"))
        return cls(model.to(device), processor, **{**known, **options})

    @torch.no_grad()
    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score clips, on their device.

        Args:
            media: clips [b, t, 3, h, w] in [0, 1], of any length.
            prompts: b prompts.
            progress: ignored.

        Raises:
            ValueError: for pictures, for another number of prompts, and for a prompt with a token of the model.
        """
        scores = clip_by_clip(self.name, media, prompts, len(ASPECTS), self.score)
        total = scores.sum(1)
        return Scores(total, {self.name: total, **dict(zip(ASPECTS, scores.unbind(1), strict=True))})

    def score(self, clip: Tensor, prompt: str) -> Tensor:
        """Return the three standardised scores of one clip.

        Args:
            clip: frames [t, 3, h, w] in [0, 1].
            prompt: its prompt.
        """
        if held := [token for token in TOKENS if token in prompt]:
            raise ValueError(f"the prompt {prompt[:60]!r} holds {held[0]}, where a score is read; leave it out")
        taken = clip[at_rate(len(clip), self.clip_fps, self.fps)]
        least = min(self.processor.video_processor.size["shortest_edge"], self.most_pixels)
        size = {"shortest_edge": least, "longest_edge": self.most_pixels}
        inputs = chat_inputs(self.processor, taken, self.question.replace("{prompt}", prompt), self.fps, size)
        raw: Tensor = self.model.rewards(inputs.to(self.model.device, self.model.dtype), self.tokens)
        return (raw.float().cpu() - self.mean) / self.std


@cache
def reward_network() -> Any:
    """Return the class of the network: a `Qwen2VLModel` of transformers with a linear head for one number."""
    from transformers import Qwen2VLConfig, Qwen2VLModel, Qwen2VLPreTrainedModel

    class RewardNetwork(Qwen2VLPreTrainedModel):  # type: ignore[misc]
        """Qwen2-VL with a reward head.

        Args:
            config: of the Qwen2-VL.
        """

        def __init__(self, config: Qwen2VLConfig) -> None:
            super().__init__(config)
            self.model = Qwen2VLModel(config)
            self.rm_head = nn.Linear(config.text_config.hidden_size, 1, bias=False)
            self.post_init()

        def rewards(self, inputs: Any, tokens: Sequence[int]) -> Tensor:
            """Return the head's number at each of some tokens of one text, in their order.

            Args:
                inputs: of the processor, a batch of one.
                tokens: ids, each once in the text.
            """
            ids = inputs["input_ids"]
            hidden = self.model(
                input_ids=ids,
                attention_mask=inputs["attention_mask"],
                position_ids=torch.arange(ids.shape[1], device=ids.device).expand(3, 1, -1),
                pixel_values_videos=inputs["pixel_values_videos"],
                video_grid_thw=inputs["video_grid_thw"],
                use_cache=False,
            ).last_hidden_state[0]
            places = torch.stack([(ids[0] == token).nonzero()[0, 0] for token in tokens])
            found: Tensor = self.rm_head(hidden[places])[:, 0]
            return found

    return RewardNetwork
