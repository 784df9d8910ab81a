"""VBench's formula against sums by hand, and the files that it finds clips by."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gensearch.evaluate.benchmarks import vbench
from gensearch.evaluate.benchmarks.vbench import CUSTOM, LIMITS, QUALITY, SEMANTIC, Clip, aggregate, export, normalised

RNG = np.random.default_rng(1)


def test_there_are_sixteen_dimensions():
    assert (len(LIMITS), len(QUALITY), len(SEMANTIC)) == (16, 7, 9)
    assert set(QUALITY) | set(SEMANTIC) == set(LIMITS)
    assert set(CUSTOM) < set(QUALITY)


def test_the_ends_of_the_scales_are_zero_and_one():
    low, high = (aggregate({name: ends[side] for name, ends in LIMITS.items()}) for side in (0, 1))
    assert low[1:] == (0, 0, 0)
    assert high[1:] == pytest.approx((1, 1, 1))


def test_dynamic_degree_counts_half_and_quality_four_times():
    least = {name: ends[0] for name, ends in LIMITS.items()}
    moving = aggregate(least | {"dynamic_degree": 1.0})
    assert moving.quality == pytest.approx(0.5 / 6.5)
    assert moving.total == pytest.approx(0.8 * 0.5 / 6.5)
    smooth = aggregate(least | {"motion_smoothness": (0.706 + 0.9975) / 2})
    assert smooth.quality == pytest.approx(0.5 / 6.5)
    scene = aggregate(least | {"scene": 0.4111})
    assert (scene.semantic, scene.total) == pytest.approx((0.5 / 9, 0.1 / 9))
    assert scene.quality == 0


def test_any_raw_scores_agree_with_the_sums_by_hand():
    raw = {name: float(RNG.uniform(*ends)) for name, ends in LIMITS.items()}
    scaled = {name: (raw[name] - a) / (b - a) for name, (a, b) in LIMITS.items()}
    quality = (sum(scaled[n] for n in QUALITY) - 0.5 * scaled["dynamic_degree"]) / 6.5
    semantic = sum(scaled[n] for n in SEMANTIC) / 9
    found = aggregate(raw)
    assert found.dimensions == pytest.approx(scaled)
    assert found[1:] == pytest.approx((quality, semantic, (4 * quality + semantic) / 5))


def test_a_total_of_some_dimensions_is_none():
    with pytest.raises(ValueError, match=r"needs all 16 dimensions; .*scene.* are missing"):
        aggregate(dict.fromkeys(QUALITY, 0.5))
    assert normalised({"scene": 0.8222}) == {"scene": pytest.approx(1)}
    with pytest.raises(ValueError, match="no dimension 'scenes'"):
        normalised({"scenes": 0.5})
    with pytest.raises(ValueError, match="the score of scene is nan"):
        normalised({"scene": float("nan")})


def test_results_are_read_from_its_own_files(tmp_path):
    path = tmp_path / "a_eval_results.json"
    path.write_text(json.dumps({"scene": [0.5, [{"video_path": "x", "video_results": 0.5}]], "color": 0.25}))
    assert vbench.read_results(path) == {"scene": 0.5, "color": 0.25}
    path.write_text("[1]")
    with pytest.raises(ValueError, match="holds no results of VBench"):
        vbench.read_results(path)


def clips(count=2, frames=8):
    shape = (frames, 4, 6, 3)
    return [Clip("a red star", i, RNG.integers(0, 255, shape).astype(np.uint8), 10 + i) for i in range(count)]


def test_clips_are_named_by_prompt_and_index_and_listed_with_what_scores_depend_on(tmp_path):
    path = export(clips(), tmp_path / "out", 8, {"model": "toy/chunks", "prompts": "all.txt"}, suffix=".gif")
    manifest = json.loads(path.read_text())
    assert [line["file"] for line in manifest["clips"]] == ["a red star-0.gif", "a red star-1.gif"]
    assert all((tmp_path / "out" / line["file"]).is_file() for line in manifest["clips"])
    assert manifest["fps"] == 8
    assert manifest["about"]["prompts"] == "all.txt"
    first = manifest["clips"][0]
    assert (first["seed"], first["frames"], first["seconds"], first["long"]) == (10, 8, 1.0, False)
    assert vbench.file_name("a red star", 3, ".mp4") == "a red star-3.mp4"


def test_clips_of_five_seconds_belong_to_the_long_benchmark(tmp_path):
    path = export(clips(1, 40), tmp_path / "out", 8, {}, suffix=".gif")
    assert json.loads(path.read_text())["clips"][0]["long"] is True


def test_what_cannot_be_exported_is_refused(tmp_path, monkeypatch):
    twice = [clips()[0]] * 2
    with pytest.raises(ValueError, match="two clips 'a red star-0.gif'"):
        export(twice, tmp_path / "out", 8, {}, suffix=".gif")
    with pytest.raises(ValueError, match="cannot name a file"):
        vbench.file_name("either/or", 0, ".mp4")
    monkeypatch.setattr("gensearch.files.movies.find_spec", lambda name: None)
    monkeypatch.setattr("gensearch.files.movies.shutil.which", lambda name: None)
    with pytest.raises(ValueError, match="pip install av"):
        export(clips(), tmp_path / "none", 8, {})
    assert not (tmp_path / "none").exists()
