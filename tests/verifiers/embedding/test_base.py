"""The laws of every verifier on embeddings, on tiny random models of the real classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gensearch.testing import VerifierLaws
from tests.builders import tiny_embedding as tiny
from verifiers.embedding import aesthetic, imagereward
from verifiers.embedding.aesthetic import Aesthetic
from verifiers.embedding.clip import CLIPScore
from verifiers.embedding.clipiqa import CLIPIQA
from verifiers.embedding.hps import HPS
from verifiers.embedding.imagereward import ImageReward
from verifiers.embedding.pickscore import PickScore
from verifiers.embedding.siglip import SigLIP

KINDS: dict[str, Any] = {
    "clip": CLIPScore,
    "clipiqa": CLIPIQA,
    "hps": HPS,
    "pickscore": PickScore,
    "siglip": SigLIP,
    "aesthetic": Aesthetic,
    "imagereward": ImageReward,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of weights for each kind."""
    here = {name: tmp_path_factory.mktemp(name) for name in [*KINDS, "body", "bert"]}
    tiny.open_clip_folder(here["clip"])
    here["clipiqa"] = here["clip"]
    tiny.open_clip_folder(here["hps"])
    config = here["hps"] / "open_clip_config.json"
    config.write_text(config.read_text().replace("{", '{"kind": "hps", ', 1))
    tiny.clip(here["pickscore"])
    tiny.siglip(here["siglip"])
    body = str(tiny.clip(here["body"], "quick_gelu"))
    tiny.write(aesthetic.from_original(tiny.head(12)), here["aesthetic"], body=body)
    tokenizer = str(tiny.bert_tokenizer(here["bert"]))
    tiny.write(imagereward.from_original(tiny.imagereward()), here["imagereward"], tokenizer=tokenizer)
    return here


def pictures(count: int = 4, height: int = 40, width: int = 52) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(3))


@pytest.fixture(params=KINDS)
def build(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Any:
    return lambda **options: KINDS[request.param].load(folders[request.param], **options)


class TestLaws(VerifierLaws):
    @pytest.fixture
    def verifier(self, build: Any) -> Any:
        return build(batch_size=2)


def test_a_batch_scores_as_its_pictures_alone(build: Any) -> None:
    verifier, x = build(batch_size=1), pictures()
    alone = torch.cat([verifier(x[i : i + 1], tiny.PROMPTS[i : i + 1]).total for i in range(4)])
    assert torch.equal(verifier(x, tiny.PROMPTS).total, alone)
    assert len(set(alone.tolist())) == 4


def test_gradients_equal_finite_differences(build: Any) -> None:
    verifier = build(dtype=torch.float64)
    x = pictures(2).double().requires_grad_()
    total = verifier(x, tiny.PROMPTS[:2]).total
    assert total.dtype == torch.float64
    total.sum().backward()
    assert x.grad is not None
    for seed in range(3):
        step = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        up, down = (verifier(x.detach() + s * 1e-5 * step, tiny.PROMPTS[:2]).total.sum() for s in (1, -1))
        assert float((x.grad * step).sum()) == pytest.approx(float(up - down) / 2e-5, rel=1e-4, abs=1e-8)
    assert all(p.grad is None for p in verifier.model.parameters())


@pytest.mark.parametrize("size", [(33, 71), (71, 33), (8, 9), (32, 32), (200, 31)])
def test_odd_sizes_are_scored(build: Any, size: tuple[int, int]) -> None:
    total = build()(pictures(2, *size), tiny.PROMPTS[:2]).total
    assert total.shape == (2,)
    assert total.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_close_and_scores_are_computed_in_fp32(build: Any, dtype: torch.dtype) -> None:
    usual, verifier = build()(pictures(), tiny.PROMPTS).total, build(dtype=dtype)
    half = verifier(pictures(), tiny.PROMPTS).total
    assert half.dtype == torch.float32
    assert verifier.dtype == dtype
    torch.testing.assert_close(half, usual, rtol=0.05, atol=0.05)
    for name in ("head.0.weight", "logit_scale", "logit_bias"):
        if name in dict(verifier.model.named_parameters()) and isinstance(
            verifier, (Aesthetic, ImageReward, PickScore, SigLIP)
        ):
            assert verifier.model.get_parameter(name).dtype == torch.float32


@pytest.mark.parametrize(
    ("media", "message"),
    [
        (torch.rand(1, 4, 32, 32), r"takes pictures \[b, 3, h, w\]"),  # with transparency
        (torch.rand(1, 1, 32, 32), r"takes pictures \[b, 3, h, w\]"),  # grey
        (torch.rand(1, 5, 3, 32, 32), r"takes pictures \[b, 3, h, w\]"),  # clips
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), "divide 8-bit pixels by 255"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.int16), "divide 8-bit pixels by 255"),
    ],
)
def test_other_media_are_refused(build: Any, media: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()(media, ["a ring"])


def test_each_prompt_is_read_once(build: Any) -> None:
    verifier = build()
    for _ in range(2):
        verifier(pictures(), tiny.PROMPTS)
    assert verifier.text_features.cache_info().misses == len(set(tiny.PROMPTS))
