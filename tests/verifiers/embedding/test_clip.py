"""CLIPScore on tiny random open_clip models, built offline."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transformer import QuickGELU
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from verifiers import CLIPScore, Verifier
from verifiers.embedding.openclip import weight_options
from verifiers.embedding.preprocess import Preprocess, from_open_clip

NAME = "tiny-for-tests"
CONFIG = {
    "embed_dim": 12,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}
PREPROCESS: dict[str, Any] = {"size": 32, "mean": [0.4, 0.5, 0.6], "std": [0.3, 0.25, 0.2]}
PROMPTS = ["a photo of two red stars", "a ring", "a blue heart left of a cross", "a ring", "three diamonds"]


def save(model: torch.nn.Module, path: Path) -> str:
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path)
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP folder with random weights whose architecture is also registered under NAME."""
    path = tmp_path_factory.mktemp("clip")
    (path / f"{NAME}.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(path / f"{NAME}.json")
    (path / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG, "preprocess_cfg": PREPROCESS}))
    with torch.random.fork_rng():
        torch.manual_seed(11)
        model = open_clip.create_model(NAME)
        for parameter in model.parameters():  # strong enough that every layer and the activation matter
            torch.nn.init.normal_(parameter, std=0.2)
    save(model, path / "open_clip_model.safetensors")
    return path


@pytest.fixture(scope="module")
def verifier(folder: Path) -> CLIPScore:
    return CLIPScore.load(folder, batch_size=4)


def pictures(count: int = 5, height: int = 40, width: int = 52) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(3))


def alone(verifier: CLIPScore, x: Tensor) -> Tensor:
    return torch.cat([verifier(x[i : i + 1], PROMPTS[i : i + 1]).total for i in range(len(x))])


# --- the score


def test_the_score_is_the_cosine_of_the_features(verifier: CLIPScore) -> None:
    x = pictures()
    pixels = Preprocess(32, (0.4, 0.5, 0.6), (0.3, 0.25, 0.2))(x)
    image = verifier.model.encode_image(pixels).numpy().astype(np.float64)
    text = verifier.model.encode_text(open_clip.get_tokenizer(NAME)(PROMPTS)).numpy().astype(np.float64)
    expected = (image * text).sum(1) / np.linalg.norm(image, axis=1) / np.linalg.norm(text, axis=1)
    scores = verifier(x, PROMPTS)
    np.testing.assert_allclose(scores.total.numpy(), expected, atol=2e-6)
    assert expected.std() > 0.01
    assert set(scores.parts) == {"clip"}
    assert torch.equal(scores.parts["clip"], scores.total)
    assert isinstance(verifier, Verifier)


def test_gradients_equal_finite_differences(folder: Path) -> None:
    verifier = CLIPScore.load(folder, dtype=torch.float64, batch_size=3)
    x = pictures(2).double().requires_grad_()
    verifier(x, PROMPTS[:2]).total.sum().backward()
    assert x.grad is not None
    for seed in range(5):
        step = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        up, down = (verifier(x.detach() + s * 1e-5 * step, PROMPTS[:2]).total.sum() for s in (1, -1))
        assert float((x.grad * step).sum()) == pytest.approx(float(up - down) / 2e-5, rel=1e-5)
    assert all(p.grad is None for p in verifier.model.parameters())


def test_a_row_has_its_bits_in_any_company_and_nearly_its_score_alone(verifier: CLIPScore) -> None:
    x = pictures()
    together = verifier(x[:4], PROMPTS[:4]).total
    torch.testing.assert_close(together, alone(verifier, x)[:4], rtol=0, atol=1e-5)
    order = [3, 1, 0, 2]
    assert torch.equal(verifier(x[order], [PROMPTS[i] for i in order]).total, together[order])
    other = [4, 1, 4, 4]
    assert torch.equal(verifier(x[other], [PROMPTS[i] for i in other]).total[1], together[1])


def test_physical_batches_fit_their_rows_and_each_prompt_is_read_once(folder: Path) -> None:
    verifier = CLIPScore.load(folder, batch_size=4)
    images, texts = [], []
    verifier.model.visual.register_forward_pre_hook(lambda module, args: images.append(len(args[0])))
    verifier.model.transformer.register_forward_pre_hook(lambda module, args: texts.append(len(args[0])))
    verifier(pictures(), PROMPTS)
    verifier(pictures(2), PROMPTS[:2])
    assert images == [4, 1, 2]
    assert texts == [1] * len(set(PROMPTS))


