"""Video autoencoders decode one clip at a time, whatever the batch, and are left as they were."""

from __future__ import annotations

import pytest
import torch

from gensearch.models.clip_decoder import clip_by_clip, decoding_by
from tests.builders import tiny, tiny_dit, tiny_video


@pytest.mark.parametrize("build", [lambda: tiny_dit.wan(None).vae, tiny_video.ltx_vae], ids=["wan", "ltx"])
def test_a_clip_is_decoded_as_if_it_were_alone(build):
    vae = build().eval()
    channels = vae.config.get("z_dim") or vae.config.latent_channels
    latents = torch.randn(3, channels, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    sizes = []
    hook = vae.decoder.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    with torch.no_grad():
        alone = torch.cat([vae.decode(latents[row : row + 1]).sample for row in range(3)])
        sizes.clear()
        with clip_by_clip(vae):
            together, (plain,) = vae.decode(latents).sample, vae.decode(latents, return_dict=False)
    hook.remove()
    assert torch.equal(together, alone)
    assert torch.equal(plain, alone)
    assert set(sizes) == {1}
    assert "decode" not in vars(vae)


def test_values_for_each_clip_go_with_it():
    seen = []

    class VAE:
        def decode(self, latents, at, return_dict=True, *, scale):
            seen.append((len(latents), at.tolist(), scale))
            return (latents,)

    with clip_by_clip(VAE()) as _:
        vae = VAE()
        with clip_by_clip(vae):
            vae.decode(torch.zeros(2, 1, 1, 1, 1), torch.tensor([3.0, 4.0]), return_dict=False, scale=2)
    assert seen == [(1, [3.0], 2), (1, [4.0], 2)]


def test_pictures_stay_together_and_no_autoencoder_is_needed():
    vae = tiny.vae(4).eval()
    sizes = []
    vae.decoder.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    with torch.no_grad(), clip_by_clip(vae), clip_by_clip(None):
        vae.decode(torch.zeros(3, 4, 8, 8))
    assert sizes == [3]


def test_what_stood_in_before_comes_back():
    vae = tiny.vae(4)
    with decoding_by(vae, "first"):
        with pytest.raises(RuntimeError), decoding_by(vae, "second"):
            raise RuntimeError
        assert vae.decode == "first"
    assert callable(vae.decode)
