"""The artefact: zero before training, the same bits after a trip to disk, and refused wherever it does not belong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from gensearch import SearchPipeline, registry
from gensearch.core.noise import derive, gaussian, randn, remake
from gensearch.core.sampling import again, generate
from gensearch.engine.run import run
from gensearch.models.native.stable_diffusion import StableDiffusion
from gensearch.search import OF_CHUNKS, OF_TOKENS, SEARCHES
from gensearch.testing.witness import weights_of
from hypernoise.artefact import HyperNoise
from hypernoise.form import DifferenceForm, Form, LowRankForm, TokensForm, build, lookable
from hypernoise.manifest import MANIFEST, WEIGHTS, base_hashes, describe
from hypernoise.network import trainable
from hypernoise.objective import log_ratio, unrolled
from tests.builders import tiny
from verifiers.controls.redness import Redness

FORMS: list[Form] = [
    LowRankForm(rank=2),
    LowRankForm(rank=1, grid=3),
    DifferenceForm(rank=2),
    TokensForm(width=8),
    TokensForm(grid=3, width=8),
]
PROMPTS, SEEDS = ["a red star", "two dogs", "a cat"], [3, 1, 4]
PAIRS = [
    pytest.param(form, family, marks=pytest.mark.slow if family == "sdxl" and form != FORMS[0] else ())
    for form in FORMS
    for family in ("sd", "sdxl")
]  # every form on one family and one form on both are enough where time is short


def generator(family: str = "sd", **options: Any) -> StableDiffusion:
    pipeline = tiny.stable_diffusion() if family == "sd" else tiny.stable_diffusion_xl()
    return StableDiffusion(pipeline, **{"steps": 1, "guidance_scale": 0, "batch_size": 2, **options})


def proposal(model: StableDiffusion, form: Form = FORMS[0], trained: bool = True) -> HyperNoise:
    network = build(form, model)
    if trained:
        with torch.no_grad():
            for i, parameter in enumerate(trainable(network).values()):
                parameter.add_((0.1 * randn([i], parameter.shape)[0]).half().float())
                parameter.copy_(parameter.half())
    return HyperNoise(network.eval(), describe(model, form, temperature=0.1, rewards="redness"))


@pytest.mark.parametrize(("form", "family"), PAIRS, ids=lambda it: getattr(it, "kind", it))
def test_untrained_or_without_gain_it_is_plain_noise(family, form):
    model = generator(family)
    plain = gaussian(model, PROMPTS, SEEDS)
    assert torch.equal(proposal(model, form, trained=False)(model, PROMPTS, SEEDS), plain)
    learned = proposal(model, form)
    assert not torch.equal(learned(model, PROMPTS, SEEDS), plain)
    learned.gain = 0.0
    noise = learned(model, PROMPTS, SEEDS)
    assert torch.equal(noise, plain)
    recipes = [(("gaussian", seed),) for seed in SEEDS]
    with torch.no_grad():
        pictures = [generate(model, PROMPTS, x, recipes) for x in (noise, plain)]
    assert torch.equal(*pictures)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.kind)
def test_gain_scales_what_is_added_and_company_changes_no_bit(form):
    model = generator()
    learned = proposal(model, form)
    whole = learned(model, PROMPTS, SEEDS)
    assert torch.equal(learned(model, PROMPTS[2:], SEEDS[2:])[0], whole[2])
    learned.gain = 0.5
    plain = gaussian(model, PROMPTS, SEEDS)
    assert torch.allclose(learned(model, PROMPTS, SEEDS) - plain, (whole - plain) / 2, atol=1e-6)


def test_the_log_ratio_of_a_hypernetwork_is_that_of_the_shift_that_it_makes():
    model = generator()
    for learned in (replace(proposal(model), gain=0.5, passes=2), proposal(model, FORMS[3]).folded()):
        x, conditions = randn([4], model.noise_shape), lookable(model).conditions([PROMPTS[0]])

        def shift(y, learned=learned, conditions=conditions):
            return unrolled(lambda z: learned.network(z, *conditions), learned.passes, learned.gain)(y)

        made = learned(model, [PROMPTS[0]], [4])
        assert torch.allclose(x + shift(x), made, atol=1e-4)
        assert not torch.allclose(x, made, atol=1e-2)
        found = learned.log_ratio(model, [PROMPTS[0]], [4])
        assert torch.allclose(found, log_ratio(shift, x, seeds=[derive("log_ratio", 4)]), rtol=1e-3, atol=1e-3)


def test_a_second_pass_starts_where_the_first_ended_and_costs_as_much():
    model = generator()
    learned = proposal(model)
    once = learned(model, PROMPTS, SEEDS)
    learned.passes = 2
    conditions = model.conditions(PROMPTS)
    with torch.no_grad():
        expected = once + learned.network(once, *conditions)
    assert torch.allclose(learned(model, PROMPTS, SEEDS), expected, atol=1e-5)
    assert not torch.allclose(expected, once, atol=1e-3)
    assert learned.cost.proposed == 2


@pytest.mark.slow
def test_a_fresh_process_reads_the_same_bits_from_disk(tmp_path):
    """Every form in one process, each from its own folder and for a generator of its own."""
    here = {}
    for number, form in enumerate(FORMS):
        model = generator()
        learned = proposal(model, form)
        learned.save_pretrained(tmp_path / str(number))
        here[str(number)] = learned(model, PROMPTS, SEEDS)
        assert "1 trained weights" not in (tmp_path / str(number) / "README.md").read_text()
    code = (
        "import sys, torch; sys.path.insert(0, '.'); torch.set_num_threads(1)\n"
        "from tests.hypernoise.test_artefact import *\n"
        f"folder, there = Path({str(tmp_path)!r}), {{}}\n"
        f"for number in {list(here)}:\n"
        "    model = generator()\n"
        "    there[number] = HyperNoise.from_pretrained(folder / number, model)(model, PROMPTS, SEEDS)\n"
        "save_file(there, folder / 'there.safetensors')"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True, timeout=100)
    there = load_file(tmp_path / "there.safetensors")
    assert {number: torch.equal(noise, there[number]) for number, noise in here.items()} == dict.fromkeys(here, True)


@pytest.mark.parametrize(("form", "family"), PAIRS, ids=lambda it: getattr(it, "kind", it))
def test_folded_it_says_the_same_without_adapters_and_saves_the_same(tmp_path, family, form):
    model = generator(family)
    before = weights_of({"unet": model.pipeline.unet})
    learned = proposal(model, form)
    quick = learned.folded()
    noise = learned(model, PROMPTS, SEEDS)
    assert not torch.equal(noise, gaussian(model, PROMPTS, SEEDS))
    assert torch.allclose(quick(model, PROMPTS, SEEDS), noise, atol=1e-5)
    assert quick.quick is not None
    assert not any("lora" in name for name, _ in quick.quick.named_parameters())
    for name, one in (("a", learned), ("b", quick)):
        one.save_pretrained(tmp_path / name)
    assert (tmp_path / "a" / WEIGHTS).read_bytes() == (tmp_path / "b" / WEIGHTS).read_bytes()
    assert weights_of({"unet": model.pipeline.unet}) == before


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    proposal(generator()).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return shutil.copytree(saved, tmp_path, dirs_exist_ok=True)


def change(folder: Path, **entries: Any) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, **entries}))


def test_weights_of_another_generator_are_refused(folder):
    other = generator()
    with torch.no_grad():
        next(other.network.parameters())[0] += 0.1
    with pytest.raises(ValueError, match="was trained for StableDiffusionPipeline, and .* has other weights; load"):
        HyperNoise.from_pretrained(folder, other)
    other = generator()
    with torch.no_grad():
        next(other.pipeline.text_encoder.parameters())[0] += 0.1
    with pytest.raises(ValueError, match="other weights"):
        HyperNoise.from_pretrained(folder, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spacing": "trailing"}, "other timestep, .* there and 999.0 here"),
        ({"guidance_scale": 3.0}, "other guidance, 0.0 there and 3.0 here"),
        ({"height": 32}, r"other noise_shape, \(4, 8, 8\) there and \(4, 16, 8\) here"),
    ],
)
def test_other_settings_are_refused(folder, options, message):
    with pytest.raises(ValueError, match=message):
        HyperNoise.from_pretrained(folder, generator(**options))


def test_it_serves_any_number_of_steps_and_a_generator_in_half_precision(folder):
    assert HyperNoise.from_pretrained(folder, generator(steps=1, batch_size=5)).gain == 1
    half = tiny.stable_diffusion().to(torch.bfloat16)
    assert base_hashes(StableDiffusion(half)) == base_hashes(generator())
    model = StableDiffusion(half, steps=1, guidance_scale=0)
    noise = HyperNoise.from_pretrained(folder, model)(model, PROMPTS, SEEDS)
    assert noise.dtype == torch.float32
    assert not torch.equal(noise, gaussian(model, PROMPTS, SEEDS))


def test_a_damaged_artefact_is_refused(folder):
    tensors = load_file(folder / WEIGHTS)
    name = next(iter(tensors))
    for damage, message in (
        ({name: tensors[name].float()}, "torch.float32, not .* torch.float16"),
        ({name: tensors[name][:1].clone()}, "does not fit its manifest"),
        ({"extra": tensors[name].clone()}, "extra and 0 more on one side only"),
    ):
        save_file({**tensors, **damage}, folder / WEIGHTS)
        with pytest.raises(ValueError, match=message):
            HyperNoise.from_pretrained(folder, generator())
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:100])
    with pytest.raises(ValueError, match="cannot read .*; copy or download it again"):
        HyperNoise.from_pretrained(folder, generator())


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"format": "other"}, "other format, other there"),
        ({"form": {"kind": "wide"}}, "is no manifest: form"),
        ({"unknown": 1}, "is no manifest: unknown key 'unknown'"),
        ({"temperature": "hot"}, "is no manifest: temperature"),
    ],
)
def test_a_strange_manifest_is_refused(folder, entries, message):
    change(folder, **entries)
    with pytest.raises(ValueError, match=message):
        HyperNoise.from_pretrained(folder, generator())


def test_missing_artefacts_are_named(tmp_path):
    for source in ("shapes/nothing", str(tmp_path)):
        with pytest.raises(ValueError, match=f"{source}' is no noise hypernetwork"):
            HyperNoise.from_pretrained(source, generator())


def test_plain_adapter_loaders_do_not_take_it_for_theirs(folder):
    """Loaded as an ordinary LoRA it would add the generator's own output to the noise; nothing of it may be loaded."""
    pipeline = tiny.stable_diffusion()
    with pytest.raises(ValueError, match="Invalid LoRA checkpoint"):
        pipeline.load_lora_weights(str(folder), weight_name=WEIGHTS)
    assert not any("lora" in name for name, _ in pipeline.unet.named_parameters())


