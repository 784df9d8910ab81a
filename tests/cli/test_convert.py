"""`gensearch convert`: tiny random files of the original layouts, and files that are refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from gensearch.cli import main as cli
from gensearch.evaluate.benchmarks.geneval import title
from gensearch.registry import verifier
from tests.builders import tiny_embedding as tiny
from tests.builders.openmmlab import as_openmmlab
from tests.builders.tiny_detectors import mask2former
from verifiers.detect import openmmlab
from verifiers.detect.mask2former import Mask2FormerDetector
from verifiers.embedding import hps


def run(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> str:
    """What `gensearch convert` prints, and its exit code is as expected."""
    with pytest.raises(SystemExit) as left:
        cli.main(["convert", *map(str, words)])
    said = capsys.readouterr()
    assert left.value.code == code, said.err
    return said.err if code else said.out


def original(name: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The content of a published file in a tiny size, as it is nested."""
    if name == "hps":
        monkeypatch.setattr(hps, "ARCHITECTURE", tiny.registered(path))
        return {"epoch": 3, "state_dict": tiny.open_clip_network().state_dict()}
    return dict(tiny.imagereward() if name == "imagereward" else tiny.head(12))


@pytest.mark.parametrize("name", ["hps", "imagereward", "aesthetic"])
def test_a_converted_file_is_a_verifier_by_name(name, tmp_path, monkeypatch, capsys):
    (tmp_path / "body").mkdir()
    file, out = tmp_path / "published.pt", tmp_path / "weights" / name
    torch.save(original(name, tmp_path, monkeypatch), file)
    said = run(capsys, name, file, out)
    found = {path.name: path for path in out.iterdir()}
    assert len(found) == 2
    weights = next(path for path in found.values() if path.suffix == ".safetensors")
    settings = next(path for path in found.values() if path.suffix == ".json")
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (file, weights)]
    assert said.splitlines() == [
        f"read    sha256 {digests[0]}  {file}",
        f"written sha256 {digests[1]}  {weights}",
        f"verifier: {name}:{out}",
    ]
    about = json.loads(settings.read_text())
    assert about["kind"] == name
    assert about["source"] == {"file": "published.pt", "sha256": digests[0]}
    local = {"body": tiny.clip(tmp_path / "body", "quick_gelu"), "tokenizer": tiny.bert_tokenizer(tmp_path / "body")}
    settings.write_text(json.dumps({**about, **{key: str(path) for key, path in local.items() if key in about}}))
    built = verifier(f"{name}:{out}")
    assert built.name == f"{name}:{out}"
    assert built(torch.rand(2, 3, 32, 32), ["a", "b"]).total.isfinite().all()


class Harmful:
    """What a pickle that runs code would be."""

    def __reduce__(self):
        return (Path.touch, (Path("harmed"),))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"layers.0.weight": Harmful()}, "as tensors"),
        ([torch.zeros(3)], "holds no named tensors"),
        ({"a": 3}, "holds no named tensors"),
        ({}, "holds no named tensors"),
        ({"a": torch.zeros(3)}, "is no layer of a head"),
    ],
)
def test_anything_unexpected_is_refused_in_one_line_and_nothing_is_written(
    content, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    torch.save(content, tmp_path / "file.pth")
    said = run(capsys, "aesthetic", tmp_path / "file.pth", tmp_path / "out", code=2)
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "harmed").exists()


def test_missing_and_damaged_files_and_used_folders_are_refused(tmp_path, capsys):
    assert "there is no file" in run(capsys, "hps", tmp_path / "no.pt", tmp_path / "out", code=2)
    (tmp_path / "half.pt").write_bytes(b"PK\x03\x04 half")
    assert "cannot read" in run(capsys, "hps", tmp_path / "half.pt", tmp_path / "out", code=2)
    torch.save(tiny.head(12), tmp_path / "head.pth")
    assert "is not empty; give another folder" in run(capsys, "aesthetic", tmp_path / "head.pth", tmp_path, code=2)
    assert "hps" in run(capsys, "clip", tmp_path / "head.pth", tmp_path / "out", code=2)


def test_openmmlabs_detector_is_converted_once_its_checksum_is_known(tmp_path, capsys, monkeypatch):
    file, model = tmp_path / "m2f.pth", mask2former()
    torch.save({"meta": {"CLASSES": ("person",)}, "state_dict": as_openmmlab(model, new=False)}, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    why = run(capsys, "mask2former-openmmlab", file, tmp_path / "out", code=2)
    assert f"starts with {digest[:8]}, that of OpenMMLab's with 743b7d99 or c9d0c4f2: download it again" in why
    assert not (tmp_path / "out").exists()
    monkeypatch.setitem(openmmlab.PUBLISHED, digest[:8], "tiny")
    said = run(capsys, "mask2former-openmmlab", file, tmp_path / "out")
    assert f"verifier: geneval:mask2former@{tmp_path / 'out'}" in said
    assert json.loads((tmp_path / "out" / "config.json").read_text())["source"]["sha256"] == digest
    assert title(f"geneval:mask2former@{tmp_path / 'out'}") == "GenEval"
    image = torch.randint(0, 256, (40, 50, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()
    loaded = Mask2FormerDetector.load(str(tmp_path / "out"), short=64, long=96)
    assert loaded.detect(image) == Mask2FormerDetector(model, short=64, long=96).detect(image)
    monkeypatch.delitem(openmmlab.PUBLISHED, digest[:8])
    run(capsys, "mask2former-openmmlab", file, tmp_path / "mine", "--unchecked")
    assert title(f"geneval:mask2former@{tmp_path / 'mine'}") == f"GenEval (mask2former@{tmp_path / 'mine'})"
