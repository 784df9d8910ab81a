"""The manifest of a noise network: the generator it was trained for, its form and its reward."""

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
    """The contents of hypernoise.json; a generator that does not fit them is refused.

    Attributes:
        format: of the artefact.
        base: name of the generator, for people.
        base_hashes: SHA-256 of its denoiser and text encoders, the same in fp32 and bf16.
        noise_shape: of one sample.
        form: of the network.
        timestep: of pure noise, which the denoiser is conditioned on.
        guidance: scale of classifier-free guidance, 0 for none.
        unroll: most passes of the network that it was trained with; its default is one.
        template: text that the network is conditioned on, with {prompt}.
        temperature: weight of the KL divergence in units of reward per nat.
        rewards: name of the verifier that it was trained with.
        dtype: of the stored tensors.
        training: further facts about the training, for people.
    """

    format: str = "gensearch-hypernoise-1"
    base: str
    base_hashes: dict[str, str]
    noise_shape: tuple[int, ...]
    form: Form
    timestep: float
    guidance: float
    unroll: int = 1
    template: str = "{prompt}"
    temperature: float
    rewards: str
    dtype: str = "float16"
    training: dict[str, Any] = {}


def describe(model: Model, form: Form, **about: Any) -> Manifest:
    """Return the manifest of a network that is trained for a generator.

    Args:
        model: the generator.
        form: of the network.
        **about: the other fields of the manifest.

    Raises:
        ValueError: for a generator whose network cannot be copied.
    """
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
    """Return SHA-256 of the denoiser and the text encoders, component -> hash of weights rounded to bf16.

    Args:
        model: the generator.

    Raises:
        ValueError: for a generator whose network cannot be copied.
    """
    components = getattr(getattr(model, "pipeline", None), "components", {})
    parts = {n: c for n, c in components.items() if n.startswith("text_encoder") and isinstance(c, nn.Module)}
    return {name: rounded_hash(part) for name, part in {"network": lookable(model).network, **parts}.items()}


def rounded_hash(module: nn.Module) -> str:
    """Return SHA-256 of the weights of a network, rounded to bf16.

    Args:
        module: any network.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        rounded = tensor.detach().to("cpu", torch.bfloat16).contiguous()
        digest.update(rounded.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def find(source: str) -> Path:
    """Return the folder of a hypernetwork; a repository on the hub is downloaded.

    Args:
        source: "shapes/NAME", a local folder, or a repository on the Hugging Face hub.

    Raises:
        ValueError: if there is none.
    """
    own = Path(str(files("gensearch"))) / "shapes" / "weights" / source.removeprefix("shapes/")
    folder = own if source.startswith("shapes/") else Path(source).expanduser()
    if (folder / MANIFEST).is_file():
        return folder
    if source.startswith("shapes/") or folder.exists() or source.count("/") != 1:
        raise ValueError(f"{source!r} is no noise hypernetwork: {folder} holds no {MANIFEST}; give what training wrote")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, allow_patterns=[WEIGHTS, MANIFEST, "README.md"]))
    except Exception as error:  # the hub client raises errors of several libraries
        raise ValueError(f"no folder and no repository on the hub is called {source!r} ({one_line(error)})") from error


def read_manifest(folder: Path) -> Manifest:
    """Read and validate the manifest of a hypernetwork.

    Args:
        folder: that holds hypernoise.json.

    Raises:
        ValueError: for the first problem.
    """
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except ValidationError as error:
        raise ValueError(f"{folder / MANIFEST} is no manifest: {explain(error, Manifest)}") from None


def refuse_others(manifest: Manifest, model: Model, source: str) -> None:
    """Refuse a generator that the network was not trained for, or with other settings.

    Args:
        manifest: of the network.
        model: the generator.
        source: name of the network, for the error message.

    Raises:
        ValueError: if weights, noise shape, timestep or guidance differ.
    """
    here = describe(model, manifest.form, temperature=1.0, rewards="")
    for name in ("format", "base_hashes", "noise_shape", "timestep", "guidance"):
        theirs, ours = getattr(manifest, name), getattr(here, name)
        if theirs != ours:
            what = "weights" if name == "base_hashes" else name
            values = "" if name == "base_hashes" else f", {theirs} there and {ours} here"
            raise ValueError(
                f"{source} was trained for {manifest.base}, and {model.name} has other {what}{values}; "
                "load the generator that it was trained for, with the same settings"
            )
