"""A trained noise network as a proposal for searches, and as a folder with manifest and model card."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from gensearch.core.errors import one_line
from gensearch.core.ledger import Cost
from gensearch.core.noise import derive, randn
from gensearch.core.types import Model, Noise
from gensearch.files.atomic import write_atomic
from gensearch.models.batching import in_batches
from hypernoise.card import card
from hypernoise.form import build, lookable
from hypernoise.manifest import MANIFEST, WEIGHTS, Manifest, find, read_manifest, refuse_others
from hypernoise.network import fold, trainable
from hypernoise.objective import log_ratio, unrolled


@dataclass
class HyperNoise:
    """A proposal x0 + gain * f(x0, prompt), where a trained network shifts the noise (arXiv:2508.09968, eq. 6).

    With several passes each starts from where the last one ended, as steps of an optimiser do.

    Attributes:
        network: f.
        manifest: what it was trained for.
        gain: factor of the shift; 0 is plain noise, bit for bit.
        passes: how often f is applied, at least 1.
        quick: the network with merged LoRA, as `folded` makes it.
    """

    network: nn.Module
    manifest: Manifest
    gain: float = 1.0
    passes: int = 1
    quick: nn.Module | None = None

    @property
    def cost(self) -> Cost:
        """The cost of one noise."""
        return Cost(proposed=self.passes * self.manifest.form.passes)

    @torch.no_grad()
    def __call__(self, model: Model, prompts: Sequence[str], seeds: Sequence[int]) -> Noise:
        """Return shifted noise [b, *noise_shape], fp32 on the CPU.

        Every network pass is over a full physical batch, so a row does not depend on the others.

        Args:
            model: the generator that the network was trained for.
            prompts: b prompts.
            seeds: b seeds of the plain noise.
        """
        noise = randn(seeds, model.noise_shape)
        texts = [self.manifest.template.replace("{prompt}", prompt) for prompt in prompts]
        conditions = lookable(model).conditions(texts)
        network, device = self.quick or self.network, conditions[0].device

        def residual(x: Noise) -> Noise:
            return in_batches(network, model.batch_size, x.to(device), *conditions).to(x)

        return noise + unrolled(residual, self.passes, self.gain)(noise)

    def log_ratio(self, model: Model, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """Return the log density of the proposed noise over that of plain noise, in nats, to second order, [b].

        The mean over seeds is the KL divergence from plain noise. One random probe a row leaves a row with an error of
        the order of |J|, the norm of the Jacobian of the shift; the mean over many rows has little of it.

        Args:
            model: the generator that the network was trained for.
            prompts: b prompts.
            seeds: b seeds of the plain noise.
        """
        texts = [self.manifest.template.replace("{prompt}", prompt) for prompt in prompts]
        with torch.no_grad():
            conditions = lookable(model).conditions(texts)
        network = self.quick or self.network
        f = unrolled(lambda x: network(x, *conditions), self.passes, self.gain)
        probes = [derive("log_ratio", seed) for seed in seeds]
        return log_ratio(f, randn(seeds, model.noise_shape).to(conditions[0].device), seeds=probes).cpu()

    def folded(self) -> HyperNoise:
        """Return the same proposal with merged LoRA: faster, for the memory of one more network."""
        return replace(self, quick=fold(self.network))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write weights, manifest and model card, each file atomically.

        Args:
            folder: made as needed.

        Raises:
            OSError: if it cannot be written.
        """
        dtype = getattr(torch, self.manifest.dtype)
        tensors = {name: p.detach().to("cpu", dtype).contiguous() for name, p in stored(self.network).items()}
        write_atomic(Path(folder) / WEIGHTS, save(tensors, {"format": self.manifest.format}))
        write_atomic(Path(folder) / MANIFEST, (self.manifest.model_dump_json(indent=2) + "\n").encode())
        size = sum(tensor.numel() for tensor in tensors.values())
        write_atomic(Path(folder) / "README.md", card(self.manifest, size).encode())

    @classmethod
    def from_pretrained(cls, source: str | Path, model: Model, gain: float = 1.0, passes: int = 1) -> HyperNoise:
        """Load a hypernetwork for the generator that it was trained for.

        Args:
            source: "shapes/NAME", a local folder, or a repository on the Hugging Face hub.
            model: the generator.
            gain: factor of the shift.
            passes: how often f is applied, at least 1.

        Raises:
            ValueError: if there is none, for another generator, and for weights that do not fit the manifest.
        """
        folder = find(str(source))
        manifest = read_manifest(folder)
        refuse_others(manifest, model, str(source))
        network = build(manifest.form, model)
        fill(network, folder / WEIGHTS, manifest)
        return cls(network.eval(), manifest, gain, passes)

    def push_to_hub(self, repository: str, *, private: bool = False) -> str:
        """Upload weights, manifest and model card to the Hugging Face hub and return their address.

        Args:
            repository: "organisation/NAME", made as needed.
            private: whether a new repository is private.
        """
        from tempfile import TemporaryDirectory

        from huggingface_hub import HfApi

        api = HfApi()
        api.create_repo(repository, private=private, exist_ok=True)
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return str(api.upload_folder(repo_id=repository, folder_path=folder))


def stored(network: nn.Module) -> dict[str, nn.Parameter]:
    """Return the trained parameters by their names in the file.

    The names differ from those of plain LoRA files, since a LoRA loader would add the base output of the denoiser.

    Args:
        network: a noise network.
    """
    ours = {".lora_A.default.": ".down.", ".lora_B.default.": ".up."}
    return {re.sub("|".join(ours), lambda m: ours[m[0]], name): p for name, p in trainable(network).items()}


def fill(network: nn.Module, path: Path, manifest: Manifest) -> None:
    """Load stored weights into a network.

    Args:
        network: changed in place.
        path: of the safetensors file.
        manifest: of the stored network.

    Raises:
        ValueError: if the file cannot be read, or holds other tensors than the trainable ones of the network.
    """
    from safetensors import SafetensorError

    try:
        there = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"cannot read {path} ({one_line(error)}); copy or download it again") from error
    wanted = stored(network)
    if differ := sorted(there.keys() ^ wanted.keys()):
        raise ValueError(f"{path} does not fit its manifest: {differ[0]} and {len(differ) - 1} more on one side only")
    for name, parameter in wanted.items():
        found = there[name]
        if found.shape != parameter.shape or str(found.dtype) != f"torch.{manifest.dtype}":
            raise ValueError(
                f"{path} does not fit its manifest: {name} is {tuple(found.shape)} {found.dtype}, "
                f"not {tuple(parameter.shape)} torch.{manifest.dtype}"
            )
        with torch.no_grad():
            parameter.copy_(found)
