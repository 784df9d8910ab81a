"""Replay: the same bits from a recipe alone, and what is said when they differ or the source is not to be trusted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gensearch import registry
from gensearch.cli import main as cli
from gensearch.files.images import decode, encode
from gensearch.models.toy.gaussian import GaussianMixture
from gensearch.runs.replay import replay


def gensearch(*words: str | Path) -> str | int | None:
    with pytest.raises(SystemExit) as left:
        cli.main([str(word) for word in words])
    return left.value.code


@pytest.fixture(scope="module", params=["best_of_n", "zero_order"])
def run(request, tmp_path_factory):
    """A run of a stochastic model in a batch of three, whose winner is one of many."""
    folder = tmp_path_factory.mktemp("replay") / "run"
    words = ["generate", "a red star", "--model", "toy/mixture", "--verifier", "random", "--search", request.param]
    words += ["--compute", 11, "--seed", 8, "--steps", 3, "--batch-size", 3, "--set", "options.churn=0.5"]
    assert gensearch(*words, "--out", folder) == 0
    return folder


def rewrite(run: Path, target: Path, **changes) -> Path:
    """A copy of a run's picture with another recipe inside."""
    pixels, text = decode(run / "best.png")
    about = json.loads(text["gensearch"])
    for path, value in changes.items():
        *outer, last = path.split("__")
        inside = about
        for key in outer:
            inside = inside[key]
        inside[last] = value
    target.write_bytes(encode(pixels, {"gensearch": json.dumps(about)}))
    return target


@pytest.mark.parametrize("source", [".", "best.png", "base.png"])
def test_folder_and_pictures_replay_bit_for_bit(run, source, capsys, tmp_path):
    assert gensearch("replay", run / source, "--out", tmp_path / "again.png") == 0
    assert "bit-exact: sha256" in capsys.readouterr().out
    recorded = decode(run / ("best.png" if source == "." else source))[0]
    assert np.array_equal(decode(tmp_path / "again.png")[0], recorded)


def test_the_winner_depends_on_its_recipe_and_batch(run):
    found = replay(run)
    assert found.about.batch_size == 3
    assert found.about.fingerprint["batch_size"] == 3
    assert found.changed == {}
    assert not np.array_equal(found.pixels, decode(run / "base.png")[0])


def test_another_global_generator_and_gradient_mode_change_nothing(run):
    torch.manual_seed(1)
    assert replay(run).exact
    assert torch.is_grad_enabled()


def test_another_recipe_is_a_mismatch_with_its_size(run, tmp_path, capsys):
    other = rewrite(run, tmp_path / "other.png", recipe=[["gaussian", 99]])
    assert gensearch("replay", other) == 1
    said = capsys.readouterr().out
    assert "not bit-exact: largest difference" in said
    assert "the fingerprints agree" in said
    difference = replay(other).difference
    assert difference is not None
    assert difference > 0


def test_how_far_a_replay_is_off_is_told_in_pixels(run, tmp_path, capsys):
    other = rewrite(run, tmp_path / "other.png", recipe=[["gaussian", 99]])
    found, there = replay(other), decode(other)[0]
    apart = np.abs(found.pixels.astype(int) - there.astype(int)).max(-1)
    assert (found.difference, found.differing) == (apart.max(), (apart > 0).sum())
    assert found.differing is not None
    assert 0 < found.differing <= apart.size == 16 * 16
    gensearch("replay", other)
    assert f"largest difference {apart.max()}/255 in {100 * found.differing / 256:.0f} % of" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("differing", "share"), [(0, "0"), (1, "0.02"), (37, "0.74"), (499, "10"), (4999, "100"), (5000, "100")]
)
def test_the_share_of_pixels_has_two_digits(run, differing, share):
    found = replace(replay(run), pixels=np.zeros((1, 100, 50, 3), np.uint8), difference=1, differing=differing)
    assert found.distance == f"largest difference 1/255 in {share} % of pixels"
    assert replace(found, difference=None, differing=None).distance == "the sizes differ"


def test_another_machine_is_named_and_not_blamed(run, tmp_path, capsys, monkeypatch):
    real = GaussianMixture.fingerprint
    monkeypatch.setattr(GaussianMixture, "fingerprint", lambda self: real(self) | {"isa": "AVX2", "threads": 4})
    same = {"fingerprint__isa": "AVX512", "fingerprint__threads": 4}
    assert gensearch("replay", rewrite(run, tmp_path / "same.png", **same)) == 0, "every bit is the same all the same"
    capsys.readouterr()
    other = rewrite(run, tmp_path / "other.png", recipe=[["gaussian", 99]], **same)
    assert gensearch("replay", other) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("not bit-exact, made on another machine: isa AVX512 then, AVX2 now; largest difference ")
    assert (
        gensearch(
            "replay", rewrite(run, tmp_path / "both.png", recipe=[["gaussian", 99]], **same, fingerprint__churn=9)
        )
        == 1
    )
    said = capsys.readouterr().out
    assert "churn: 9 then, 0.5 now" in said
    assert "made on another machine, too: isa AVX512 then, AVX2 now" in said


