"""Verifiers by vision-language models by name, each built when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from verifiers.calls import quoted
from verifiers.entry import Entry, loaded_by

if TYPE_CHECKING:
    from verifiers.types import Device, Verifier


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

    return Decomposed(VQAScore.load(source, device=device, among="all"), name=f"questions:{quoted(source)}")


def critic(source: str, device: Device = "cpu") -> Verifier:
    """Build a critic, a vision-language model behind an HTTP server.

    Args:
        source: the path of a YAML file: url, model, and rubric or questions.
        device: ignored; scores are on the device of the pictures.

    Raises:
        ValueError: for a file that cannot be read, and for a field that is unfit.
    """
    from verifiers.vlm.critic_file import load

    return load(source)


def own() -> NoReturn:
    """Refuse the name "self" without a generator; a pipeline resolves it to a score of its own model.

    Raises:
        ValueError: always.
    """
    raise ValueError(
        "'self' is the score of a generator that also answers questions, such as a Janus; take another verifier"
    )


vqa = loaded_by("verifiers.vlm.vqa", "VQAScore")
vqascore = loaded_by("verifiers.vlm.vqa", "VQAScore", among="all")
hpsv3 = loaded_by("verifiers.vlm.hpsv3", "HPSv3")
unifiedreward = loaded_by("verifiers.vlm.unifiedreward", "UnifiedReward")
rationalrewards = loaded_by("verifiers.vlm.rationalrewards", "RationalRewards")

VERIFIERS: dict[str, Entry] = {
    "vqa:deepseek-community/Janus-Pro-1B": Entry(
        partial(vqa, "deepseek-community/Janus-Pro-1B"),
        "P(yes) against P(no) of any image-text-to-text model or local folder",
        True,
        "verifiers.vlm.vqa:JANUS",
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
        "verifiers.vlm.vqa:QUESTIONS",
    ),
    "hpsv3": Entry(partial(hpsv3, "MizzenAI/HPSv3"), "human preference, mean", True, "verifiers.vlm.hpsv3"),
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
    "critic:configs/critics/quality.yaml": Entry(
        partial(critic, "configs/critics/quality.yaml"),
        "rubric or questions to a model behind an HTTP server; any YAML file",
        True,
        "verifiers.vlm.critic",
    ),
    "self": Entry(
        own, "VQAScore by the generator itself, if it also answers questions", module="verifiers.vlm.vqa:SELF"
    ),
}

SOURCES: dict[str, Callable[[str, Device], Verifier]] = {  # by kind:source
    "critic": critic,
    "hpsv3": hpsv3,
    "questions": questions,
    "rationalrewards": rationalrewards,
    "unifiedreward": unifiedreward,
    "vqa": vqa,
    "vqascore": vqascore,
}
