"""Resumed runs whose rounds do not repeat: the machine is named where it changed, and nothing is blamed for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from gensearch.cli.main import main
from gensearch.core.noise import exact
from gensearch.models.toy.gaussian import GaussianTurbo
from gensearch.runs.format import read_journal
from gensearch.runs.repeat import close

COMMAND = ["generate", "a red star", "--model", "toy/turbo", "--verifier", "random", "--knob", "n=5"]
fingerprint = GaussianTurbo.fingerprint


def generate(folder: Path) -> str | int | None:
    with pytest.raises(SystemExit) as left:
        main([*COMMAND, "--out", str(folder)])
    return left.value.code


def on(monkeypatch, **machine) -> None:
    """Go on as if on a machine with this part of the fingerprint."""
    monkeypatch.setattr(GaussianTurbo, "fingerprint", lambda self: fingerprint(self) | machine)


@pytest.fixture
def killed(tmp_path, monkeypatch):
    """A run that was killed before its end, on a machine with AVX512, and whose first score is off by `by`."""

    def make(by: float = 0.0, **machine) -> Path:
        on(monkeypatch, **machine)
        folder = tmp_path / "run"
        assert generate(folder) == 0
        lines = read_journal(folder)
        lines[0]["scores"][0] += by
        (folder / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        for name in ("DONE", "result.json"):
            (folder / name).unlink()
        return folder

    return make


def test_the_first_round_names_the_machine(killed):
    first, *later = read_journal(killed(isa="AVX512", versions={"torch": "2"}))
    assert first["machine"] == {"isa": "AVX512", "versions": {"torch": "2"}}
    assert not any("machine" in line for line in later)


def test_another_machine_is_named_where_only_the_last_bits_differ(killed, monkeypatch, capsys):
    folder = killed(1e-7, isa="AVX512", threads=4)
    on(monkeypatch, isa="AVX2", threads=4)
    assert generate(folder) == 2
    assert capsys.readouterr().err == (
        f"error: round 0 differs from the one in {folder}, in the last bits, which was made on another machine: "
        "isa AVX512 then, AVX2 now. Finish it there, or take another --out\n"
    )


def test_another_machine_that_repeats_every_bit_may_go_on(killed, monkeypatch):
    folder = killed(isa="AVX512")
    on(monkeypatch, isa="AVX2")
    assert generate(folder) == 0
    assert read_journal(folder)[0]["machine"] == {"isa": "AVX512"}


def test_a_result_tells_the_machine_where_the_rounds_do_not(killed, monkeypatch, capsys):
    folder = killed(1e-7, isa="AVX512")
    lines = [{k: v for k, v in line.items() if k != "machine"} for line in read_journal(folder)]
    (folder / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    other = folder.with_name("other")
    assert generate(other) == 0
    (folder / "result.json").write_bytes((other / "result.json").read_bytes())
    on(monkeypatch, isa="AVX2")
    assert generate(folder) == 2
    assert "made on another machine: isa AVX512 then, AVX2 now" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("by", "then", "now", "message"),
    [
        (1e-7, {}, {"isa": "AVX2"}, "in the last bits, which was made on another machine or with other libraries: it"),
        (1e-7, {"isa": "AVX2"}, {"isa": "AVX2"}, "in the last bits, though the machine is the same"),
        (0.5, {"isa": "AVX512"}, {"isa": "AVX2"}, "made on another machine or by another model: isa AVX512 then, AVX2"),
        (0.5, {"isa": "AVX2"}, {"isa": "AVX2"}, "which another model, verifier or version of this program made"),
        (0.5, {}, {}, "which another model, verifier or version of this program made"),
    ],
)
def test_what_is_said_follows_from_what_is_known(killed, monkeypatch, capsys, by, then, now, message):
    folder = killed(by, **then)
    on(monkeypatch, **now)
    assert generate(folder) == 2
    said = capsys.readouterr().err
    assert f"round 0 differs from the one in {folder}, " in said
    assert message in said


def test_what_differs_in_the_last_bits_only():
    noise = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    then = [["gaussian", 7], list(exact(noise)), None, True, {"part": [0.25, None]}]
    near = [["gaussian", 7], list(exact(noise * (1 + 1e-6))), None, True, {"part": [0.2500001, None]}]
    assert close(then, near)
    for other in (
        [["gaussian", 8], *then[1:]],
        [then[0], list(exact(-noise)), *then[2:]],
        [then[0], list(exact(noise[:1])), *then[2:]],
        [*then[:2], 0.5, *then[3:]],
        [*then[:3], False, then[4]],
        [*then[:4], {"part": [0.35, None]}],
        [*then[:4], {"other": [0.25, None]}],
        then[:4],
    ):
        assert not close(then, other)