def test_a_changed_model_is_named(run, tmp_path, capsys):
    other = rewrite(run, tmp_path / "other.png", config__options={"steps": 4, "batch_size": 3, "churn": 0.5})
    assert gensearch("replay", other) == 1
    assert "num_steps: 3 then, 4 now" in capsys.readouterr().out


def test_the_recorded_batch_size_is_used_where_the_config_leaves_it_open(run, tmp_path):
    options = {"steps": 3, "churn": 0.5}
    assert replay(rewrite(run, tmp_path / "open.png", config__options=options)).exact


def test_an_edited_picture_is_told_apart_from_its_recipe(run, tmp_path, capsys):
    pixels, text = decode(run / "best.png")
    edited = pixels.copy()
    edited[0, 0, 0, 0] ^= 1
    (tmp_path / "edited.png").write_bytes(encode(edited, {"gensearch": text["gensearch"]}))
    assert gensearch("replay", tmp_path / "edited.png") == 1
    assert "it was edited" in capsys.readouterr().out
    found = replay(tmp_path / "edited.png")
    assert (found.difference, found.differing) == (1, 1)


def test_threads_are_those_of_the_record_and_come_back(run, tmp_path, monkeypatch):
    seen = []
    load = registry.load_model

    def watched(source, **options):
        seen.append(torch.get_num_threads())
        return load(source, **options)

    monkeypatch.setattr(registry, "load_model", watched)
    before = torch.get_num_threads()
    replay(rewrite(run, tmp_path / "threads.png", fingerprint__threads=before + 1))
    replay(rewrite(run, tmp_path / "threads.png", fingerprint__threads=10**9))
    assert seen == [before + 1, before]
    assert torch.get_num_threads() == before


def test_a_picture_cannot_choose_a_model_that_is_not_registered(run, tmp_path, capsys):
    bad = rewrite(run, tmp_path / "bad.png", config__model="/tmp/somewhere")
    assert gensearch("replay", bad) == 2
    assert "add --model '/tmp/somewhere'" in capsys.readouterr().err
    assert gensearch("replay", bad, "--model", "toy/mixture") == 0


UNTRUSTED: dict[str, dict[str, Any]] = {
    "unknown key": {"config__evil": 1},
    "remote code": {"config__options": {"trust_remote_code": True}},
    "seed out of range": {"config__seed": 2**60},
    "prompt with an escape": {"config__prompt": "a \x1b]0;x\x07 star"},
    "no recipe": {"recipe": []},
    "recipe of a wrong type": {"recipe": "gaussian"},
    "endless recipe": {"recipe": [["gaussian", 1]] * 10_001},
    "huge batch": {"batch_size": 10**9},
    "no digest": {"pixels": "../../etc/passwd"},
}


@pytest.mark.parametrize("case", UNTRUSTED)
def test_a_recipe_outside_the_schema_is_refused(run, tmp_path, case, capsys):
    assert gensearch("replay", rewrite(run, tmp_path / "x.png", **UNTRUSTED[case])) == 2
    said = capsys.readouterr().err
    assert "holds no usable recipe" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "recipe",
    [
        [["jump", 1]],
        [["gaussian", "x"]],
        [["gaussian", 1], ["nearby", 2]],
        [["gaussian", 1], ["fly", 2, 0.5]],
        [["gaussian", 1], ["prompt", "a \x1b]0;x\x07 star"]],
        [["gaussian", 1], ["prompt", "star " * 401]],
        [["gaussian", 1], ["prompt", 7]],
    ],
)
def test_moves_that_this_version_does_not_know_are_refused(run, tmp_path, recipe, capsys):
    code = gensearch("replay", rewrite(run, tmp_path / "x.png", recipe=recipe))
    said = capsys.readouterr()
    assert code == 2
    assert "cannot follow the recipe" in said.err


@pytest.mark.parametrize("name", ["again.avi", "again.jpg", "again"])
def test_a_name_of_another_format_is_refused_before_anything_is_made(run, tmp_path, name, capsys, monkeypatch):
    monkeypatch.setattr("gensearch.runs.replay.make", None)
    assert gensearch("replay", run, "--out", tmp_path / name) == 2
    assert "end its name in .png, .gif, .mp4, .webm" in capsys.readouterr().err
    assert not (tmp_path / name).exists()


def test_sources_without_a_recipe_are_said(run, tmp_path, capsys):
    Image.new("RGB", (4, 4)).save(tmp_path / "plain.png")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty").mkdir()
    for source, message in [
        ("plain.png", "carries no gensearch recipe"),
        ("text.png", "cannot be read as a PNG"),
        ("empty", "is it the folder of a run"),
        ("nowhere", "does not exist"),
    ]:
        assert gensearch("replay", tmp_path / source) == 2
        said = capsys.readouterr().err
        assert message in said.replace("is " + str(tmp_path / source) + " the", "is it the")
        assert said.count("\n") == 1


@pytest.mark.parametrize("content", ["{", "[]", '{"provenance": 3}', "[" * 100_000])
def test_a_corrupted_record_is_said(run, tmp_path, content, capsys):
    (tmp_path / "result.json").write_text(content)
    (tmp_path / "best.png").write_bytes((run / "best.png").read_bytes())
    assert gensearch("replay", tmp_path) == 2
    assert str(tmp_path / "result.json") in capsys.readouterr().err
