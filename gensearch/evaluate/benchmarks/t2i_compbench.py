"""T2I-CompBench: eight categories of compositional prompts, with its own files of 300 prompts each.

Huang et al. 2023, arXiv:2307.06350, and its extension T2I-CompBench++. The judges are BLIP-VQA, rules over boxes and
depth, and CLIPScore. UniDet is replaced by an open-vocabulary detector, so that the categories with boxes are named
"spatial-OV", "3d_spatial-OV", "numeracy-OV" and "complex-OV" in the summary. docs/published_benchmarks.md lists every
difference.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gensearch.evaluate.bench import Benchmark
from gensearch.evaluate.benchmarks.t2i_compbench_prompts import CATEGORIES, PER_PROMPT, kind_of, lines, plurals, table
from verifiers.batches import require_pictures
from verifiers.detect.compbench import DEPTHS, blend, counts, in_depth, numeracy, pair, position, relation, scale
from verifiers.detect.compbench import without_duplicates as distinct
from verifiers.detect.detection import DETECTORS, pixels
from verifiers.detect.geneval import Detection, keep
from verifiers.types import Device, Media, Scores
from verifiers.vlm.noun_chunks import ATTRIBUTES, noun_chunks

PIECES = {  # category, and for complex prompts what they are about -> scores whose mean is that of the picture
    "color": ("attribute",),
    "shape": ("attribute",),
    "texture": ("attribute",),
    "spatial": ("place",),
    "3d_spatial": ("depth",),
    "numeracy": ("number",),
    "non_spatial": ("alignment",),
    "complex_spatial": ("attribute", "place"),
    "complex_action": ("attribute", "alignment"),
    "complex_spatialaction": ("attribute", "place", "alignment"),
}
WITH_BOXES = ("spatial", "3d_spatial", "numeracy", "complex")
UNASKED = frozenset({"top", "the side", "the left", "the right"})  # noun chunks that are no objects
MOST = 8  # questions about one picture
DETECTOR = "owlv2"
SIDE = 480  # pixels of the depth map
CLIP = ("ViT-B-32-quickgelu", "openai")


class CompBench:
    """The score of a picture by the rules of the category of its prompt, in [0, 1]; CLIPScore is a raw cosine.

    Networks are loaded when a prompt needs them. `Scores.parts` holds `attribute`, `place`, `depth`, `number` and
    `alignment`, NaN where they are not of the prompt. Prompts must be those of the benchmark.

    Args:
        networks: name -> function that loads it: `questions` (answers phrases, as `BlipVQA`), `detector` (an
            open-vocabulary one), `depth` (as `Depth`) and `alignment` (a CLIPScore).
        upstream: reproduce the authors' code where it differs from the paper.
        chunks: prompt -> its noun chunks; None for the table that is shipped.
    """

    name = "t2i_compbench"
    differentiable = False

    def __init__(
        self,
        networks: Mapping[str, Callable[[], Any]],
        *,
        upstream: bool = True,
        chunks: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.upstream, self.chunks = upstream, table() if chunks is None else chunks
        self.network = cache(lambda name: networks[name]())
        self.pieces: dict[str, Callable[[Media, Sequence[str]], list[float]]] = {
            "attribute": self.attribute,
            "place": partial(self.each, self.place),
            "depth": partial(self.each, self.depth),
            "number": partial(self.each, self.number),
            "alignment": self.alignment,
        }

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score pictures, on their device.

        Args:
            media: pictures [b, 3, h, w] in [0, 1]; one that is not finite is unscored.
            prompts: b prompts of the benchmark.
            progress: ignored.

        Raises:
            ValueError: for clips, for another number of prompts, and for prompts that are not of the benchmark.
        """
        require_pictures(self.name, media, prompts)
        asked = [PIECES[kind_of(prompt)] for prompt in prompts]
        finite = media.isfinite().flatten(1).all(1).tolist()
        parts = {}
        for name, score in self.pieces.items():
            rows = [row for row, names in enumerate(asked) if name in names]
            if rows:
                parts[name] = torch.full((len(media),), torch.nan)
                fine = [row for row in rows if finite[row]]
                parts[name][fine] = torch.tensor(score(media[fine], [prompts[row] for row in fine]))
        total = [math.fsum(float(parts[name][row]) for name in names) / len(names) for row, names in enumerate(asked)]
        return Scores(
            torch.tensor(total).to(media.device), {name: part.to(media.device) for name, part in parts.items()}
        )

    def attribute(self, media: Media, prompts: Sequence[str]) -> list[float]:
        """Return the products of P(yes) over the noun chunks of each prompt; 1 for one without any.

        Args:
            media: finite pictures [b, 3, h, w] in [0, 1].
            prompts: b prompts.
        """
        asked = [[c for c in self.chunks.get(p, noun_chunks(p)) if c not in UNASKED][:MOST] for p in prompts]
        logs = self.network("questions").answer(media, asked) if prompts else []
        return [product(row.double().exp().tolist(), self.upstream) for row in logs]

    def alignment(self, media: Media, prompts: Sequence[str]) -> list[float]:
        """Return cosines of picture and prompt; complex prompts are read without their adjectives.

        Args:
            media: finite pictures [b, 3, h, w] in [0, 1].
            prompts: b prompts.
        """
        texts = [plain(p) if kind_of(p).startswith("complex") else p for p in prompts]
        return list(self.network("alignment")(media, texts).total.tolist()) if prompts else []

    def each(self, score: Callable[[Tensor, str], float], media: Media, prompts: Sequence[str]) -> list[float]:
        """Return a score of each picture.

        Args:
            score: of one picture and prompt.
            media: finite pictures [b, 3, h, w] in [0, 1].
            prompts: b prompts.
        """
        return [score(picture.detach().cpu().float(), p) for picture, p in zip(media, prompts, strict=True)]

    def place(self, picture: Tensor, prompt: str) -> float:
        """Return how well two objects stand in a relation of the plane, 0 or from 0.5 to 1.

        Args:
            picture: [3, h, w] in [0, 1].
            prompt: with a relation of `LOCALITIES`.
        """
        asked = relation(prompt)
        first, second = pair(self.find(picture, {asked.first, asked.second}), asked, upstream=self.upstream)
        held = 0.0
        if first and second:
            factor = scale(*picture.shape[-2:])
            a, b = (tuple(factor * edge for edge in one.box) for one in (first, second))
            held = position(asked.words, a, b, upstream=self.upstream)  # type: ignore[arg-type]
        return blend(certainty(first), certainty(second), held)

    def depth(self, picture: Tensor, prompt: str) -> float:
        """Return how well two objects stand in a relation of depth, in [0, 1].

        Args:
            picture: [3, h, w] in [0, 1].
            prompt: with a relation of `DEPTHS`.
        """
        asked = relation(prompt, DEPTHS)
        first, second = pair(self.find(picture, {asked.first, asked.second}), asked, upstream=self.upstream)
        held = 0.0
        if first and second:
            near = self.network("depth")(picture)
            held = in_depth(asked.words, first.box, second.box, near, upstream=self.upstream)
        return blend(certainty(first), certainty(second), held, cut=False)

    def number(self, picture: Tensor, prompt: str) -> float:
        """Return how well the numbers of objects are met, in [0, 1].

        Args:
            picture: [3, h, w] in [0, 1].
            prompt: with numbers of known objects.
        """
        asked = counts(prompt, plurals())
        found = self.find(picture, asked)
        return numeracy({name: len(distinct(found.get(name, ()))) for name in asked}, asked)

    def find(self, picture: Tensor, names: Iterable[str]) -> dict[str, list[Detection]]:
        """Return name -> detections that exceed the threshold of the detector.

        Args:
            picture: [3, h, w] in [0, 1].
            names: of objects.
        """
        detector = self.network("detector").looking_for(sorted(names))
        return keep(detector.detect(pixels(picture)), "counting", detector.rules)


