"""Generators that differ have other hashes, and one that is as it was has its hash again."""

from __future__ import annotations

from peft import LoraConfig

from gensearch.models.fingerprint import module_hash
from tests.builders import tiny


def test_scales_and_switches_of_a_lora_are_part_of_a_network():
    network = tiny.stable_diffusion().unet
    network.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q"], init_lora_weights=False), "style")
    whole = module_hash(network)
    network.set_adapters("style", weights=0.3)
    weak = module_hash(network)
    network.disable_adapters()
    off = module_hash(network)
    network.enable_adapters()
    network.set_adapters("style", weights=1.0)
    assert len({whole, weak, off}) == 3
    assert module_hash(network) == whole


def test_freeu_and_tiles_are_part_of_a_network():
    pipeline = tiny.stable_diffusion()
    network, vae = module_hash(pipeline.unet), module_hash(pipeline.vae)
    pipeline.enable_freeu(s1=0.9, s2=0.2, b1=1.5, b2=1.6)
    pipeline.vae.enable_tiling()
    assert module_hash(pipeline.unet) != network
    assert module_hash(pipeline.vae) != vae
    pipeline.disable_freeu()
    pipeline.vae.disable_tiling()
    assert (module_hash(pipeline.unet), module_hash(pipeline.vae)) == (network, vae)
