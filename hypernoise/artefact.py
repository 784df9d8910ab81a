"""A trained noise network as a proposal that any search accepts, and as a folder that says what it is for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import nn

from gensearch.core.errors import one_line
from gensearch.core.ledger import Cost
from gensearch.core.noise import randn
from gensearch.core.types import Model, Noise
from gensearch.files.atomic import write_atomic
from gensearch.models.batching import in_batches
from hypernoise.card import card
from hypernoise.form import build, lookable
from hypernoise.manifest import MANIFEST, WEIGHTS, Manifest, find, read_manifest, refuse_others
from hypernoise.network import fold, trainable


@dataclass
class HyperNoise:
    """x0 + gain * f(x0, prompt): plain noise, moved by a trained network (HyperNoise, arXiv:2508.09968, eq. 6)."""

    network: nn.Module
    manifest: Manifest
    gain: float = 1.0  # 0 is plain noise, bit for bit
    quick: nn.Module | None = None  # the network as `folded` makes it

    @property
    def cost(self) -> Cost:
        """What one noise takes."""
        return Cost(proposed=self.manifest.form.passes)

    @torch.no_grad()
    def __call__(self, model: Model, prompts: Sequence[str], seeds: Sequence[int]) -> Noise:
        """Moved noise [b, *noise_shape] in fp32 on the CPU, every network pass over a full physical batch."""
        noise = randn(seeds, model.noise_shape)
        texts = [self.manifest.template.replace("{prompt}", prompt) for prompt in prompts]
        conditions = lookable(model).conditions(texts)
        added = in_batches(self.quick or self.network, model.batch_size, noise.to(conditions[0].device), *conditions)
        return noise + self.gain * added.to(noise)

    def folded(self) -> HyperNoise:
        """The same proposal with LoRA folded into weights of its own: faster, for the memory of one more network."""
        return replace(self, quick=fold(self.network))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write weights, manifest and model card; each file appears whole."""
        dtype = getattr(torch, self.manifest.dtype)
        tensors = {name: p.detach().to("cpu", dtype).contiguous() for name, p in stored(self.network).items()}
        write_atomic(Path(folder) / WEIGHTS, save(tensors, {"format": self.manifest.format}))
        write_atomic(Path(folder) / MANIFEST, (self.manifest.model_dump_json(indent=2) + "\n").encode())
        size = sum(tensor.numel() for tensor in tensors.values())
        write_atomic(Path(folder) / "README.md", card(self.manifest, size).encode())

    @classmethod
    def from_pretrained(cls, source: str | Path, model: Model, gain: float = 1.0) -> HyperNoise:
        """Load `shapes/NAME`, a folder or a repository of the hub, for the generator that it was trained on.

        Raises ValueError where generator and manifest differ, or manifest and weights.
        """
        folder = find(str(source))
        manifest = read_manifest(folder)
        refuse_others(manifest, model, str(source))
        network = build(manifest.form, model)
        fill(network, folder / WEIGHTS, manifest)
        return cls(network.eval(), manifest, gain)

    def push_to_hub(self, repository: str, *, private: bool = False) -> str:
        """Upload weights, manifest and card to `organisation/NAME`; returns the address."""
        from tempfile import TemporaryDirectory

        from huggingface_hub import HfApi

        api = HfApi()
        api.create_repo(repository, private=private, exist_ok=True)
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return str(api.upload_folder(repo_id=repository, folder_path=folder))


def stored(network: nn.Module) -> dict[str, nn.Parameter]:
    """What is trained, by names that no loader of plain adapters knows: such a one would add the base's own output."""
    ours = {".lora_A.default.": ".down.", ".lora_B.default.": ".up."}
    return {re.sub("|".join(ours), lambda m: ours[m[0]], name): p for name, p in trainable(network).items()}


def fill(network: nn.Module, path: Path, manifest: Manifest) -> None:
    """Put the stored weights into a network; raises ValueError unless they are exactly its trainable ones."""
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
