"""A trained noise network as a proposal that any search accepts, and as a folder that says what it is for."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save
from torch import nn

from gensearch.core.errors import one_line
from gensearch.core.ledger import Cost
from gensearch.core.noise import randn
from gensearch.core.types import Model, Noise, Proposal
from gensearch.files.atomic import write_atomic
from gensearch.models.batching import in_batches
from hypernoise.card import card
from hypernoise.form import Form, Strict, build, lookable
from hypernoise.network import fold, trainable

FOLD_BELOW = 4 * 2**30  # bytes of the generator's network up to which `--propose` takes as many again for speed
WEIGHTS, MANIFEST = "hypernoise.safetensors", "hypernoise.json"


class Manifest(Strict):
    """What a noise network is and what it was trained for; whatever does not fit the generator at hand is refused."""

    format: str = "gensearch-hypernoise-1"
    base: str  # the generator's name, for people
    base_hashes: dict[str, str]  # of its denoiser and text encoders, the same in fp32 and bf16
    noise_shape: tuple[int, ...]
    form: Form
    timestep: float  # of pure noise, as the network is told
    guidance: float
    template: str = "{prompt}"  # what the network reads of a prompt
    temperature: float  # price of one nat in units of reward
    rewards: str
    dtype: str = "float16"  # of the stored tensors
    training: dict[str, Any] = {}  # what else is worth knowing; nothing depends on it


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


def load(source: str, model: Model, gain: float) -> Proposal:
    """What `--propose` names: a hypernetwork, or the memory of past searches, which has no gain.

    Raises ValueError as their classes do.
    """
    from hypernoise.memory import JOURNAL, Memory, WarmStart, verifier_of

    folder = Path(source).expanduser()
    if not (folder / JOURNAL).is_file():
        learned = HyperNoise.from_pretrained(source, model, gain)
        size = sum(p.numel() * p.element_size() for p in lookable(model).network.parameters())
        return learned.folded() if size <= FOLD_BELOW else learned
    if gain != 1:
        raise ValueError(f"{source} is a memory, which has no gain; leave out {gain:g}*")
    return WarmStart(Memory(folder, model, verifier_of(folder)))


def describe(model: Model, form: Form, **about: Any) -> Manifest:
    """The manifest of a network that is trained for a generator."""
    base = lookable(model)
    return Manifest(
        base=base.name,
        base_hashes=base_hashes(model),
        noise_shape=base.noise_shape,
        form=form,
        timestep=base.pure,
        guidance=base.guidance,
        **about,
    )


def base_hashes(model: Model) -> dict[str, str]:
    """SHA-256 of the denoiser and the text encoders, over weights rounded to bf16."""
    components = getattr(getattr(model, "pipeline", None), "components", {})
    parts = {n: c for n, c in components.items() if n.startswith("text_encoder") and isinstance(c, nn.Module)}
    return {name: rounded_hash(part) for name, part in {"network": lookable(model).network, **parts}.items()}


def rounded_hash(module: nn.Module) -> str:
    """SHA-256 of a network's weights as bf16 has them."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        rounded = tensor.detach().to("cpu", torch.bfloat16).contiguous()
        digest.update(rounded.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def find(source: str) -> Path:
    """The folder of a hypernetwork; downloads a repository. Raises ValueError if there is none."""
    own = Path(str(files("gensearch"))) / "shapes" / "weights" / source.removeprefix("shapes/")
    folder = own if source.startswith("shapes/") else Path(source).expanduser()
    if (folder / MANIFEST).is_file():
        return folder
    if source.startswith("shapes/") or folder.exists() or source.count("/") != 1:
        raise ValueError(f"{source!r} is no noise hypernetwork: {folder} holds no {MANIFEST}; give what training wrote")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, allow_patterns=[WEIGHTS, MANIFEST, "README.md"]))
    except Exception as error:
        raise ValueError(f"no folder and no repository on the hub is called {source!r} ({one_line(error)})") from error


def read_manifest(folder: Path) -> Manifest:
    """Read and validate; raises ValueError naming the first problem."""
    from gensearch.config.run import explain

    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except ValidationError as error:
        raise ValueError(f"{folder / MANIFEST} is no manifest: {explain(error, Manifest)}") from None


def refuse_others(manifest: Manifest, model: Model, source: str) -> None:
    """Raise ValueError unless the generator is the one that the network was trained on, set up the same way."""
    here = describe(model, manifest.form, temperature=1.0, rewards="")
    for name in ("format", "base_hashes", "noise_shape", "timestep", "guidance"):
        theirs, ours = getattr(manifest, name), getattr(here, name)
        if theirs != ours:
            what = "weights" if name == "base_hashes" else name
            values = "" if name == "base_hashes" else f", {theirs} there and {ours} here"
            raise ValueError(
                f"{source} was trained for {manifest.base}, and {model.name} has other {what}{values}; "
                "load the generator that it was made for, with the same settings"
            )


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
