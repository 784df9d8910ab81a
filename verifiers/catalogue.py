"""Verifiers by name, each built when it is asked for; other packages add theirs to `VERIFIERS`."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from verifiers.names import parse, read_call, split_length, split_sum, weigh, weighed
from verifiers.video import builders as video

if TYPE_CHECKING:
    from verifiers.types import Device, Verifier


class Entry(NamedTuple):
    """How a named verifier is built, and what it is.

    Attributes:
        build: returns the verifier; called with the device if `network` is true, else without arguments.
        about: what it is, in a few words.
        network: whether it has a network that runs on a device.
        module: where its `CARD` is, such as "verifiers.embedding.pickscore"; imported only to show it.
    """

    build: Callable[..., Verifier]
    about: str
    network: bool = False
    module: str = ""


# --- builders


def open_clip(source: str, device: Device = "cpu") -> Verifier:
    """Build a CLIP score on any open_clip model.

    Args:
        source: "ARCHITECTURE@TAG", or the path of a local folder.
        device: where the model runs.

    Raises:
        ValueError: as `CLIPScore.load`.
    """
    from verifiers.embedding.clip import CLIPScore

    model, tag = (source, "") if os.path.isdir(source) else source.partition("@")[::2]
    return CLIPScore.load(model, tag or None, name=f"clip:{source}", device=device)


def loaded(module: str, name: str, source: str, device: Device = "cpu", **options: Any) -> Verifier:
    """Build a verifier by the `load` of its class.

    Args:
        module: where the class is.
        name: of the class.
        source: a name on the Hugging Face hub, a local folder, or what else its `load` takes.
        device: where its network runs.
        **options: of its `load`.

    Raises:
        ValueError: as its `load`.
    """
    built: Verifier = getattr(import_module(module), name).load(source, device=device, **options)
    return built


def questions(source: str, device: Device = "cpu") -> Verifier:
    """Build Soft-TIFA on any image-text-to-text model: P(yes) to each question of a prompt, multiplied.

    Args:
        source: as for `VQAScore.load`.
        device: where the model runs.

    Raises:
        ValueError: as `VQAScore.load`.
    """
    from verifiers.vlm.decompose import Decomposed
    from verifiers.vlm.vqa import VQAScore

    return Decomposed(VQAScore.load(source, device=device, among="all"), name=f"questions:{source}")


def frames(source: str, device: Device = "cpu") -> Verifier:
    """Build a picture verifier that scores clips by the mean over frames.

    Args:
        source: the name of a single picture verifier.
        device: where its network runs.

    Raises:
        ValueError: for a name that does not exist.
    """
    from verifiers.video.per_frame import PerFrame

    weigh(source, VERIFIERS)
    return PerFrame(single(source, device))


def grid(source: str, device: Device = "cpu") -> Verifier:
    """Build a picture verifier that scores clips by four of their frames in one picture.

    Args:
        source: "NAME" of a single picture verifier, or "NAME@FRAMES" with the number of frames of a whole clip.
        device: where its network runs.

    Raises:
        ValueError: for a name that does not exist, and for less than four frames.
    """
    from verifiers.video.grid import Grid

    name, length = split_length(source)
    weigh(name, VERIFIERS)
    return Grid(single(name, device), length)


def staged(source: str, device: Device = "cpu") -> Verifier:
    """Build a picture verifier, or a model that answers questions, that scores other frames at each stage of a clip.

    Args:
        source: the name of a single picture verifier.
        device: where its network runs.

    Raises:
        ValueError: for a name that does not exist.
    """
    from verifiers.video.staged import staged as by_stage

    weigh(source, VERIFIERS)
    return by_stage(single(source, device), name=f"staged:{source}")


def own() -> NoReturn:
    """Refuse the name "self" without a generator; a pipeline resolves it to a score of its own model.

    Raises:
        ValueError: always.
    """
    raise ValueError(
        "'self' is the score of a generator that also answers questions, such as a Janus; take another verifier"
    )


def redness() -> Verifier:
    """Build the redness of a picture."""
    from verifiers.controls.redness import Redness

    return Redness()


def random_score() -> Verifier:
    """Build the negative control."""
    from verifiers.controls.random import RandomScore

    return RandomScore()


vqa = partial(loaded, "verifiers.vlm.vqa", "VQAScore")
vqascore = partial(vqa, among="all")
hpsv3 = partial(loaded, "verifiers.vlm.hpsv3", "HPSv3")
unifiedreward = partial(loaded, "verifiers.vlm.unifiedreward", "UnifiedReward")
rationalrewards = partial(loaded, "verifiers.vlm.rationalrewards", "RationalRewards")
detection = partial(loaded, "verifiers.detect.detection", "DetectionScore")
geneval = partial(detection, graded=False)

VERIFIERS: dict[str, Entry] = {
    "clip:ViT-B-32@laion2b_s34b_b79k": Entry(
        partial(open_clip, "ViT-B-32@laion2b_s34b_b79k"),
        "CLIP score; any open_clip ARCHITECTURE@TAG or local folder",
        True,
    ),
    "vqa:deepseek-community/Janus-Pro-1B": Entry(
        partial(vqa, "deepseek-community/Janus-Pro-1B"),
        "P(yes) against P(no) of any image-text-to-text model or local folder",
        True,
        "verifiers.vlm.vqa",
    ),
    "vqascore:Qwen/Qwen3-VL-8B-Instruct": Entry(
        partial(vqascore, "Qwen/Qwen3-VL-8B-Instruct"),
        "VQAScore, P(yes) among all words; any image-text-to-text model or local folder",
        True,
        "verifiers.vlm.vqa",
    ),
    "questions:Qwen/Qwen3-VL-8B-Instruct": Entry(
        partial(questions, "Qwen/Qwen3-VL-8B-Instruct"),
        "Soft-TIFA, log P(yes) to all questions of a prompt; any image-text-to-text model or local folder",
        True,
        "verifiers.vlm.vqa",
    ),
    "hpsv3": Entry(
        partial(hpsv3, "MizzenAI/HPSv3"), "human preference, mean; differentiable", True, "verifiers.vlm.hpsv3"
    ),
    **{
        f"unifiedreward-{size}": Entry(
            partial(unifiedreward, f"CodeGoat24/UnifiedReward-2.0-qwen3vl-{size}"),
            "UnifiedReward 2, mean of alignment, coherence and style",
            True,
            "verifiers.vlm.unifiedreward",
        )
        for size in ("2b", "4b", "8b", "32b")
    },
    "rationalrewards": Entry(
        partial(rationalrewards, "TIGER-Lab/RationalRewards-8B-T2I"),
        "written critique, mean over aspects; also compares two pictures",
        True,
        "verifiers.vlm.rationalrewards",
    ),
    **{
        f"{kind}:{detector}": Entry(
            partial(build, detector), f"GenEval's rules over {detector}; {about}", True, f"verifiers.detect.{detector}"
        )
        for kind, build, about in (("detection", detection, "share of clauses"), ("geneval", geneval, "pass or fail"))
        for detector in ("grounding", "mask2former", "owlv2")
    },
    "frames:shapes/clip": Entry(
        partial(frames, "shapes/clip"),
        "a picture verifier on clips, the mean over frames; any frames:NAME",
        True,
        "verifiers.video.per_frame",
    ),
    "grid:shapes/clip": Entry(
        partial(grid, "shapes/clip"),
        "a picture verifier on four frames of a clip in one picture; any grid:NAME or grid:NAME@FRAMES",
        True,
        "verifiers.video.grid",
    ),
    "staged:shapes/clip": Entry(
        partial(staged, "shapes/clip"),
        "a picture verifier on the first, the newest or three frames, by the stage of a clip; any staged:NAME",
        True,
        "verifiers.video.staged",
    ),
    "videoscore": Entry(
        partial(video.videoscore, "TIGER-Lab/VideoScore2"),
        "VideoScore2, a language model that writes three scores of a clip; any videoscore:NAME or local folder",
        True,
        "verifiers.video.videoscore",
    ),
    "videoreward": Entry(
        partial(video.videoreward, "KwaiVGI/VideoReward"),
        "VideoReward, quality, motion and alignment of a clip; videoreward:FOLDER of a converted checkpoint",
        True,
        "verifiers.video.videoreward",
    ),
    "vjepa": Entry(
        partial(video.vjepa, "facebook/vjepa2-vitl-fpc64-256"),
        "V-JEPA 2, how predictable the later frames of a clip are; any vjepa:NAME or local folder; differentiable",
        True,
        "verifiers.video.vjepa",
    ),
    "subject_consistency": Entry(
        partial(video.subject_consistency, "facebook/dinov2-base"),
        "likeness of the frames of a clip to DINOv2, as in VBench; differentiable",
        True,
        "verifiers.video.consistency",
    ),
    "background_consistency": Entry(
        partial(video.background_consistency, "ViT-B-32@laion2b_s34b_b79k"),
        "likeness of the frames of a clip to CLIP, as in VBench; differentiable",
        True,
        "verifiers.video.consistency",
    ),
    "motion": Entry(
        video.motion,
        "amount of motion in a clip, to report beside any clip verifier; differentiable",
        module="verifiers.video.motion",
    ),
    "flicker": Entry(
        video.flicker,
        "how little a clip changes from frame to frame, as in VBench; differentiable",
        module="verifiers.video.flicker",
    ),
    "smoothness": Entry(
        video.smoothness,
        "how well every second frame of a clip is the mean of its neighbours; differentiable",
        module="verifiers.video.smoothness",
    ),
    "self": Entry(own, "VQAScore by the generator itself, if it also answers questions"),
    "redness": Entry(redness, "mean redness of the picture; differentiable, to try a training run with"),
    "random": Entry(random_score, "negative control: random scores, which no search can gain by"),
}

SOURCES: dict[str, Callable[[str, Device], Verifier]] = {  # verifiers by kind:source
    "background_consistency": video.background_consistency,
    "clip": open_clip,
    "detection": detection,
    "frames": frames,
    "geneval": geneval,
    "hpsv3": hpsv3,
    "questions": questions,
    "rationalrewards": rationalrewards,
    "unifiedreward": unifiedreward,
    "grid": grid,
    "staged": staged,
    "subject_consistency": video.subject_consistency,
    "videoreward": video.videoreward,
    "videoscore": video.videoscore,
    "vjepa": video.vjepa,
    "vqa": vqa,
    "vqascore": vqascore,
}


# --- by name


def single(name: str, device: Device = "cpu") -> Verifier:
    """Build one verifier.

    Args:
        name: a registered name, or kind:source such as "clip:SOURCE" or "vqa:SOURCE".
        device: where its network runs.

    Raises:
        KeyError: for a name that is not registered.
        ValueError: as its builder.
    """
    kind, colon, source = name.partition(":")
    if colon and kind in SOURCES:
        return SOURCES[kind](source, device)
    entry = VERIFIERS[name]
    return entry.build(device) if entry.network else entry.build()


def verifier(name: str, *, device: Device = "cpu", loaded: dict[str, Verifier] | None = None) -> Verifier:
    """Build a verifier by name; networks run in float32.

    Args:
        name: a single name, a weighted sum such as "shapes/clip+0.5*random", or a function such as "rank(a,b)".
        device: where networks run.
        loaded: single verifiers by name, which are reused; new ones are added.

    Raises:
        ValueError: with the nearest name, if there is none of this name.
    """
    parse(name, VERIFIERS)
    return built(name, device, {} if loaded is None else loaded)


def built(name: str, device: Device, loaded: dict[str, Verifier]) -> Verifier:
    """Build a verifier by a name that was checked.

    Args:
        name: as for `verifier`.
        device: where networks run.
        loaded: single verifiers by name, which are reused; new ones are added.
    """
    terms = []
    for item, weight in map(weighed, split_sum(name)):
        if call := read_call(item):
            from verifiers.forms import build

            terms.append((build(call, item, partial(built, device=device, loaded=loaded)), weight))
        else:
            if item not in loaded:
                loaded[item] = single(item, device)
            terms.append((loaded[item], weight))
    if len(terms) == 1 and terms[0][1] == 1:
        return terms[0][0]
    from verifiers.combine import Term, WeightedSum

    return WeightedSum(*(Term(found, weight) for found, weight in terms), name=name)