def test_a_repository_on_the_hub_is_uploaded_whole(folder, monkeypatch):
    import huggingface_hub

    seen: dict[str, Any] = {}

    class Api:
        def create_repo(self, name: str, **options: Any) -> None:
            seen["repository"] = name

        def upload_folder(self, repo_id: str, folder_path: str) -> str:
            seen["files"] = sorted(path.name for path in Path(folder_path).iterdir())
            seen["weights"] = (Path(folder_path) / WEIGHTS).read_bytes()
            return f"https://hub/{repo_id}"

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    before = (folder / WEIGHTS).read_bytes()
    assert HyperNoise.from_pretrained(folder, generator()).push_to_hub("me/mine") == "https://hub/me/mine"
    assert seen == {"repository": "me/mine", "files": ["README.md", MANIFEST, WEIGHTS], "weights": before}


@pytest.mark.parametrize("name", sorted(set(SEARCHES) - {"unguided"} - OF_TOKENS - OF_CHUNKS))
def test_every_search_takes_it_pays_for_it_and_can_make_its_pictures_again(name):
    model = generator(batch_size=4)
    learned = proposal(model)
    found = run(SEARCHES[name], model, Redness(), PROMPTS[0], compute=9, seed=2, propose=learned)
    spent = found.ledger.spent
    assert 1 <= spent.proposed <= spent.work <= 9
    start = learned(model, PROMPTS[:1], [2])
    torch.testing.assert_close(remake(found.lineage[0].recipe, model.noise_shape), start, rtol=0, atol=1e-5)
    best = found.best
    with torch.no_grad():
        made = again(model, PROMPTS[0], remake(best.recipe, model.noise_shape), best.recipe, best.sizes)[0]
    assert torch.equal(made, best.media)


