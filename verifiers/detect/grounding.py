"""Grounding DINO: boxes for any class names, read from the words of a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from verifiers.card import Card
from verifiers.detect.boxes import OpenVocabulary, by_class
from verifiers.detect.classes import GENEVAL_CLASSES
from verifiers.detect.geneval import Detection, Image, Rules
from verifiers.types import Device

CARD = Card(
    checkpoint="IDEA-Research/grounding-dino-tiny",
    licence="Apache-2.0",
    input="pictures",
    range="share of clauses, 0 to 1; 0 or 1 by geneval",
    size="172M parameters",
    price="1 pass",
)
RULES = Rules(threshold=0.35, counting_threshold=0.35)  # of the model's own examples; GenEval's are for Mask2Former


class GroundingDetector(OpenVocabulary):
    """Detects any classes by name, without masks. Grounding DINO, Liu et al. 2023, arXiv:2303.05499.

    The text is "one class. another class."; the score of a query in a class is the highest over the words of its name.

    Args:
        model: a `GroundingDinoForObjectDetection` of transformers; it is frozen and set to eval mode.
        processor: its processor.
        classes: names to look for.

    Raises:
        ValueError: for a name with a full stop or question mark, and for more names than the text may hold.
    """

    rules = RULES

    def __init__(self, model: nn.Module, processor: Any, classes: Sequence[str] = GENEVAL_CLASSES) -> None:
        self.model: Any = model.eval().requires_grad_(False)
        self.processor = processor
        self._look_for(classes)

    @classmethod
    def load(cls, source: str = CARD.checkpoint, *, device: Device = "cpu", **options: Any) -> GroundingDetector:
        """Load model and processor from safetensors; no remote code is run.

        Args:
            source: a local folder, or a name on the Hugging Face hub.
            device: where the model runs.
            **options: parameters of the class.
        """
        from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

        model = AutoModelForZeroShotObjectDetection.from_pretrained(
            source, use_safetensors=True, trust_remote_code=False
        )
        return cls(model.to(device), AutoProcessor.from_pretrained(source, trust_remote_code=False), **options)

    def _look_for(self, classes: Sequence[str]) -> None:
        if wrong := [name for name in classes if not name.strip() or set(name) & set(".?")]:
            raise ValueError(f"{wrong[0]!r} is no class name: it is empty, or holds a full stop or question mark")
        self.classes = tuple(classes)
        self.text = " ".join(f"{name.lower().strip()}." for name in classes)
        tokens = self.processor.tokenizer(self.text)["input_ids"]
        stop = self.processor.tokenizer.convert_tokens_to_ids(".")
        room = self.model.config.max_text_len
        if len(tokens) > room:
            raise ValueError(f"{len(classes)} classes take {len(tokens)} tokens, of at most {room}; look for fewer")
        ends = [place for place, token in enumerate(tokens) if token == stop]
        self.spans = list(zip([1, *(end + 1 for end in ends[:-1])], ends, strict=True))  # a start token comes first

    @torch.no_grad()
    def detect(self, image: Image) -> dict[str, list[Detection]]:
        """Return class name -> detections, unfiltered and in any order.

        Args:
            image: uint8 [h, w, 3], RGB.
        """
        inputs = self.processor(images=image, text=self.text, return_tensors="pt", input_data_format="channels_last")
        out = self.model(**inputs.to(self.model.device))
        height, width = image.shape[:2]
        boxes = out.pred_boxes[0].cpu() * torch.tensor([width, height] * 2)
        return by_class(class_scores(out.logits[0].cpu().double(), self.spans), boxes, self.classes, height, width)


def class_scores(logits: Tensor, spans: Sequence[tuple[int, int]]) -> Tensor:
    """Return the score of each query in each class [queries, classes]: the highest over the tokens of its name.

    Args:
        logits: of each query at each token of the text [queries, tokens].
        spans: first token of each class, and the one after its last.
    """
    return torch.stack([logits[:, first:end].sigmoid().amax(1) for first, end in spans], 1)