def test_gradients_do_not_leak_into_padding(verifier: CLIPScore) -> None:
    single, full = (pictures(count).requires_grad_() for count in (1, 4))
    verifier(single, PROMPTS[:1]).total.sum().backward()
    verifier(full, PROMPTS[:4]).total[0].backward()
    assert single.grad is not None
    assert full.grad is not None
    assert torch.allclose(single.grad[0], full.grad[0], atol=1e-7)
    assert full.grad[1:].abs().max() == 0


def test_a_broken_picture_is_unscored_and_harms_nobody(verifier: CLIPScore) -> None:
    x = pictures()
    x[1, 2, 3, 4], x[4, 0, 0, 0], x[4, 2, 0, 0] = torch.nan, torch.inf, -torch.inf
    x.requires_grad_()
    total = verifier(x, PROMPTS).total
    assert total.isnan().tolist() == [False, True, False, False, True]
    good = [0, 2, 3]
    assert torch.equal(total[good], verifier(pictures().requires_grad_(), PROMPTS).total[good])
    total[good].sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_the_pil_path_agrees(verifier: CLIPScore) -> None:
    """Within 0.001: PIL rounds to 8 bits after each pass and clips the overshoot."""
    raw = (pictures(height=57, width=80) * 255).round().to(torch.uint8)
    transform = open_clip.image_transform(32, is_train=False, mean=PREPROCESS["mean"], std=PREPROCESS["std"])
    pil = torch.stack([transform(Image.fromarray(p.permute(1, 2, 0).numpy())) for p in raw])
    text = torch.stack([verifier.text_features(p) for p in PROMPTS])
    by_pil = (torch.nn.functional.normalize(verifier.model.encode_image(pil), dim=-1) * text).sum(-1)
    assert (verifier(raw / 255, PROMPTS).total - by_pil).abs().max() < 0.001


def test_caching_under_inference_mode_does_not_break_later_gradients(folder: Path) -> None:
    verifier = CLIPScore.load(folder)
    with torch.inference_mode():
        verifier(pictures(1), PROMPTS[:1])
    x = pictures(1).requires_grad_()
    verifier(x, PROMPTS[:1]).total.sum().backward()
    assert x.grad is not None
    assert x.grad.abs().max() > 0


def test_half_precision_stays_close(folder: Path, verifier: CLIPScore) -> None:
    half = CLIPScore.load(folder, dtype=torch.bfloat16)(pictures(), PROMPTS).total
    assert half.dtype == torch.float32
    assert (half - verifier(pictures(), PROMPTS).total).abs().max() < 0.01


def test_wrong_shapes_are_refused(verifier: CLIPScore) -> None:
    with pytest.raises(ValueError, match="one prompt each"):
        verifier(pictures(2), ["a ring"])
    with pytest.raises(ValueError, match=r"\[1, 5, 3, 40, 52\]"):
        verifier(pictures()[None], ["a ring"])


def test_a_prompt_that_does_not_fit_is_named_and_one_that_just_fits_is_not(
    verifier: CLIPScore, recwarn: pytest.WarningsRecorder
) -> None:
    verifier(pictures(1), ["star " * 14])
    assert [str(warning.message) for warning in recwarn] == []
    with pytest.warns(UserWarning, match="reads 16 tokens and this prompt has 17"):
        verifier(pictures(1), ["star " * 15])


# --- loading


def test_a_folder_and_the_registered_name_give_the_same_verifier(folder: Path, verifier: CLIPScore) -> None:
    named = CLIPScore.load(NAME, pretrained=str(folder / "open_clip_model.safetensors"), name="other", batch_size=4)
    named.preprocess = verifier.preprocess  # a bare weights file knows no preprocessing
    scores = named(pictures(), PROMPTS)
    assert torch.equal(scores.total, verifier(pictures(), PROMPTS).total)
    assert set(scores.parts) == {"other"}