def test_best_of_n_makes_as_many_samples_as_its_budget_pays():
    model = generator(batch_size=3)
    found = run(SEARCHES["best_of_n"], model, Redness(), "a cat", compute=8, seed=1, propose=proposal(model))
    assert len(found.lineage) == 4
    assert (found.ledger.spent.nfe, found.ledger.spent.proposed, found.ledger.padding.proposed) == (4, 4, 0)
    twice = run(
        SEARCHES["best_of_n"],
        model,
        Redness(),
        "a cat",
        compute=8,
        seed=1,
        propose=proposal(model, DifferenceForm(rank=2)),
    )
    assert (twice.ledger.spent.nfe, twice.ledger.spent.proposed) == (2, 4)


def test_a_pipeline_takes_it_by_name_and_gain(folder):
    model = generator()
    pipes = [SearchPipeline(model, Redness(), n=1, propose=f"{gain}{folder}") for gain in ("", "0.5*", "0*")]
    pipes.append(SearchPipeline(model, Redness(), n=1))
    whole, half, none, plain = (pipe("a red star", 7).result.base.media for pipe in pipes)
    assert torch.equal(none, plain)
    assert not torch.equal(whole, half)
    twice: Any = SearchPipeline(model, Redness(), n=1, propose=f"{folder}^2").job.propose
    assert twice.cost.proposed == 2
    for name, message in (
        ("shapes/y^0", "'0' is no number of passes"),
        ("shapes/y^", "'' is no number"),
        ("x*shapes/y", "'x' is no gain"),
        ("inf*shapes/y", "the gain of 'shapes/y' is inf"),
    ):
        with pytest.raises(ValueError, match=message):
            registry.proposal(name, model)
