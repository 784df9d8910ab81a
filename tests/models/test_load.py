from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from gensearch.core.noise import randn
from gensearch.core.sampling import generate
from gensearch.models import load as module
from gensearch.models import names
from gensearch.models.black_box import BlackBox
from gensearch.models.load import load
from gensearch.models.names import LoadError, presets
from gensearch.models.native.flux import Flux
from gensearch.models.native.stable_diffusion import StableDiffusion
from gensearch.models.probed.model import Probed
from gensearch.models.tokens.janus import JanusPipeline
from tests.builders import tiny, tiny_dit


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A pipeline written in half precision, with its call settings."""
    folder = tmp_path_factory.mktemp("models") / "sd"
    tiny.stable_diffusion(channels=16).to(torch.float16).save_pretrained(folder)
    (folder / "gensearch.json").write_text(json.dumps({"steps": 3, "guidance_scale": 2.0, "batch_size": 4}))
    return folder


@pytest.fixture
def copied(saved, tmp_path) -> Path:
    """One to spoil."""
    return Path(shutil.copytree(saved, tmp_path / "sd"))


@pytest.fixture
def offline(monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


# --- what it finds


@torch.no_grad()
def test_a_folder_in_half_precision_runs_in_single_precision_with_its_own_settings(saved):
    model: Any = load(saved)
    assert isinstance(model, StableDiffusion)
    assert (model.num_steps, model.nfe_per_step, model.batch_size, model.name) == (3, 2, 4, str(saved))
    networks = [model.pipeline.unet, model.pipeline.vae, model.pipeline.text_encoder]
    assert {p.dtype for network in networks for p in network.parameters()} == {torch.float32}
    assert not any(p.requires_grad for network in networks for p in network.parameters())
    assert not any(network.training for network in networks)
    pipeline = tiny.stable_diffusion(channels=16).to(torch.float16).to(torch.float32)
    same = load(pipeline, steps=3, guidance_scale=2.0, batch_size=4)
    assert same.fingerprint()["components"] == model.fingerprint()["components"]
    noise = randn([1], model.noise_shape)
    assert torch.equal(generate(model, ["red dog"], noise, []), generate(same, ["red dog"], noise, []))


def test_options_replace_the_folders_settings(saved):
    model = load(str(saved), steps=2, guidance_scale=0.0, dtype="bfloat16", device="cpu")
    assert (model.num_steps, model.nfe_per_step, model.batch_size) == (2, 1, 4)
    assert model.fingerprint()["dtype"] == "torch.bfloat16"


def test_a_loaded_pipeline_gets_what_is_known_about_where_it_came_from(saved):
    pipeline = StableDiffusionPipeline.from_pretrained(saved, dtype=torch.float32)
    model: Any = load(pipeline, guidance_scale=3.0)
    assert (model.num_steps, model.guidance_scale, model.batch_size) == (3, 3.0, 4)
    assert load(pipeline, adapter="probed", batch_size=1).num_steps == 3
    pipeline.register_to_config(_name_or_path="stabilityai/sd-turbo")
    model = load(pipeline)
    assert (model.num_steps, model.guidance_scale, model.batch_size) == (1, 0.0, 1)
    assert model.scheduler.config.timestep_spacing == "leading"  # its own: it may have been chosen since
    pipeline.register_to_config(_name_or_path="somebody/else")
    assert load(pipeline).num_steps == 50


def test_batches_are_for_accelerators():
    known = presets()
    sizes = {name: known[name].options("cuda").get("batch_size") for name in known}
    assert sizes["stabilityai/sd-turbo"] == sizes["stable-diffusion-v1-5/stable-diffusion-v1-5"] == 4
    assert sizes["stabilityai/stable-diffusion-xl-base-1.0"] == 2
    assert sizes["black-forest-labs/FLUX.1-schnell"] is None
    assert not any("batch_size" in preset.options("cpu") for preset in known.values())


def test_embedded_models_have_names(saved, tmp_path, monkeypatch):
    shutil.copytree(saved, tmp_path / "shapes" / "weights" / "sd")
    monkeypatch.setattr(names, "files", lambda _: tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "presets.yaml").write_text("a/b: {licence: MIT, dtype: float32, settings: {}}")
    assert load("shapes/sd").name == "shapes/sd"
    with pytest.raises(LoadError, match="no embedded model is called 'shapes/sdd'; did you mean 'shapes/sd'?"):
        load("shapes/sdd")
    with pytest.raises(LoadError, match="no embedded model"):
        load("shapes/../sd")


def test_adapters_are_picked_by_what_is_given(saved):
    flux = load(tiny_dit.flux(), steps=2, height=16, width=16)
    assert isinstance(flux, Flux)
    assert flux.num_steps == 2
    assert isinstance(load(tiny_dit.sana(), **tiny_dit.FAMILIES["sana"][1]), Probed)
    probed = load(saved, adapter="probed", batch_size=1)
    assert isinstance(probed, Probed)
    assert (probed.num_steps, probed.nfe_per_step) == (3, 2)

    def draw(prompts: list[str], noise: torch.Tensor) -> torch.Tensor:
        return noise.sigmoid()

    assert isinstance(load(draw, noise_shape=(3, 4, 4)), BlackBox)


def test_presets_fit_their_adapters():
    import diffusers

    kinds = {
        "stabilityai/sd-turbo": "StableDiffusionPipeline",
        "stabilityai/sdxl-turbo": "StableDiffusionXLPipeline",
        "stable-diffusion-v1-5/stable-diffusion-v1-5": "StableDiffusionPipeline",
        "black-forest-labs/FLUX.1-schnell": "FluxPipeline",
        "Efficient-Large-Model/Sana_Sprint_1.6B_1024px_diffusers": "SanaSprintPipeline",
        "Tongyi-MAI/Z-Image-Turbo": "ZImagePipeline",
        "Qwen/Qwen-Image": "QwenImagePipeline",
        "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": "WanPipeline",
    }
    known = presets()
    for name, kind in kinds.items():
        assert callable(module.adapted(getattr(diffusers, kind), "auto", known[name].options("cuda"), {}))
    assert callable(module.adapted(JanusPipeline, "auto", known["deepseek-community/Janus-Pro-1B"].options("cuda"), {}))
    for preset in known.values():
        assert preset.licence
        assert preset.dtype in module.DTYPES
        assert preset.settings.get("steps", 1) >= 1


def test_turbo_presets_take_one_step_without_guidance():
    known = presets()
    model = StableDiffusion(tiny.stable_diffusion(), **known["stabilityai/sd-turbo"].settings)
    assert (model.num_steps, model.nfe_per_step) == (1, 1)
    assert model.schedule.timesteps.tolist() == [999]


# --- what it refuses


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stepz": 3}, "unknown option 'stepz' for a native StableDiffusionPipeline; did you mean 'steps'?"),
        ({"adapter": "probed", "guidance": 3}, "did you mean 'guidance_scale'"),
        ({"adapter": "nativ"}, "unknown adapter 'nativ'; did you mean 'native'"),
        ({"adapter": "black_box"}, "Give noise_shape="),
        ({"dtype": "float61"}, "unknown dtype 'float61'; did you mean 'float16'"),
    ],
)
def test_options_are_checked_before_anything_is_read(saved, monkeypatch, options, message):
    monkeypatch.setattr(module, "read", lambda *_: pytest.fail("read the weights first"))
    with pytest.raises(ValueError, match=message):
        load(saved, **options)


def test_a_loaded_pipeline_stays_where_it_is():
    with pytest.raises(ValueError, match=r"change its components by"):
        load(tiny.stable_diffusion(), device="cpu")
    with pytest.raises(ValueError, match="SanaPipeline has no native adapter"):
        load(tiny_dit.sana(), adapter="native")
    with pytest.raises(LoadError, match="3 is no model; give a name"):
        load(3)
    with pytest.raises(ValueError, match="no diffusers pipeline to probe"):
        load(print, adapter="probed")


@pytest.mark.filterwarnings("ignore:.*local_dir_use_symlinks")  # diffusers still passes it
@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("sd-turbo", "Did you mean 'stabilityai/sd-turbo'"),
        ("stabilityai/sd-trubo", "no such model, does not answer.* Did you mean 'stabilityai/sd-turbo'"),
        ("stabilityai/sd-turbo", "not in the local cache"),
        ("/no/such/folder", "no folder and no model is called '/no/such/folder'. Give a folder"),
        ("../escape", "no folder and no model"),
        ("", "no folder and no model"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(offline, source, message):
    with pytest.raises(LoadError, match=message) as caught:
        load(source)
    assert "\n" not in str(caught.value)


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without_one_tensor(path: Path) -> None:
    tensors = load_file(path)
    del tensors[sorted(tensors)[3]]
    save_file(tensors, path, metadata={"format": "pt"})


def of_another_shape(path: Path) -> None:
    tensors = load_file(path)
    tensors[sorted(tensors)[3]] = torch.zeros(3)
    save_file(tensors, path, metadata={"format": "pt"})


UNET, TEXT = "unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"


@pytest.mark.parametrize("file", [UNET, TEXT])
@pytest.mark.parametrize("spoil", [half, without_one_tensor, of_another_shape, Path.unlink])
def test_damaged_weights_are_never_made_up(copied, file, spoil, caplog, capsys):
    spoil(copied / file)
    with pytest.raises(LoadError, match="cannot load .*sd") as caught:
        load(copied)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().err == ""  # the libraries' own reports
    assert not caplog.records


def test_the_libraries_are_as_loud_after_loading_as_before(saved):
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    before = [(lib.get_verbosity(), lib.is_progress_bar_enabled()) for lib in (of_diffusers, of_transformers)]
    load(saved)
    now = [(lib.get_verbosity(), lib.is_progress_bar_enabled()) for lib in (of_diffusers, of_transformers)]
    assert now == before


def test_pickled_weights_are_not_read(copied):
    (copied / UNET).rename((copied / UNET).with_suffix(".bin"))
    with pytest.raises(LoadError, match="safetensors"):
        load(copied)


@pytest.mark.parametrize("name", ["NoSuchPipeline", ["mine", "Pipeline"]])
def test_a_models_own_code_is_not_run(copied, name):
    index = copied / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "_class_name": name}))
    with pytest.raises(LoadError, match="code from a model is never run"):
        load(copied)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("gensearch.json", "{steps: 3}", "is no JSON"),
        ("gensearch.json", "[3]", "holds no settings"),
        ("gensearch.json", '{"stepz": 3}', "unknown option 'stepz'"),
        ("model_index.json", "{", "cannot load"),
        ("model_index.json", "[]", "model_index.json names no pipeline; download"),
        ("model_index.json", "{}", "model_index.json names no pipeline; download"),
    ],
)
def test_broken_side_files_are_named(copied, file, text, message):
    (copied / file).write_text(text)
    with pytest.raises(ValueError, match=message):
        load(copied)


def test_a_folder_of_something_else(tmp_path):
    with pytest.raises(LoadError, match="holds no model_index.json"):
        load(tmp_path)


def test_what_a_preset_says_to_our_loop_is_not_said_to_a_probe():
    kind, preset = StableDiffusionPipeline, {"steps": 5, "sampler": "ddim", "spacing": "trailing"}
    for adapter, given in (("probed", {}), ("black_box", {"noise_shape": (4, 8, 8)}), ("native", {})):
        assert callable(module.adapted(kind, adapter, preset, given))
    with pytest.raises(ValueError, match="unknown option 'sampler'"):
        module.adapted(kind, "probed", preset, {"sampler": "ddim"})
    with pytest.raises(ValueError, match="two names of one option"):
        module.adapted(kind, "probed", {}, {"steps": 3, "num_inference_steps": 4})


def test_channels_last_gives_the_same_sample_and_another_fingerprint():
    models: list[Any] = [load("shapes/turbo", batch_size=2, channels_last=last) for last in (False, True)]
    prompts = ["a photo of a red star", "a photo of a ring"]
    with torch.no_grad():
        noise = randn([1, 2], models[0].noise_shape)
        plain, last = (generate(model, prompts, noise, [(), ()]) for model in models)
    kernel = models[1].pipeline.unet.conv_in.weight
    assert kernel.is_contiguous(memory_format=torch.channels_last)
    assert not torch.equal(plain, last)
    assert (plain - last).abs().max() < 1e-4
    assert models[0].fingerprint() != models[1].fingerprint()
    with pytest.raises(ValueError, match="channels_last are those of the loaded pipeline"):
        load(models[0].pipeline, channels_last=True)
