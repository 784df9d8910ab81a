"""Mask2Former as GenEval runs it: its own pre- and post-processing around transformers' model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from verifiers.card import Card
from verifiers.detect.classes import GENEVAL_CLASSES, RENAMED
from verifiers.detect.geneval import GENEVAL, Box, Detection, Image
from verifiers.types import Device

CARD = Card(
    checkpoint="facebook/mask2former-swin-small-coco-instance",
    licence="CC-BY-NC-4.0",
    input="pictures",
    range="share of clauses, 0 to 1; 0 or 1 by geneval",
    size="69M parameters",
    price="1 pass",
    commercial=False,
)
SHORT, LONG, MULTIPLE = 800, 1333, 32
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TOP = 100  # pairs of query and class that are kept


class Sizes(NamedTuple):
    """Heights and widths on the way of a picture through the network.

    Attributes:
        original: of the picture.
        resized: at its aspect ratio.
        padded: at the right and bottom, to multiples of 32.
    """

    original: tuple[int, int]
    resized: tuple[int, int]
    padded: tuple[int, int]


class Mask2FormerDetector:
    """Detects and segments GenEval's 80 classes. Mask2Former, Cheng et al. 2021, arXiv:2112.01527.

    Classes go by index: checkpoints spell three names of COCO otherwise than GenEval does. transformers' own processor
    would squash pictures to 384x384 and ignore padding, so it is not used.

    Args:
        model: a `Mask2FormerForUniversalSegmentation` of transformers, trained on COCO instances; it is frozen and set
            to eval mode.
        classes: their names, in the order of the model.
        short: shorter side of a resized picture in pixels, at most.
        long: longer side of it in pixels, at most.

    Raises:
        ValueError: for a model with another number of classes, or with one of them in another place.
    """

    rules = GENEVAL

    def __init__(
        self, model: nn.Module, classes: Sequence[str] = GENEVAL_CLASSES, *, short: int = SHORT, long: int = LONG
    ) -> None:
        self.model: Any = model.eval().requires_grad_(False)
        self.classes = tuple(classes)
        self.short, self.long = short, long
        if (known := cast(Any, model).config.num_labels) != len(classes):
            raise ValueError(
                f"this Mask2Former has {known} classes and {len(classes)} names were given; "
                f"take one that was trained on COCO instances, such as {CARD.checkpoint}"
            )
        require_order(cast(Any, model).config.id2label, self.classes)

    @classmethod
    def load(cls, source: str = CARD.checkpoint, *, device: Device = "cpu", **options: Any) -> Mask2FormerDetector:
        """Load a model from safetensors; no remote code is run.

        Args:
            source: a local folder, or a name on the Hugging Face hub.
            device: where the model runs.
            **options: parameters of the class.

        Raises:
            ValueError: as the class.
        """
        from transformers import Mask2FormerForUniversalSegmentation

        model = Mask2FormerForUniversalSegmentation.from_pretrained(
            source, use_safetensors=True, trust_remote_code=False
        )
        return cls(model.to(device), **options)

    @torch.no_grad()
    def detect(self, image: Image) -> dict[str, list[Detection]]:
        """Return class name -> detections, unfiltered and in any order.

        Args:
            image: uint8 [h, w, 3], RGB.
        """
        height, width = image.shape[:2]
        sizes = sizes_of(height, width, self.short, self.long)
        out = self.model(pixel_values=prepared(image, sizes).to(self.model.device))
        found: dict[str, list[Detection]] = {name: [] for name in self.classes}
        classes, masks = out.class_queries_logits[0], out.masks_queries_logits[0]
        for index, detection in instances(classes.float(), masks.float(), sizes):
            found[self.classes[index]].append(detection)
        return found


def require_order(labels: Mapping[int, str], classes: Sequence[str]) -> None:
    """Check that a model has each class that it names in the place that it has here; other spellings are passed over.

    Args:
        labels: index -> the name of a class by the model.
        classes: their names here.

    Raises:
        ValueError: for the first class in another place.
    """
    places = {name: index for index, name in enumerate(classes)}
    for index, label in sorted(labels.items()):
        place = places.get(RENAMED.get(label, label), index)
        if place != index:
            raise ValueError(
                f"this Mask2Former has {label!r} as class {index} where COCO has it as {place}; take a model whose "
                "classes are COCO's 80 in their order"
            )


def sizes_of(height: int, width: int, short: int = SHORT, long: int = LONG) -> Sizes:
    """Return the sizes of a picture before and after resizing and padding.

    Args:
        height: of the picture in pixels.
        width: of the picture in pixels.
        short: shorter side of a resized picture, at most.
        long: longer side of it, at most.
    """
    factor = min(long / max(height, width), short / min(height, width))
    resized = (max(int(height * factor + 0.5), 1), max(int(width * factor + 0.5), 1))
    padded = (-(-resized[0] // MULTIPLE) * MULTIPLE, -(-resized[1] // MULTIPLE) * MULTIPLE)
    return Sizes((height, width), resized, padded)


def prepared(image: Image, sizes: Sizes) -> Tensor:
    """Return the input of the network [1, 3, h, w]: resized to 8 bits, normalised, and padded by zeros.

    Args:
        image: uint8 [h, w, 3], RGB.
        sizes: of this picture.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
    x = interpolate(pixels, sizes.resized, mode="bilinear", align_corners=False).round().clamp(0, 255) / 255
    mean, std = (torch.tensor(v)[:, None, None] for v in (MEAN, STD))
    bottom, right = (whole - part for whole, part in zip(sizes.padded, sizes.resized, strict=True))
    return pad((x - mean) / std, (0, right, 0, bottom))


def instances(classes: Tensor, masks: Tensor, sizes: Sizes, top: int = TOP) -> list[tuple[int, Detection]]:
    """Return class index and detection of the likeliest pairs of query and class; a query may appear under several.

    Args:
        classes: logits of each query [queries, classes + 1], the last for "no object".
        masks: logits of each query [queries, h, w], at any resolution of the padded picture.
        sizes: of the picture.
        top: pairs to keep, at least 1.
    """
    chance = classes.softmax(1)[:, :-1]
    best, place = chance.flatten().topk(min(top, chance.numel()))
    found: list[tuple[int, Detection]] = []
    drawn: dict[int, tuple[np.ndarray, float, Box]] = {}
    for score, pair in zip(best.double().tolist(), place.tolist(), strict=True):
        query, index = divmod(pair, chance.shape[1])
        if query not in drawn:
            drawn[query] = drawing(masks[query], sizes)
        mask, certainty, box = drawn[query]
        found.append((index, Detection(box, score * certainty, mask)))
    return found


def drawing(logits: Tensor, sizes: Sizes) -> tuple[np.ndarray, float, Box]:
    """Return the mask of a query [h, w], the mean probability inside it, and its tight box; zeros for an empty mask.

    Args:
        logits: of the mask [h, w], at any resolution of the padded picture.
        sizes: of the picture.
    """
    resize = partial(interpolate, mode="bilinear", align_corners=False)
    whole = resize(logits[None, None], sizes.padded)
    inner = resize(whole[..., : sizes.resized[0], : sizes.resized[1]], sizes.original)[0, 0]
    inside = inner > 0
    certainty = (inner.sigmoid() * inside).double().sum() / (inside.sum() + 1e-6)
    mask = inside.cpu().numpy()
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(rows):
        return mask, 0.0, (0.0, 0.0, 0.0, 0.0)
    box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    return mask, float(certainty), box
