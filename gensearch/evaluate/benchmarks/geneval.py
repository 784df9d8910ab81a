"""GenEval (Ghosh et al. 2023, arXiv:2310.11513): 553 prompts in six tags, judged by a detector and CLIP's colours."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache, partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from gensearch.core.noise import derive
from gensearch.evaluate.bench import Benchmark
from gensearch.evaluate.benchmarks.canary import require_canary
from gensearch.evaluate.benchmarks.lines import RULES, checksum, first, read, rule_of
from gensearch.evaluate.journal import Record
from gensearch.evaluate.judging import Judge
from gensearch.models.device import usable
from gensearch.models.fingerprint import verifier_hashes
from verifiers.detect.detection import DETECTORS, DetectionScore
from verifiers.detect.lines import checked_line
from verifiers.detect.mask2former import CARD
from verifiers.detect.openmmlab import PUBLISHED
from verifiers.detect.summary import Outcome, summarise
from verifiers.names import nearest

JUDGE = "geneval:mask2former"
PER_PROMPT = 4
SHA256 = "5c48e0813e812e3c373fa5c8ed07a8f0a483be30272b4427b0559c8048e67c13"  # of the shipped prompts


def geneval(
    judge: str = JUDGE, path: Path | None = None, *, canary: bool = True, device: str | None = None
) -> Benchmark:
    """GenEval over a chosen detector; the name says which, if it is not that of the original.

    Args:
        judge: `geneval:DETECTOR` or `geneval:DETECTOR@WEIGHTS`.
        path: Metadata lines; None for the 553 of the original.
        canary: Whether the judge must first give the right answers on pictures that are known.
        device: Where the judge runs; None for the GPU if there is one.

    Raises:
        ValueError: There is no such detector.
    """
    source = source_of(judge)
    same = {source, f"{source}@{CARD.checkpoint}"} if source == "mask2former" else {source}
    other = "" if path is None or original(path) else f"{path.name} (sha256 {checksum(path)[:8]}) by "
    return Benchmark(
        name=other + title(judge),
        lines=partial(lines, path),
        judge=partial(load, source, path, canary, device),
        oracles=frozenset(f"{kind}:{name}" for kind in ("geneval", "detection") for name in same),
        per_prompt=1 if other else PER_PROMPT,
        summary=upstream,
    )


def source_of(judge: str) -> str:
    """Return the detector of a judge, and its weights if they are not the default ones.

    Args:
        judge: Such as `geneval:mask2former@FOLDER`.

    Raises:
        ValueError: It is none by GenEval's rules, or there is no such detector.
    """
    kind, _, source = judge.partition(":")
    if kind not in ("geneval", "detection") or not source:
        raise ValueError(f"the judge {judge!r} does not know GenEval's rules; take one such as {JUDGE}@FOLDER")
    detector, _, weights = source.partition("@")
    if detector not in DETECTORS:
        raise ValueError(f"no detector is called {detector!r}{nearest(detector, DETECTORS)}")
    return detector if not weights or (detector, weights) == ("mask2former", CARD.checkpoint) else source


def title(judge: str) -> str:
    """Return "GenEval" for the detector of the original, and otherwise the name of the deviation beside it.

    Args:
        judge: Such as `geneval:mask2former@FOLDER`.
    """
    source = source_of(judge)
    if source == "mask2former":
        return "GenEval (HF-M2F)"
    detector, _, weights = source.partition("@")
    config = Path(weights).expanduser() / "config.json"
    if detector == "mask2former" and config.is_file():
        origin = json.loads(config.read_text(encoding="utf-8")).get("source") or {}
        if str(origin.get("sha256"))[:8] in PUBLISHED:
            return "GenEval"
    return f"GenEval ({source})"


def original(path: Path | None) -> bool:
    """Whether the prompts are the 553 of the original.

    Args:
        path: Of metadata lines; None for the shipped ones.

    Raises:
        ValueError: The file cannot be read.
    """
    return path is None or checksum(path) == SHA256


@cache
def whole(path: Path | None) -> tuple[dict[str, Any], ...]:
    """Return all metadata lines of a file; of the shipped one, its checksum is verified first.

    Args:
        path: Of a JSONL file; None for the shipped one.

    Raises:
        ValueError: The shipped file was changed, or a line is unfit; it is named.
    """
    if path is not None:
        found = read(path)
        if rule_of(found[0]) != RULES:
            raise ValueError(f"the prompts of {path} have no {RULES}; GenEval's rules need metadata lines with it")
        return found
    content = (files("gensearch.evaluate.benchmarks") / "data/geneval/evaluation_metadata.jsonl").read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise ValueError("the shipped prompts of GenEval were changed; install gensearch again")
    return tuple(json.loads(line) for line in content.splitlines())


def lines(path: Path | None, per_tag: int) -> list[dict[str, Any]]:
    """Return the first metadata lines of each tag, in the order of the file.

    Args:
        path: Of a JSONL file; None for the shipped one.
        per_tag: At most so many.
    """
    return first(whole(path), per_tag)


@cache
def load(source: str, path: Path | None, canary: bool, device: str | None) -> DetectionScore:
    """Load the judge once in this process, and let it prove itself.

    Args:
        source: The detector, with its weights.
        path: Of the metadata lines; None for the shipped ones.
        canary: Whether it must give the right answers on known pictures.
        device: Where it runs; None for the GPU if there is one.

    Raises:
        ValueError: It fails the canary, or cannot be loaded.
    """
    by_prompt = {line["prompt"]: line for line in whole(path)}
    judge = DetectionScore.load(source, device=usable(device), graded=False, lines=by_prompt)
    if canary:
        with as_file(files("gensearch.evaluate.benchmarks") / "data/geneval/cat.png") as photo:
            require_canary(judge, photo)
    return judge


def folder_judge(judge: str, verifier: DetectionScore) -> Judge:
    """Return what judges folders of pictures.

    Args:
        judge: The name of the judge.
        verifier: The judge.
    """
    parts = [verifier.name, repr(verifier.rules), verifier_hashes(verifier)]
    return Judge(
        title(judge),
        f"{verifier.name}#{derive(json.dumps(parts, sort_keys=True)):014x}",
        lambda data, where: verifier.checked(checked_line(data, where)),
        verifier.examine,
    )


def upstream(records: Sequence[Record]) -> Mapping[str, float]:
    """GenEval's summary of one method by the rule of the original script, in [0, 1].

    Args:
        records: Of an evaluation, all of one method.
    """
    found = summarise(Outcome(r["tag"], str(r["prompt"]), r["judge"] == 1) for r in records)
    return {**found.tags, "overall": found.overall, "correct images": found.images, "correct prompts": found.prompts}
