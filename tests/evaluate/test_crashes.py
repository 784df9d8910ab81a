"""Whatever ends an evaluation, the same call completes it to the same results: kills, a full disk, lost pictures."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gensearch.evaluate.blocks import blocks, parse_shard, trials
from gensearch.evaluate.journal import CANDIDATES, JOURNAL, records
from gensearch.evaluate.runner import run_plan
from gensearch.evaluate.table import summarise
from gensearch.evaluate.text import markdown
from gensearch.files.atomic import read_lines
from tests.builders import dice
from tests.builders.dice import DICE, plan
from tests.builders.killed import small

ROOT = Path(__file__).parents[2]


def evaluate(folder: Path, **settings: Any) -> list[dict[str, Any]]:
    for _ in run_plan(small(), DICE, folder, **settings):
        pass
    return untimed(folder)


def untimed(folder: Path) -> list[dict[str, Any]]:
    return [{**record, "seconds": 0} for record in records(folder)]


def same(mine: Path, other: Path) -> None:
    """Every result, candidate and picture, each once, and the table, but for the seconds."""
    assert untimed(mine) == untimed(other)
    assert len(read_lines(mine / JOURNAL)) == len(records(mine)) == len(trials(small(), DICE.lines(3)))
    lists = [sorted(map(json.dumps, read_lines(folder / CANDIDATES))) for folder in (mine, other)]
    assert lists[0] == lists[1]
    tables = [markdown(summarise(small(), "dice/judge", untimed(folder), resamples=50)) for folder in (mine, other)]
    assert tables[0] == tables[1]
    pictures = [{p.relative_to(f): p.read_bytes() for p in f.glob("pictures/*/*.png")} for f in (mine, other)]
    assert pictures[0] == pictures[1]
    assert not list(mine.glob("pending/*.safetensors"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    evaluate(folder)
    return folder


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3))])
def test_kills_at_random_moments_lose_and_double_nothing(tmp_path, seed):
    """Of generating, judging and reporting; each kill hits a run that goes on where the last one was killed."""
    command = [sys.executable, "-m", "tests.builders.killed", str(tmp_path), "5", str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split("killed ")[1].split()[0]) >= 3
    same(tmp_path / "rough", tmp_path / "calm")


@pytest.mark.parametrize("nth", [2, 9, 23, 47, 72])
def test_a_full_disk_ends_cleanly_and_the_same_call_goes_on(whole, tmp_path, nth, monkeypatch):
    sync, count = os.fsync, iter(range(1, 10**6))

    def full(file: int) -> None:
        if next(count) >= nth:
            os.truncate(file, max(0, os.fstat(file).st_size - 5))  # what did not fit
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="the disk is full; what is done is kept. Free some space"):
            evaluate(tmp_path / "a")
    assert len(records(tmp_path / "a")) < len(records(whole))
    evaluate(tmp_path / "a")
    same(tmp_path / "a", whole)


# --- pictures


def test_lost_and_damaged_pictures_are_named_and_made_again(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "a")
    first, second, third = sorted((tmp_path / "a").glob("pictures/*/*.png"))[5:8]
    first.unlink()
    second.write_bytes(second.read_bytes()[:40])
    third.write_bytes(first.with_name("0000-0.png").read_bytes())
    with pytest.warns(UserWarning, match="3 pictures are missing or damaged.*made again.*: pictures/"):
        evaluate(tmp_path / "a")
    same(tmp_path / "a", whole)


def test_a_picture_that_its_recipe_does_not_give_is_searched_for_again(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "a")
    lines = read_lines(tmp_path / "a" / JOURNAL)
    lines[4]["sha256"] = "0" * 64
    (tmp_path / "a" / JOURNAL).write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.warns(UserWarning, match="1 pictures are missing or damaged"):
        assert evaluate(tmp_path / "a") == untimed(whole)
    assert len(read_lines(tmp_path / "a" / JOURNAL)) == len(lines) + 1


# --- stages


def test_generating_and_judging_apart_gives_the_same(whole, tmp_path, monkeypatch):
    assert evaluate(tmp_path / "a", stage="judge") == []
    assert evaluate(tmp_path / "a", stage="generate") == []
    made = list((tmp_path / "a").glob("pictures/*/*.png"))
    assert len(made) == len(trials(small(), DICE.lines(3)))
    assert evaluate(tmp_path / "a", stage="generate") == []
    dice.LOADED.clear()
    evaluate(tmp_path / "a", stage="judge")
    assert dice.LOADED == ["second"]  # the hold-out; no generator
    same(tmp_path / "a", whole)


def test_pictures_that_wait_are_not_shown_to_another_judge(tmp_path):
    class Other(dice.Judge):
        name = "another"

    evaluate(tmp_path, stage="generate")
    with pytest.raises(ValueError, match="a judge or hold-out changed since pictures that wait for it"):
        list(run_plan(small(), DICE._replace(judge=Other), tmp_path, stage="judge"))


def test_a_folder_in_which_pictures_wait_is_refused_to_another_plan(tmp_path):
    evaluate(tmp_path, stage="generate")
    with pytest.raises(ValueError, match="another evaluation: seeds, block, candidates differ"):
        run_plan(plan(seeds=1), DICE, tmp_path)


# --- shards


def test_shards_are_disjoint_and_copied_together_they_are_the_whole(whole, tmp_path):
    for which in (3, 1, 2):
        evaluate(tmp_path / str(which), shard=(which, 3))
    keys = [{(r["method"], r["prompt"], r["seed"]) for r in records(tmp_path / str(which))} for which in (1, 2, 3)]
    assert sum(map(len, keys)) == len(set.union(*keys)) == len(trials(small(), DICE.lines(3)))
    assert all(len(own) == len(trials(small(), DICE.lines(3), (which, 3))) > 0 for which, own in enumerate(keys, 1))
    merged = tmp_path / "merged"
    for part in "123":
        shutil.copytree(tmp_path / part, merged, dirs_exist_ok=True)
    for name in (JOURNAL, CANDIDATES):
        (merged / name).write_bytes(b"".join((tmp_path / which / name).read_bytes() for which in "123"))
    dice.LOADED.clear()
    evaluate(merged)
    assert dice.LOADED == []
    same(merged, whole)


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_a_shard_has_all_methods_of_its_pairs(count):
    parts = [blocks(small(), DICE.lines(3), (which, count)) for which in range(1, count + 1)]
    assert sorted(block for part in parts for block in part) == blocks(small(), DICE.lines(3))
    for part in parts:
        pairs = [(t.prompt, t.seed) for block in part for t in block.trials]
        assert all(pairs.count(pair) == 3 for pair in pairs)


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "a/b", "1/2/3", "-1/2"])
def test_other_shards_are_refused(text):
    with pytest.raises(ValueError, match=f"the shard '{text}' is none; write WHICH/HOW MANY as in 2/8"):
        parse_shard(text)


# --- candidates


def test_candidates_are_all_finished_samples_with_their_verdicts(whole):
    lines = {(line["method"], line["prompt"], line["seed"]): line for line in read_lines(whole / CANDIDATES)}
    for record in records(whole):
        line = lines[record["method"], record["prompt"], record["seed"]]
        assert line.keys() == {"method", "prompt", "seed", "candidates"}
        found = line["candidates"]
        assert [list(c) for c in found] == [["id", "parents", "score", "judge", "holdout", "nfe"]] * len(found)
        assert [c["id"] for c in found] == list(range({"base": 1, "best4": 4, "best6": 6}[record["method"]]))
        assert sum(c["nfe"] for c in found) == record["spent"]["nfe"]
        best = max(found, key=lambda c: c["score"])
        assert (best["score"], best["judge"], best["holdout"]) == (record["score"], record["judge"], record["holdout"])
        assert {"judge": found[0]["judge"], "holdout": found[0]["holdout"]} == record["base"]
        bar = 1 - dice.ODDS[record["tag"]]
        assert all(c["judge"] == float(round(c["score"] * 255) / 255 > bar) for c in found)


def test_best_of_n_by_the_judge_is_the_share_of_prompts_with_a_correct_candidate(tmp_path):
    """Exactly, on one and the same pool (GenEval's "% correct prompts")."""
    methods = [
        {"name": "oracle", "model": "dice", "verifier": "judge", "compute": 5},
        {"name": "blind", "model": "dice", "verifier": "random", "compute": 5},
    ]
    for _ in run_plan(plan(methods=methods, candidates=True, seeds=3), DICE, tmp_path):
        pass
    judged = {r["prompt"] * 10 + r["seed"]: r["judge"] for r in records(tmp_path) if r["method"] == "oracle"}
    pools = [line for line in read_lines(tmp_path / CANDIDATES) if line["method"] == "blind"]
    assert judged == {pool["prompt"] * 10 + pool["seed"]: max(c["judge"] for c in pool["candidates"]) for pool in pools}
    assert 0 < sum(judged.values()) < len(judged)


def test_a_candidate_without_a_score_is_null(tmp_path):
    methods = [{"name": "a", "model": "dice", "verifier": "first", "compute": 2}]
    for _ in run_plan(plan(methods=methods, candidates=True, holdout=["nothing"]), DICE, tmp_path):
        pass
    lines = read_lines(tmp_path / CANDIDATES)
    assert {c["holdout"]["nothing"] for line in lines for c in line["candidates"]} == {None}


def test_what_a_kill_left_of_a_finished_block_is_cleared_away(whole, tmp_path):
    """Killed after the last record of a block and before its pictures stopped waiting."""
    evaluate(tmp_path / "waits", stage="generate")
    shutil.copytree(whole, tmp_path / "a")
    shutil.copytree(tmp_path / "waits" / "pending", tmp_path / "a" / "pending", dirs_exist_ok=True)
    evaluate(tmp_path / "a")
    same(tmp_path / "a", whole)
