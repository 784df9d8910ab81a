"""GenEval as a benchmark: its data, its names, its summary, and the whole path with small networks."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch

from gensearch.core.noise import Rng, derive, randn
from gensearch.evaluate.bench import Benchmark
from gensearch.evaluate.benchmarks.geneval import (
    SHA256,
    folder_judge,
    geneval,
    lines,
    source_of,
    title,
    upstream,
    whole,
)
from gensearch.evaluate.benchmarks.names import find
from gensearch.evaluate.judging import judge_pictures, summarise
from gensearch.evaluate.layout import export, numbers_of, read
from gensearch.evaluate.plan import Plan
from gensearch.evaluate.runner import records, run_plan
from gensearch.search.noise.best_of_n import best_of_n
from tests.builders.coded import Coded, coded_color
from tests.builders.dice import Dice
from tests.builders.tiny_detectors import mask2former
from verifiers.detect.classes import GENEVAL_CLASSES
from verifiers.detect.detection import DetectionScore
from verifiers.detect.geneval import Rules
from verifiers.detect.grammar import line as read_prompt
from verifiers.detect.mask2former import Mask2FormerDetector

TAGS = {"single_object": 80, "two_object": 99, "counting": 80, "colors": 94, "position": 100, "color_attr": 100}


def test_the_shipped_prompts_are_those_of_the_original():
    folder = files("gensearch.evaluate.benchmarks") / "data/geneval"
    assert hashlib.sha256((folder / "evaluation_metadata.jsonl").read_bytes()).hexdigest() == SHA256
    assert "MIT License" in (folder / "LICENSE").read_text()
    found = whole(None)
    assert len(found) == len({line["prompt"] for line in found}) == 553
    assert Counter(line["tag"] for line in found) == TAGS
    assert list(dict.fromkeys(line["tag"] for line in found)) == list(TAGS)
    for line in found:
        for index, clause in enumerate(line["include"]):
            assert clause["class"] in GENEVAL_CLASSES
            assert "color" not in clause or clause["class"] != "person"
            assert "position" not in clause or 0 <= clause["position"][1] < index
        assert line.get("exclude", []) == (
            [{**line["include"][0], "count": line["include"][0]["count"] + 1}] if line["tag"] == "counting" else []
        )
        assert read_prompt(line["prompt"]) == line  # a judge by words and one by metadata agree


def test_prompts_are_taken_from_the_start_of_each_tag():
    found = lines(None, 2)
    assert Counter(line["tag"] for line in found) == dict.fromkeys(TAGS, 2)
    assert numbers_of(found, lines(None, 1000)) == [0, 1, 80, 81, 179, 180, 259, 260, 353, 354, 453, 454]
    assert lines(None, 1000) == list(whole(None))


def test_the_name_says_which_detector(tmp_path):
    assert title("geneval:mask2former") == "GenEval (HF-M2F)"
    assert title("geneval:mask2former@facebook/mask2former-swin-small-coco-instance") == "GenEval (HF-M2F)"
    assert title("geneval:owlv2") == "GenEval (owlv2)"
    for digest, name in (("743b7d99" + "0" * 56, "GenEval"), ("1" * 64, f"GenEval (mask2former@{tmp_path})")):
        (tmp_path / "config.json").write_text(json.dumps({"source": {"sha256": digest}}))
        assert title(f"geneval:mask2former@{tmp_path}") == name
    assert geneval("geneval:owlv2").name == "GenEval (owlv2)"
    for name, why in (("clip", "does not know GenEval's rules"), ("geneval:owlv3", "did you mean 'owlv2'")):
        with pytest.raises(ValueError, match=why):
            source_of(name)


def test_whoever_is_guided_by_the_judge_is_an_oracle():
    both = {
        f"{kind}:mask2former{at}"
        for kind in ("geneval", "detection")
        for at in ("", "@facebook/mask2former-swin-small-coco-instance")
    }
    assert geneval().oracles == both
    assert geneval("geneval:owlv2@here").oracles == {"geneval:owlv2@here", "detection:owlv2@here"}
    assert geneval().per_prompt == 4


def test_weights_that_forbid_commercial_use_are_refused_unless_allowed():
    meta = "facebook/mask2former-swin-small-coco-instance"
    for judge in (None, "geneval:mask2former", f"geneval:mask2former@{meta}", f"detection:mask2former@{meta}"):
        with pytest.raises(ValueError, match="forbids commercial use"):
            find("geneval", judge=judge)
    assert find("geneval", allow_noncommercial=True).name == "GenEval (HF-M2F)"
    assert find("geneval", judge="geneval:owlv2").name == "GenEval (owlv2)"


def test_other_metadata_lines_are_another_benchmark(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps(whole(None)[200]) + "\n")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    found = geneval("geneval:owlv2", path)
    assert found.name == f"mine.jsonl (sha256 {digest}) by GenEval (owlv2)"
    assert found.lines(9) == [whole(None)[200]]
    same = tmp_path / "same.jsonl"
    same.write_bytes((files("gensearch.evaluate.benchmarks") / "data/geneval/evaluation_metadata.jsonl").read_bytes())
    assert geneval("geneval:owlv2", same).name == "GenEval (owlv2)"


@cache
def coded() -> DetectionScore:
    by_prompt = {line["prompt"]: line for line in whole(None)}
    return DetectionScore(Coded(), classify=coded_color, graded=False, lines=by_prompt, name="coded")


def bench(judge, few: int) -> Benchmark:
    """GenEval's prompts on a generator of noise, with the judge as verifier as well."""
    prompts, oracles = (lambda per_tag: lines(None, min(per_tag, few))), frozenset({"coded", "tiny"})
    model, verifier = (lambda source, **options: Dice(source, **options)), (lambda name, **options: judge())
    return Benchmark("GenEval (coded)", prompts, judge, oracles, model, verifier, lambda name: best_of_n, 4, upstream)


