from __future__ import annotations

from importlib import import_module

import pytest
import torch
from safetensors.torch import save_file

from tests.builders.tiny_detectors import grounding, mask2former, owlv2
from tests.builders.tiny_qwen import qwen2_vl, qwen3_vl
from verifiers.card import Card
from verifiers.catalogue import VERIFIERS, verifier
from verifiers.detect.colors import ClipColors
from verifiers.vlm.hpsv3 import FILE, RewardModel


def pictures(n: int = 2):
    return torch.rand(n, 3, 40, 56, generator=torch.Generator().manual_seed(5))


def named(name):
    return verifier(name)


def save(folder, model, *processors):
    for part in (model, *processors):
        part.save_pretrained(folder)
    return str(folder)


def test_every_entry_with_a_module_has_its_card():
    found = {entry.module for entry in VERIFIERS.values() if entry.module}
    assert len(found) >= 7
    for module in found:
        place, _, name = module.partition(":")
        card = getattr(import_module(place), name or "CARD")
        assert isinstance(card, Card)
        assert all((card.checkpoint, card.licence, card.input, card.range))
    assert not import_module("verifiers.detect.mask2former").CARD.commercial


def test_questions_multiply_what_vqascore_answers(tmp_path):
    folder = save(tmp_path, *qwen3_vl())
    whole, single = named(f"vqascore:{folder}"), named(f"questions:{folder}")
    assert (whole.name, single.name) == (f"vqascore:{folder}", f"questions:{folder}")
    (logs,) = whole.answer(pictures(1), [("Is there a cup?", "Is there a dog?")])
    total = single(pictures(1), ["a photo of a cup and a dog"]).total
    assert total.item() == pytest.approx(logs.sum().item(), rel=1e-6)
    shares = named(f"vqa:{folder}")(pictures(), ["a red cup"] * 2).total
    assert (shares > whole(pictures(), ["a red cup"] * 2).total).all()


@pytest.mark.parametrize("kind", ["unifiedreward", "rationalrewards"])
def test_written_scores_are_built_by_name(kind, tmp_path):
    folder = save(tmp_path, *qwen3_vl(answers=["nothing"]))
    built = named(f"{kind}:{folder}")
    assert built.name == f"{kind}:{folder}"
    built.length = 1
    assert built(pictures(), ["a red cup"] * 2).total.isnan().all()
    assert built.failures == 2


def test_hpsv3_is_built_by_name(tmp_path):
    model, processor = qwen2_vl()
    model.config.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    weights = {key.removeprefix("backbone."): value for key, value in RewardModel(model.model, 32).state_dict().items()}
    save_file(weights, tmp_path / FILE)
    built = named(f"hpsv3:{tmp_path}")
    assert built.model.rm_head[0].weight.dtype == torch.float32
    assert built.model.backbone.dtype == torch.bfloat16


@pytest.mark.parametrize(("name", "build"), [("mask2former", mask2former), ("grounding", grounding), ("owlv2", owlv2)])
def test_detectors_are_built_by_name(name, build, tmp_path, monkeypatch):
    monkeypatch.setattr(ClipColors, "load", classmethod(lambda cls, device: None))
    built = build()
    folder = save(tmp_path, *(built if isinstance(built, tuple) else [built]))
    share, verdict = named(f"detection:{name}@{folder}"), named(f"geneval:{name}@{folder}")
    assert (share.graded, verdict.graded) == (True, False)
    assert (share.name, verdict.name) == (f"detection:{name}@{folder}", f"geneval:{name}@{folder}")
    assert share.rules == share.detector.rules
    with pytest.raises(ValueError, match="no detector is called 'mask2forme'; did you mean 'mask2former'"):
        verifier("detection:mask2forme")
