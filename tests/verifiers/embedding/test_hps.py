"""HPSv2.1: the original layout, a tiny network of it, and its cosine without a scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transformer import QuickGELU

from tests.builders import tiny_embedding as tiny
from verifiers.embedding import hps
from verifiers.embedding.hps import HPS
from verifiers.embedding.preprocess import CLIP_MEAN, CLIP_STD, Preprocess


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(hps, "ARCHITECTURE", tiny.registered(tmp_path))
    return tiny.write(hps.from_original(tiny.open_clip_network().state_dict()), tmp_path)


def test_the_score_is_the_cosine_without_a_scale(folder: Path) -> None:
    verifier = HPS.load(folder)
    x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    assert verifier.preprocess == Preprocess(32)
    network = tiny.open_clip_network().eval()
    assert float(network.logit_scale.detach().exp()) > 10
    mean, std = (np.array(v)[:, None, None] for v in (CLIP_MEAN, CLIP_STD))
    pixels = torch.from_numpy((x.double().numpy() - mean) / std).float()
    with torch.no_grad():
        image = network.encode_image(pixels).double().numpy()
        text = network.encode_text(open_clip.SimpleTokenizer(context_length=40)(tiny.PROMPTS)).double().numpy()
    expected = (image * text).sum(1) / np.linalg.norm(image, axis=1) / np.linalg.norm(text, axis=1)
    np.testing.assert_allclose(verifier(x, tiny.PROMPTS).total.numpy(), expected, atol=1e-5)


def test_the_published_size_is_an_open_clip_vit_h_14_with_plain_gelu() -> None:
    with torch.device("meta"):
        network = open_clip.CLIP(**open_clip.get_model_config(hps.ARCHITECTURE))
    found = hps.from_original(network.state_dict())
    assert sum(tensor.numel() for tensor in found.tensors.values()) == pytest.approx(986e6, rel=1e-3)
    assert found.settings["preprocess_cfg"] == {"size": 224, "mean": CLIP_MEAN, "std": CLIP_STD}
    with torch.device("meta"):
        built = open_clip.CLIP(**found.settings["model_cfg"])
    assert not any(isinstance(module, QuickGELU) for module in built.modules())


def test_other_tensors_are_refused(folder: Path) -> None:
    tensors = tiny.open_clip_network().state_dict()
    with pytest.raises(ValueError, match=r"'ln_final.bias' is not as in HPS_v2.1_compressed.pt: the file has no such"):
        hps.from_original({name: value for name, value in tensors.items() if name != "ln_final.bias"})
    with pytest.raises(ValueError, match=r"'extra' .* the file has the shape \[3\], the network no such tensor"):
        hps.from_original(tensors | {"extra": torch.zeros(3)})
    with pytest.raises(ValueError, match=r"'ln_final.bias' .* has the shape \[3\], the network the shape \[16\]"):
        hps.from_original(tensors | {"ln_final.bias": torch.zeros(3)})


def test_pickles_and_other_folders_are_refused_with_the_way_to_convert(tmp_path: Path) -> None:
    (tmp_path / "HPS_v2.1_compressed.pt").write_bytes(b"never to be read")
    convert = "write it by `gensearch convert hps HPS_v2.1_compressed.pt FOLDER`, and take hps:FOLDER"
    for path in (tmp_path / "HPS_v2.1_compressed.pt", tmp_path, Path("FOLDER")):
        with pytest.raises(ValueError, match=f"is no folder with open_clip_config.json; {convert}"):
            HPS.load(path)
    with pytest.raises(ValueError, match=f"is not of a converted hps; {convert}"):
        HPS.load(tiny.open_clip_folder(tmp_path))