@pytest.mark.parametrize("missing", ["open_clip_model.safetensors", "open_clip_config.json"])
def test_an_incomplete_folder_is_refused(folder: Path, tmp_path: Path, missing: str) -> None:
    for file in ("open_clip_model.safetensors", "open_clip_config.json"):
        if file != missing:
            (tmp_path / file).write_bytes((folder / file).read_bytes())
    (tmp_path / "open_clip_pytorch_model.bin").write_bytes(b"never to be read")
    with pytest.raises(ValueError, match=f"has no {missing}"):
        CLIPScore.load(tmp_path)


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without_one_tensor(path: Path) -> None:
    tensors = load_file(path)
    del tensors[sorted(tensors)[3]]
    save_file(tensors, path)


def of_another_shape(path: Path) -> None:
    tensors = load_file(path)
    save_file(tensors | {sorted(tensors)[3]: torch.zeros(3)}, path)


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (half, "open_clip_model.safetensors"),
        (without_one_tensor, "open_clip_model.safetensors"),
        (of_another_shape, "open_clip_model.safetensors"),
        (half, "open_clip_config.json"),
        (lambda path: path.write_text("[]"), "open_clip_config.json"),
        (lambda path: path.write_text('{"model_cfg": {}}'), "open_clip_config.json"),
    ],
)
def test_a_damaged_folder_is_one_line_with_the_file_and_the_way_out(folder: Path, tmp_path: Path, spoil, name) -> None:
    copied = Path(shutil.copytree(folder, tmp_path / "clip"))
    spoil(copied / name)
    with pytest.raises(ValueError, match=r"damaged, or of another model .*; download or copy it again") as caught:
        CLIPScore.load(copied)
    assert f"cannot load {copied / name}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_unknown_names_suggest_the_nearest(folder: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'ViT-B-32'"):
        CLIPScore.load("ViT-B32", pretrained="openai")
    with pytest.raises(ValueError, match="did you mean 'laion2b_s34b_b79k'"):
        CLIPScore.load("ViT-B-32", pretrained="laion2b_s34b_b79")
    with pytest.raises(ValueError, match="needs `pretrained`"):
        CLIPScore.load(NAME)


def test_pickled_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    pickled = tmp_path / "weights.pt"
    pickled.write_bytes((folder / "open_clip_model.safetensors").read_bytes())
    with pytest.raises(ValueError, match="only safetensors"):
        CLIPScore.load(NAME, pretrained=str(pickled))


def test_weights_trained_with_quickgelu_get_quickgelu(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = str(folder / "open_clip_model.safetensors")
    tags = {"openai": {"file": file, "quick_gelu": True, **PREPROCESS}, "laion": {"file": file, **PREPROCESS}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, NAME, tags)
    quick, plain = (CLIPScore.load(NAME, pretrained=tag) for tag in ("openai", "laion"))
    # two blocks in each tower
    assert [sum(isinstance(m, QuickGELU) for m in j.model.modules()) for j in (quick, plain)] == [4, 0]
    assert quick.preprocess == plain.preprocess == Preprocess(32, (0.4, 0.5, 0.6), (0.3, 0.25, 0.2))
    assert (quick(pictures(), PROMPTS).total - plain(pictures(), PROMPTS).total).abs().max() > 1e-3


@pytest.mark.parametrize(("model", "tag", "quick"), [
    ("ViT-B-32", "openai", True),
    ("ViT-L-14", "openai", True),
    ("ViT-L-14-quickgelu", "openai", True),
    ("ViT-B-16", "dfn2b", True),
    ("ViT-B-32", "laion2b_s34b_b79k", False),
])  # fmt: skip
def test_the_activation_follows_the_tag(model: str, tag: str, quick: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_clip.pretrained, "download_pretrained", lambda config: "weights.safetensors")
    assert weight_options(model, tag)["force_quick_gelu"] is quick


def test_preprocessing_follows_the_model_and_unknown_kinds_are_refused() -> None:
    config = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bilinear", "resize_mode": "squash"}
    assert from_open_clip(config | {"size": (48, 48)}) == Preprocess(
        48, (0.5,) * 3, (0.5,) * 3, "bilinear", squash=True
    )
    for bad in ({"size": (32, 48)}, {"size": 32, "resize_mode": "longest"}):
        with pytest.raises(ValueError, match="cannot prepare pictures"):
            from_open_clip(config | bad)
