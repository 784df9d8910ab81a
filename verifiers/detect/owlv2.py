"""OWLv2: boxes for any class names, by the similarity of image patches and texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from verifiers.card import Card
from verifiers.detect.boxes import OpenVocabulary, by_class
from verifiers.detect.classes import GENEVAL_CLASSES
from verifiers.detect.geneval import Detection, Image, Rules
from verifiers.types import Device

CARD = Card(
    checkpoint="google/owlv2-base-patch16-ensemble",
    licence="Apache-2.0",
    input="pictures",
    range="share of clauses, 0 to 1; 0 or 1 by geneval",
    size="155M parameters",
    price="1 pass",
)
RULES = Rules(threshold=0.2, counting_threshold=0.2, max_overlap=0.5)  # many patches find the same object
QUERY = "a photo of a {name}"


class Owlv2Detector(OpenVocabulary):
    """Detects any classes by name, without masks. OWLv2, Minderer et al. 2023, arXiv:2306.09683.

    The model reads the picture padded to a square at its right or bottom, and its boxes are shares of that square.

    Args:
        model: an `Owlv2ForObjectDetection` of transformers; it is frozen and set to eval mode.
        processor: its processor.
        classes: names to look for.
        query: the text for each class, with {name}.

    Raises:
        ValueError: for a name that is longer than the text encoder's context.
    """

    rules = RULES

    def __init__(
        self, model: nn.Module, processor: Any, classes: Sequence[str] = GENEVAL_CLASSES, query: str = QUERY
    ) -> None:
        self.model: Any = model.eval().requires_grad_(False)
        self.processor = processor
        self.query = query
        self._look_for(classes)

    @classmethod
    def load(cls, source: str = CARD.checkpoint, *, device: Device = "cpu", **options: Any) -> Owlv2Detector:
        """Load model and processor from safetensors; no remote code is run.

        Args:
            source: a local folder, or a name on the Hugging Face hub.
            device: where the model runs.
            **options: parameters of the class.
        """
        from transformers import AutoProcessor, Owlv2ForObjectDetection

        model = Owlv2ForObjectDetection.from_pretrained(source, use_safetensors=True, trust_remote_code=False)
        return cls(model.to(device), AutoProcessor.from_pretrained(source, trust_remote_code=False), **options)

    def _look_for(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.texts = [self.query.replace("{name}", name) for name in classes]
        room = self.model.config.text_config.max_position_embeddings
        for name, text in zip(classes, self.texts, strict=True):
            if (length := len(self.processor.tokenizer(text)["input_ids"])) > room:
                raise ValueError(f"the text for {name!r} has {length} tokens, of at most {room}; give a shorter name")

    @torch.no_grad()
    def detect(self, image: Image) -> dict[str, list[Detection]]:
        """Return class name -> detections, unfiltered and in any order.

        Args:
            image: uint8 [h, w, 3], RGB.
        """
        inputs = self.processor(images=image, text=[self.texts], return_tensors="pt", input_data_format="channels_last")
        out = self.model(**inputs.to(self.model.device))
        height, width = image.shape[:2]
        boxes = out.pred_boxes[0].cpu() * max(height, width)
        return by_class(out.logits[0].cpu().double().sigmoid(), boxes, self.classes, height, width)
