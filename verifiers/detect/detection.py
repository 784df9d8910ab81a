"""Whether a picture shows the objects, numbers, colours and places of its prompt, by GenEval's rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import torch

from verifiers.batches import require_pictures
from verifiers.detect.colors import ClipColors
from verifiers.detect.examine import Examined, examine
from verifiers.detect.geneval import ColorClassifier, Image, Line, Rules
from verifiers.detect.grammar import line
from verifiers.names import nearest
from verifiers.types import Device, Media, Scores

DETECTORS = {  # name -> module, class
    "grounding": ("verifiers.detect.grounding", "GroundingDetector"),
    "mask2former": ("verifiers.detect.mask2former", "Mask2FormerDetector"),
    "owlv2": ("verifiers.detect.owlv2", "Owlv2Detector"),
}


class DetectionScore:
    """The share of the clauses of a prompt that a picture fulfils, or 1 if it fulfils all of them and otherwise 0.

    GenEval, Ghosh et al. 2023, arXiv:2310.11513. A clause is one object with its count, colour and place, or "no more
    than so many". `Scores.parts` holds `correct`, `share`, and each clause, NaN where it is not of the prompt. Pictures
    are detected one by one. A picture with a non-finite pixel scores NaN. Not differentiable.

    Args:
        detector: finds the objects: a `Detector` with `classes`, `rules` and `model`, and with `looking_for` if it
            detects any classes.
        classify: names colours; None to refuse prompts with a colour.
        graded: whether the total is the share of clauses, and not pass or fail.
        rules: thresholds; None for those of the detector.
        lines: prompt -> its metadata line; the lines of other prompts are read from their words.
        name: the verifier's name in logs and reports.
    """

    differentiable = False
    batch_size = 1

    def __init__(
        self,
        detector: Any,
        *,
        classify: ColorClassifier | None = None,
        graded: bool = True,
        rules: Rules | None = None,
        lines: Mapping[str, Line] | None = None,
        name: str = "detection",
    ) -> None:
        self.detector, self.classify, self.graded = detector, classify, graded
        self.rules: Rules = rules or detector.rules
        self.lines = lines or {}
        self.name = name
        self.model = detector.model
        self.judges = tuple(filter(None, [getattr(classify, "clip", None)]))  # the network that names colours

    @classmethod
    def load(cls, source: str, *, device: Device = "cpu", graded: bool = True, **options: Any) -> DetectionScore:
        """Load a detector by name, and OpenAI's CLIP for colours.

        Args:
            source: "grounding", "mask2former" or "owlv2", or one of them as "DETECTOR@WEIGHTS", where WEIGHTS is a name
                on the Hugging Face hub or a local folder.
            device: where the networks run.
            graded: as for the class.
            **options: other parameters of the class.

        Raises:
            ValueError: for another detector, and as its `load`.
        """
        kind, _, weights = source.partition("@")
        if kind not in DETECTORS:
            raise ValueError(f"no detector is called {kind!r}{nearest(kind, DETECTORS)}")
        module, name = DETECTORS[kind]
        detector = getattr(import_module(module), name).load(*filter(None, [weights]), device=device)
        if "classify" not in options:
            options["classify"] = ClipColors.load(device)
        kind = "detection" if graded else "geneval"
        return cls(detector, graded=graded, **{"name": f"{kind}:{source}", **options})

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score pictures.

        Args:
            media: pictures [b, 3, h, w] in [0, 1].
            prompts: b prompts of `lines`, or in GenEval's grammar, such as "a photo of a blue cup left of a dog".
            progress: ignored.

        Raises:
            ValueError: for clips, for another number of prompts, for a prompt of another form, for a class that the
                detector does not know, and for a colour without a `classify`.
        """
        require_pictures(self.name, media, prompts)
        lines = [self.checked(self.lines.get(prompt) or line(prompt)) for prompt in prompts]
        named = [clause_names(asked) for asked in lines]
        keys = dict.fromkeys(["correct", "share", *(name for names in named for name in names)])
        parts = {key: torch.full((len(media),), torch.nan) for key in keys}
        for i, (picture, asked) in enumerate(zip(media.detach().cpu().float(), lines, strict=True)):
            if not picture.isfinite().all():
                continue
            holds = [problem is None for problem in self.examine(pixels(picture), asked).problems]
            parts["correct"][i] = float(all(holds))
            parts["share"][i] = sum(holds) / len(holds)
            for name, true in zip(named[i], holds, strict=True):
                parts[name][i] = float(true)
        parts = {key: value.to(media.device) for key, value in parts.items()}
        return Scores(parts["share" if self.graded else "correct"].clone(), parts)

    def examine(self, image: Image, asked: Line) -> Examined:
        """Return what one picture shows of a metadata line.

        Args:
            image: uint8 [h, w, 3], RGB.
            asked: a metadata line, as `checked` returns it.
        """
        return examine(image, asked, self.detector, self.classify or no_color, self.rules)

    def checked(self, asked: Line) -> Line:
        """Return a metadata line that this verifier can check.

        Args:
            asked: a metadata line.

        Raises:
            ValueError: for an unknown class, and for a colour without a `classify`.
        """
        for clause in asked["include"]:
            name = clause["class"]
            if not hasattr(self.detector, "looking_for") and name not in self.detector.classes:
                raise ValueError(
                    f"the detector of {self.name} does not know {name!r} (prompt {asked['prompt']!r}); take one that "
                    "detects any class, such as detection:grounding"
                )
            if "color" in clause and self.classify is None:
                raise ValueError(f"{self.name} names no colours (prompt {asked['prompt']!r}); give it a `classify`")
        return asked


def no_color(image: Image, name: str, detections: Sequence[Any]) -> list[str | None]:
    """Name no colour; prompts with a colour are refused before.

    Args:
        image: ignored.
        name: ignored.
        detections: objects of one class.
    """
    return [None] * len(detections)


def clause_names(asked: Line) -> list[str]:
    """Return the clauses of a metadata line in words, those of `include` first.

    Args:
        asked: a metadata line.
    """
    names = []
    for clause in asked["include"]:
        words = [str(clause["count"]), clause.get("color", ""), clause["class"]]
        if "position" in clause:
            relation, target = clause["position"]
            words += [relation, asked["include"][target]["class"]]
        names.append(" ".join(filter(None, words)))
    return names + [f"fewer than {clause['count']} {clause['class']}" for clause in asked.get("exclude", ())]


def pixels(picture: Media) -> Image:
    """Return one picture as uint8 [h, w, 3].

    Args:
        picture: [3, h, w] in [0, 1].
    """
    return (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