def certainty(found: Detection | None) -> float | None:
    """Return 1 for an object that was found, whose own score an open-vocabulary detector does not calibrate.

    Args:
        found: a detection; None for none.
    """
    return None if found is None else 1.0


def product(chances: Sequence[float], upstream: bool) -> float:
    """Return the product of probabilities; 1 for none.

    Args:
        chances: in [0, 1].
        upstream: round each to four decimals first, as the authors' files hold them.
    """
    return math.prod(round(p, 4) if upstream else p for p in chances)


def plain(prompt: str) -> str:
    """Return a prompt without its adjectives.

    Args:
        prompt: any text.
    """
    words = [word for word in prompt.split() if re.sub(r"\W+$", "", word.lower()) not in ATTRIBUTES]
    return " ".join(words)


def summary(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the mean score of each category over its pictures; categories with replaced detectors end in "-OV".

    Args:
        records: of one method.
    """
    by_tag: dict[str, list[float]] = {}
    for record in records:
        if record["judge"] is not None:
            by_tag.setdefault(record["tag"], []).append(record["judge"])
    named = ((tag, f"{tag}-OV" if tag in WITH_BOXES else tag) for tag in CATEGORIES if tag in by_tag)
    found = {name: math.fsum(by_tag[tag]) / len(by_tag[tag]) for tag, name in named}
    unscored = sum(record["judge"] is None for record in records)
    return found | ({"unscored": float(unscored)} if unscored else {})


def load(
    detector: str = DETECTOR, device: Device = "cpu", upstream: bool = True, chunks: Path | None = None
) -> CompBench:
    """Build the judge; its networks are loaded from the hub when a prompt needs them.

    Args:
        detector: "owlv2" or "grounding", or one of them as "DETECTOR@WEIGHTS".
        device: where networks run.
        upstream: reproduce the authors' code where it differs from the paper.
        chunks: JSON file of prompt -> noun chunks, such as those of spaCy; None for the table that is shipped.

    Raises:
        ValueError: for another detector, and for a table that lacks a prompt.
    """
    from verifiers.detect.depth import Depth
    from verifiers.embedding.clip import CLIPScore
    from verifiers.vlm.blip_vqa import BlipVQA

    networks: dict[str, Callable[[], Any]] = {
        "questions": partial(BlipVQA.load, device=device),
        "detector": partial(open_vocabulary, detector, device),
        "depth": partial(Depth.load, device=device, side=SIDE),
        "alignment": partial(CLIPScore.load, *CLIP, device=device),
    }
    if detector.partition("@")[0] not in ("owlv2", "grounding"):
        raise ValueError(f"the detector {detector!r} does not find any object by name; take owlv2 or grounding")
    return CompBench(networks, upstream=upstream, chunks=table(chunks))


def open_vocabulary(source: str, device: Device) -> Any:
    """Return a detector of any objects.

    Args:
        source: as for `load`.
        device: where it runs.
    """
    kind, _, weights = source.partition("@")
    module, name = DETECTORS[kind]
    return getattr(import_module(module), name).load(*filter(None, [weights]), device=device)


def benchmark(detector: str = DETECTOR, upstream: bool = True, chunks: Path | None = None) -> Benchmark:
    """Return the benchmark.

    Args:
        detector: as for `load`.
        upstream: as for `load`.
        chunks: as for `load`.
    """
    judge = partial(load, detector, upstream=upstream, chunks=chunks)
    name = f"t2i_compbench{'' if upstream else '_fixed'} by blip-vqa, {detector}, dpt-hybrid-midas and CLIP"
    return Benchmark(name, lines, judge, frozenset({CompBench.name}), per_prompt=PER_PROMPT, summary=summary)
