"""Janus and Janus-Pro: transformers' model and processor in our own cached loop: a plan, then image tokens."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Self

import torch
from pydantic import Field
from torch import Tensor

from gensearch.core.verbs import Side
from gensearch.models.fingerprint import backends, instruction_set, module_hash, versions
from gensearch.models.options import Batch, Count, Scale, checked
from gensearch.models.tokens.base import Tokens
from gensearch.models.tokens.decoding import Context
from gensearch.models.tokens.language import Language, filled
from verifiers.types import Media, Verifier
from verifiers.vlm.vqa import QUESTION, VQAScore

ASK = (  # for a plan
    "<|User|>: Describe in at most fifty words a picture of: {prompt}. Name every object with its number, its look and "
    "its place, and add nothing.\n\n<|Assistant|>:"
)
DRAW = "<|User|>: {prompt}. {plan}\n\n<|Assistant|>:"  # with a plan
DRAW_BARE = "<|User|>: {prompt}\n\n<|Assistant|>:"


@dataclass
class JanusPipeline:
    """A JanusForConditionalGeneration with its JanusProcessor, which transformers have no common class for.

    Attributes:
        model: The network.
        processor: With its tokenizer.
        name_or_path: Where both came from.
    """

    model: Any
    processor: Any
    name_or_path: str = ""

    @classmethod
    def from_pretrained(cls, source: str, *, dtype: torch.dtype = torch.float32) -> Self:
        """Load from a folder or a name on the hub, in safetensors; no remote code is run.

        Args:
            source: The folder or name.
            dtype: Of the weights.

        Raises:
            OSError: It cannot be read, or weights are missing.
        """
        from transformers import AutoProcessor, JanusForConditionalGeneration

        safe = {"trust_remote_code": False}
        model, report = JanusForConditionalGeneration.from_pretrained(
            source, dtype=dtype, use_safetensors=True, output_loading_info=True, **safe
        )
        if missing := sorted(report["missing_keys"]):
            raise OSError(f"it lacks {len(missing)} weights, the first is {missing[0]}; download or copy it again")
        return cls(model.eval(), AutoProcessor.from_pretrained(source, **safe), str(source))

    @property
    def components(self) -> dict[str, Any]:
        """Model and processor, by name."""
        return {"model": self.model, "processor": self.processor}

    def to(self, device: str) -> Self:
        """Move the network."""
        self.model.to(device)
        return self


class Janus(Language, Tokens):
    """Janus (arXiv:2410.13848, 2501.17811): a plan by the language head, then image tokens by the generation head.

    The unconditional row of guidance is the prompt with all tokens but the first and the last replaced by padding.

    Args:
        pipeline: The network with its processor.
        name: In logs and records (default: where the pipeline came from).
        plan: "greedy" takes the likeliest words, "sampled" samples them, "none" leaves out the plan.
        text_length: The longest plan in tokens, 1 or more.
        context: Tokens that prompt and plan may take together; shorter contexts are padded.
        guidance_scale: Of image tokens, 0 or more; off at 1.
        temperature: Of image tokens, above 0.
        steps: Blocks of image tokens, 1 to their number.
        batch_size: The largest physical batch.
        ask: The template for a plan, with {prompt}.
        draw: The template for a picture with a plan, with {prompt} and {plan}.
        draw_bare: The template for a picture without one, with {prompt}.
        question: The template of `own_judge`, with {prompt}.

    Raises:
        ValueError: An option is unfit, or there are more steps than image tokens.
    """

    @checked
    def __init__(
        self,
        pipeline: JanusPipeline,
        *,
        name: str | None = None,
        plan: Annotated[str, Field(pattern="^(greedy|sampled|none)$")] = "greedy",
        text_length: Count = 96,
        context: Count = 256,
        guidance_scale: Scale = 5.0,
        temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0,
        steps: Count = 4,
        batch_size: Batch = 4,
        ask: Annotated[str, Field(pattern=r"\{prompt\}")] = ASK,
        draw: Annotated[str, Field(pattern=r"\{prompt\}")] = DRAW,
        draw_bare: Annotated[str, Field(pattern=r"\{prompt\}")] = DRAW_BARE,
        question: Annotated[str, Field(pattern=r"\{prompt\}")] = QUESTION,
    ) -> None:
        self.pipeline = pipeline
        self.network = pipeline.model.requires_grad_(False).eval()
        self.language, self.tokenizer = self.network.model.language_model, pipeline.processor.tokenizer
        self.name = name or pipeline.name_or_path or "janus"
        self.side = int(self.network.model.vqmodel.config.num_patches)
        self.image_length = self.side**2
        self.text_length = 0 if plan == "none" else text_length
        self.rows = 2 if guidance_scale != 1 else 1
        self.guidance = guidance_scale
        self.greedy = plan == "greedy"
        self.temperature = temperature
        self.num_steps, self.batch_size = steps, batch_size
        self.padded, self.longest = context, max(self.text_length, self.image_length)
        self.question = question
        self.templates = {"ask": ask, "draw": draw, "draw_bare": draw_bare}
        self.end = int(self.tokenizer.eos_token_id)
        self.begin_image = self.tokenizer.convert_tokens_to_ids(pipeline.processor.image_start_token)
        if steps > self.image_length:
            raise ValueError(f"{steps} steps are more than the {self.image_length} image tokens of {self.name}")

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        device: torch.device = self.network.device
        return device

    def _embed(self, side: Side, tokens: Tensor) -> Tensor:
        network = self.network
        embed = network.get_input_embeddings() if side == "text" else network.prepare_embeddings_for_image_generation
        embedded: Tensor = embed(tokens)
        return embedded

    def logits(self, side: Side, hidden: Tensor) -> Tensor:
        """By the language head, or by the generation head as u + g (c - u)."""
        core = self.network.model
        if side == "text":
            head = self.network.lm_head
            words: Tensor = head(hidden[..., 0, :].to(head.weight))
            return words.float()
        rows: Tensor = core.generation_head(hidden.to(next(core.generation_head.parameters()))).float()
        conditional = rows[..., 0, :]
        if self.rows == 1:
            return self._tilt(conditional)
        unconditional = rows[..., 1, :]
        return self._tilt(unconditional + self.guidance * (conditional - unconditional))

    def own_judge(self) -> Verifier:
        """A verifier that asks the model itself whether a picture shows its prompt (VQAScore)."""
        return VQAScore(self.network, self.pipeline.processor, name="self", question=self.question)

    def fingerprint(self) -> dict[str, Any]:
        """What the bits of a sample depend on; hashes the weights at the first call."""
        names = ("name", "text_length", "padded", "guidance", "greedy", "temperature", "num_steps", "batch_size")
        own = {name: getattr(self, name) for name in names} | self.templates
        device = self.network.device
        return {
            **own,
            "adapter": "native",
            "device": str(device),
            "dtype": str(self.network.dtype),
            "threads": torch.get_num_threads(),
            "attention": self.network.config._attn_implementation,
            "versions": versions(),
            "isa": instruction_set(),
            "backends": backends(),
            "components": {"model": self._hash},
        }

    @cached_property
    def _hash(self) -> str:
        return module_hash(self.network)

    def _context(self, prompt: str, plan: str | None) -> Context:
        if plan is None:
            return (self._ids(filled(self.templates["ask"], prompt=prompt)),)
        text = filled(self.templates["draw" if plan else "draw_bare"], prompt=prompt, plan=plan)
        ids = (*self._ids(text), self.begin_image)
        bos, pad = self.tokenizer.bos_token_id, self.tokenizer.pad_token_id
        hidden = tuple(i if i in (bos, self.begin_image) else pad for i in ids)
        return (ids, hidden)[: self.rows]

    def _decode(self, tokens: Tensor) -> Media:
        pixels: Tensor = self.network.decode_image_tokens(tokens.to(self.network.device))
        return (pixels.float() / 2 + 0.5).clamp(0, 1).permute(0, 3, 1, 2).contiguous()
