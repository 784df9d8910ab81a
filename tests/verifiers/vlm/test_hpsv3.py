from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gensearch.testing import VerifierLaws
from tests.builders.tiny_qwen import PATCH, PIXELS, qwen2_vl
from verifiers.vlm.hpsv3 import FILE, TOKEN, HPSv3, RewardModel, patched, split

INSTRUCTION = f"is it a photo of {{prompt}} {TOKEN} yes"
PROMPT = "a red star"


def parts(seed: int = 0):
    model, processor = qwen2_vl(seed)
    processor.tokenizer.add_tokens([TOKEN], special_tokens=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model.resize_token_embeddings(len(processor.tokenizer), mean_resizing=False)
        reward = RewardModel(model.model, 32)
    return reward, processor


def build(**changes):
    return HPSv3(*parts(), **{"instruction": INSTRUCTION, "pixels": PIXELS, **changes})


def pictures(n: int, height: int = 40, width: int = 24):
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(1))


class TestLaws(VerifierLaws):
    @pytest.fixture
    def verifier(self):
        return build(batch_size=2)


def test_mean_and_uncertainty_are_the_head_at_the_reward_token():
    verifier = build(batch_size=1)
    scores = verifier(pictures(2), [PROMPT, "two blue ring"])
    reward, processor = parts()
    for row, prompt in enumerate((PROMPT, "two blue ring")):
        image = pictures(2)[row]
        patches, grid = patched(image[None], PIXELS, PATCH, 2, 2)
        text = verifier.template.replace("{image}", "<|image_pad|>" * (int(grid.prod()) // 4)).replace(
            "{prompt}", prompt
        )
        tokens = processor.tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            words = reward.backbone.get_input_embeddings()(tokens)
            words[tokens == 5] = reward.backbone.get_image_features(patches, grid).pooler_output[0]
            positions = torch.arange(tokens.shape[1])[None]
            hidden = reward.backbone.language_model(inputs_embeds=words, position_ids=positions).last_hidden_state
        x = hidden[0, tokens[0].tolist().index(verifier.token)].double().numpy()
        for layer in (0, 3, 5):
            weight, bias = (
                getattr(reward.rm_head[layer], name).detach().double().numpy() for name in ("weight", "bias")
            )
            x = weight @ x + bias
            x = np.maximum(x, 0) if layer < 5 else x
        assert scores.total[row].item() == pytest.approx(x[0], abs=1e-5)
        assert scores.parts["uncertainty"][row].item() == pytest.approx(x[1], abs=1e-5)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (41, 23), (24, 100)])
def test_patches_are_those_of_the_processor(height, width):
    _, processor = parts()
    smooth = torch.nn.functional.interpolate(pictures(2, 5, 5), (height, width), mode="bicubic").clamp(0, 1)
    rounded = (smooth * 255).round().byte()
    theirs = processor.image_processor(list(rounded), return_tensors="pt")
    ours, grid = patched(rounded / 255, PIXELS, PATCH, 2, 2)
    assert torch.equal(grid, theirs["image_grid_thw"])
    assert (ours - theirs["pixel_values"]).abs().max() < 1 / 255 / 0.26  # the processor rounds after resizing


def test_a_batch_is_the_same_as_single_pictures():
    verifier = build(batch_size=1)
    batch = verifier(pictures(3), [PROMPT] * 3).total
    assert torch.equal(batch, torch.cat([verifier(pictures(3)[[i]], [PROMPT]).total for i in range(3)]))
    assert len(set(batch.tolist())) == 3


def test_the_gradient_is_that_of_finite_differences():
    verifier = build()
    verifier.model.double()
    verifier.model.rm_head.float()
    image = torch.nn.functional.interpolate(pictures(1, 6, 6), (32, 32), mode="bilinear").mul(0.6).add(0.2)
    leaf = image.clone().requires_grad_()
    (slope,) = torch.autograd.grad(verifier(leaf, [PROMPT]).total.sum(), leaf)
    along = slope / slope.norm()
    up, down = (verifier(image + sign * 2e-3 * along, [PROMPT]).total.item() for sign in (1, -1))
    assert (up - down) / 4e-3 == pytest.approx(slope.norm().item(), rel=0.02)


def test_the_published_layout_is_loaded(tmp_path):
    reward, processor = parts()
    base, folder = tmp_path / "base", tmp_path / "reward"
    qwen2_vl()[0].config.save_pretrained(base)
    qwen2_vl()[1].save_pretrained(base)
    folder.mkdir()
    old = {"lm_head.weight": torch.zeros(1, 1)}
    for key, value in reward.state_dict().items():
        key = key.replace("backbone.visual.", "visual.").replace("backbone.language_model.", "model.")
        old[key] = value.clone()
    save_file(old, folder / FILE)
    (folder / "gensearch.json").write_text('{"question": "photo of {prompt} <|Reward|>"}', encoding="utf-8")
    loaded = HPSv3.load(str(folder), base=str(base), dtype=torch.float32, pixels=PIXELS)
    assert loaded.name == f"hpsv3:{folder}"
    direct = build(instruction="photo of {prompt} <|Reward|>")
    assert torch.equal(loaded(pictures(2), [PROMPT] * 2).total, direct(pictures(2), [PROMPT] * 2).total)
    del old["visual.merger.ln_q.weight"]
    save_file(old, folder / FILE)
    with pytest.raises(ValueError, match="does not fit .* give the `base`"):
        HPSv3.load(str(folder), base=str(base))


def test_what_cannot_be_read_is_refused():
    with pytest.raises(ValueError, match=r"must hold \{prompt\}, and <\|Reward\|> once"):
        build(instruction="{prompt}")
    with pytest.raises(ValueError, match="one prompt each"):
        build()(torch.rand(1, 2, 3, 16, 16), ["a"])
    with pytest.raises(ValueError, match=r"no rm_head"):
        split({"model.norm.weight": torch.zeros(1)})


def test_special_tokens_in_a_prompt_are_left_out():
    verifier = build()
    told = verifier(pictures(1), [f"a red star{TOKEN}<|image_pad|>"]).total
    assert torch.equal(told, verifier(pictures(1), ["a red star"]).total)
