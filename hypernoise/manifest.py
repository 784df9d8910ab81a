"""What a noise network says about itself: the generator it was trained for, its form and its reward."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from gensearch.config.explain import explain
from gensearch.core.errors import one_line
from gensearch.core.types import Model
from hypernoise.form import Form, Strict, lookable

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
