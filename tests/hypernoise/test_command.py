"""`gensearch train`: from a recipe to an artefact that searches take, and what happens to bad requests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from gensearch.cli.main import main
from gensearch.packages import configs
from hypernoise import command
from hypernoise.command import placed
from hypernoise.config import make_config

RECIPE = {
    "model": "shapes/turbo",
    "options": {"batch_size": 4},
    "rewards": "redness",
    "form": {"kind": "tokens", "grid": 2, "width": 8},
    "temperature": 0.01,
    "validation": 2,
    "watch_seeds": 2,
    "watch_every": 2,
    "save_every": 2,
    "steps": 4,
    "batch": 4,
}


def recipe(folder: Path, **changes: object) -> str:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({**RECIPE, **changes}))
    return str(path)


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return int(end.value.code or 0)


@pytest.mark.slow
def test_from_a_recipe_to_a_search(tmp_path, capsys):
    out = tmp_path / "run"
    assert call("train", "hypernoise", "--config", recipe(tmp_path), "--out", str(out)) == 0
    assert f"hypernetwork: {out / 'hypernoise'}" in capsys.readouterr().out
    lines = [json.loads(line) for line in (out / "panel.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]
    assert lines[-1]["spent"]["backward"] == 16
    assert list((out / "logs").rglob("events.out.tfevents*"))
    search = ["generate", "a photo of two red stars", "--propose", str(out / "hypernoise"), "--compute", "16"]
    assert call(*search, "--dry-run") == 0
    plan = capsys.readouterr().out
    assert "8 nfe, 8 decoded, 8 scored, 8 proposed" in plan
    assert f"noise from: {out / 'hypernoise'}" in plan
    assert call(*search, "--out", str(tmp_path / "found")) == 0
    assert call("replay", str(tmp_path / "found")) == 0
    assert call("train", "remember", str(tmp_path / "found"), "--memory", str(tmp_path / "memory")) == 0
    assert call("generate", "a photo of a red ring", "--propose", str(tmp_path / "memory"), "--compute", "4",
                "--out", str(tmp_path / "warm")) == 0  # fmt: skip


@pytest.mark.slow
def test_memory_becomes_a_network(tmp_path, capsys):
    found, memory = str(tmp_path / "found"), str(tmp_path / "memory")
    assert call("generate", "a photo of two red stars", "--search", "reno", "--compute", "10", "--out", found) == 0
    assert call("train", "remember", found, "--memory", memory) == 0
    assert "remembered" in capsys.readouterr().out
    config = recipe(tmp_path, rewards="shapes/critic")
    night = ["train", "consolidate", "--memory", memory, "--config", config, "--set", "distil.steps=5"]
    assert call(*night, "--set", "steps=0", "--out", str(tmp_path / "night")) == 0
    assert call(*night, "--set", "steps=0", "--out", str(tmp_path / "night")) == 0
    (line,) = (json.loads(text) for text in (tmp_path / "night" / "panel.jsonl").read_text().splitlines())
    assert line["step"] == 0
    assert line["nats"] > 0


@pytest.mark.slow
def test_a_run_killed_at_any_moment_goes_on_to_the_same_end(tmp_path):
    config = recipe(tmp_path, steps=6)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert call("train", "hypernoise", "--config", config, "--out", str(whole), "--log", "none") == 0
    command = [sys.executable, "-m", "gensearch", "train", "hypernoise", "--config", config, "--log", "none"]
    process = subprocess.Popen([*command, "--out", str(cut)], env={**os.environ, "OMP_NUM_THREADS": "1"})
    while not (cut / "checkpoint.safetensors").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert call("train", "hypernoise", "--config", config, "--out", str(cut), "--log", "none") == 0
    for name in ("hypernoise/hypernoise.safetensors", "hypernoise/hypernoise.json", "checkpoint.safetensors"):
        assert (whole / name).read_bytes() == (cut / name).read_bytes(), name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stepz": 3}, "unknown key 'stepz'; did you mean 'steps'?"),
        (
            {"form": {"kind": "tokens", "widht": 8}},
            "unknown key 'form.tokens.widht'; did you mean 'width'? Known: kind, grid",
        ),
        (
            {"distil": {"memory": "x", "step": 8}},
            "unknown key 'distil.step'; did you mean 'steps'? Known: memory, steps,",
        ),
        ({"temperature": None}, "as `temperature` or as `mean_weight`, not both or neither"),
        ({"form": {"kind": "tokens", "grid": 20}}, "grid 20 does not fit noise of 8x8; take 1 to 8"),
        ({"rewards": "shapes/judge"}, "needs gradients, and shapes/judge gives none"),
        ({"model": "toy/turbo"}, "does not let its network be copied"),
        ({"prompts": "nowhere.txt"}, "no file of prompts is called 'nowhere.txt'"),
        ({"distil": {"memory": "nowhere"}}, "none of 0 winners has a shifted noise"),
    ],
)
def test_bad_recipes_are_one_line_on_stderr(tmp_path, capsys, changes, message):
    config = recipe(tmp_path, **changes)
    assert call("train", "hypernoise", "--config", config, "--out", str(tmp_path / "run"), "--log", "none") == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert message in said[-1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["steps.x=3"], "steps: it is 4 in the config; write it as steps: {name: value}"),
        (["batch=2", "batch.x=3"], "batch: it is 2 in the config"),
        (["form.rnk=8"], "unknown key 'form.tokens.rnk'; Known: kind, grid, width, depth, heads."),
        (["distil.steps=nine"], "distil.memory: Field required"),
    ],
)
def test_bad_settings_are_one_line_on_stderr(tmp_path, capsys, settings, message):
    given = [text for setting in settings for text in ("--set", setting)]
    config = recipe(tmp_path, distil=None)
    assert call("train", "hypernoise", "--config", config, "--out", str(tmp_path / "run"), *given) == 2
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert message in said


@pytest.mark.parametrize(("name", "installed"), [("wandb", ["tensorboard"]), ("tensorboard", [])])
def test_trackers_that_are_not_installed_are_refused_in_one_line(tmp_path, capsys, monkeypatch, name, installed):
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", lambda: installed)
    given = ["train", "hypernoise", "--config", recipe(tmp_path), "--out", str(tmp_path / "run"), "--log"]
    assert call(*given, name) == 1
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert f"error: {name} is not installed; run `pip install gensearch[tracking]`" in said
    assert call(*given, "wanbd") == 2
    assert "no tracker is called 'wanbd'; did you mean 'wandb'?" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_default_tracker_is_none_where_tensorboard_is_missing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", lambda: ["tensorboard"])
    assert command.find_tracker(None) == "tensorboard"
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", lambda: [])
    assert command.find_tracker(None) == "none"
    out = tmp_path / "run"
    command.train(recipe(tmp_path, steps=1, batch=1, watch_every=9), (), out)
    said = capsys.readouterr().err.splitlines()
    assert sum("tensorboard" in line and "`pip install gensearch[tracking]`" in line for line in said) == 1
    assert not (out / "logs").exists()
    assert (out / "hypernoise" / "hypernoise.safetensors").is_file()


def test_every_process_has_its_model_on_its_own_device():
    def one_of(count: int, device: str) -> Any:
        return SimpleNamespace(num_processes=count, device=torch.device(device))

    assert placed({"steps": 1, "device": "cuda"}, one_of(2, "cuda:1")) == {"steps": 1, "device": "cuda:1"}
    assert placed({"steps": 1}, one_of(2, "cpu")) == {"steps": 1}
    assert placed({"device": "cuda:3"}, one_of(1, "cuda:0")) == {"device": "cuda:3"}


@pytest.mark.parametrize(("save_every", "step", "known"), [(2, 3, 2), pytest.param(3, 3, 2, marks=pytest.mark.slow)])
def test_a_resumed_run_has_every_validation_once(tmp_path, monkeypatch, save_every, step, known):
    """Stopped during a validation, after the checkpoint or just before it."""
    config, out = recipe(tmp_path, save_every=save_every, watch_every=1, steps=4), tmp_path / "run"
    training = ["train", "hypernoise", "--config", config, "--out", str(out), "--log", "none"]

    def validations() -> list[dict[str, Any]]:
        return [json.loads(line) for line in (out / "panel.jsonl").read_text().splitlines()]

    whole = command.record

    def dies(trainer: Any, update: Any, *others: Any) -> None:
        if update.step == step:
            raise ValueError("killed")
        whole(trainer, update, *others)

    with monkeypatch.context() as patch:
        patch.setattr(command, "record", dies)
        assert call(*training) == 2
    assert len(validations()) == known
    assert call(*training) == 0
    lines = validations()
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert [line["seconds"] for line in lines] == sorted(line["seconds"] for line in lines)
    assert call(*training) == 0
    assert validations() == lines


@pytest.mark.parametrize("path", sorted((configs() / "hypernoise").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_preset_is_a_recipe(path):
    header = path.read_text().split("\nmodel:")[0]
    assert "Expected" in header or "Published" in header, "a header says what to expect"
    assert make_config(path.stem).steps > 0