def evaluated(tmp_path: Path, judge, few: int, seeds: int, **method) -> tuple[Plan, list[dict[str, Any]]]:
    methods = [{"name": "best", "model": "noise", "verifier": "coded", **method}]
    plan = Plan.model_validate({"prompts": few, "seeds": seeds, "methods": methods})
    list(run_plan(plan, bench(judge, few), tmp_path))
    return plan, records(tmp_path)


def test_best_of_n_by_the_judge_is_the_share_of_correct_prompts_of_the_pool(tmp_path):
    n, few = 4, 5
    plan, found = evaluated(tmp_path, coded, few, 1, knobs={"n": n})
    pool = []
    for line in lines(None, few):
        root = derive(plan.seed, line["prompt"], 0)
        media = torch.special.ndtr(randn(Rng(root).seeds(n), Dice.noise_shape))
        verdicts = coded()(media, [line["prompt"]] * n).total
        pool += [
            {"tag": line["tag"], "prompt": line["prompt"], "judge": v, "metadata": json.dumps(line)}
            for v in verdicts.tolist()
        ]
    whole_pool = upstream(pool)
    assert 0 < whole_pool["correct images"] < whole_pool["correct prompts"] < 1
    assert upstream(found)["correct images"] == whole_pool["correct prompts"]
    assert all(record["oracle"] for record in found)
    assert all(record["parts"]["correct"] == record["judge"] for record in found)


def test_pictures_that_are_written_out_get_the_verdicts_of_the_run(tmp_path):
    plan, found = evaluated(tmp_path / "run", coded, 3, 2, compute=1)
    chosen = lines(None, plan.prompts)
    made = export(tmp_path / "run", found, chosen, numbers_of(chosen, whole(None)), tmp_path / "layout")
    assert made == [tmp_path / "layout" / "best"]
    folder = made[0]
    assert sorted(path.name for path in folder.iterdir())[:4] == ["00000", "00001", "00002", "00080"]
    assert sorted(path.name for path in (folder / "00080" / "samples").iterdir()) == ["00000.png", "00001.png"]
    assert json.loads((folder / "00080" / "metadata.jsonl").read_text()) == whole(None)[80]
    judged = list(judge_pictures(read(folder)[0], folder_judge("geneval:owlv2", coded()), tmp_path / "out.jsonl"))
    assert [record["correct"] for record in judged] == [record["judge"] == 1 for record in found]
    numbers, summary = upstream(found), summarise(judged)
    assert (numbers["overall"], numbers["correct images"], numbers["correct prompts"]) == summary[1:]
    stray = folder / "00080" / "samples" / "00007.png"
    stray.write_bytes(b"of another run")
    with pytest.raises(ValueError, match=r"00007\.png is of another run; take another --layout"):
        export(tmp_path / "run", found, chosen, numbers_of(chosen, whole(None)), tmp_path / "layout")
    (tmp_path / "run" / found[0]["picture"]).unlink()
    with pytest.raises(ValueError, match=r"-0\.png is missing"):
        export(tmp_path / "run", found, chosen, numbers_of(chosen, whole(None)), tmp_path / "again")


@cache
def tiny() -> DetectionScore:
    by_prompt = {line["prompt"]: line for line in whole(None)}
    detector = Mask2FormerDetector(mask2former(), short=64, long=64)
    rules = Rules(threshold=0.008, counting_threshold=0.011)
    return DetectionScore(detector, classify=coded_color, graded=False, rules=rules, lines=by_prompt, name="tiny")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_553_prompts_through_the_whole_path(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda file: None)  # no crash is simulated here
    plan, found = evaluated(tmp_path / "run", tiny, 1000, 1, compute=1)
    assert len(found) == 553
    made = export(tmp_path / "run", found, whole(None), range(553), tmp_path / "layout")
    inner = sorted(path.name for path in made[0].iterdir())
    assert inner == [f"{number:05}" for number in range(553)]
    for number, line in enumerate(whole(None)):
        assert json.loads((made[0] / f"{number:05}" / "metadata.jsonl").read_text()) == line
    judged = list(judge_pictures(read(made[0])[0], folder_judge("geneval:owlv2", tiny()), tmp_path / "out.jsonl"))
    assert [record["correct"] for record in judged] == [record["judge"] == 1 for record in found]
    shares = [sum(r["correct"] for r in judged if r["tag"] == tag) / count for tag, count in TAGS.items()]
    assert 0 < sum(shares) < 6
    assert summarise(judged).overall == pytest.approx(sum(shares) / 6, abs=1e-12)
    assert upstream(found)["overall"] == summarise(judged).overall
