"""Fingerprints: hashes of networks, library versions and back-end switches, on which the bits of a sample depend."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import platform
from collections.abc import Iterator
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from verifiers.adapt import Adapted
from verifiers.combine import judges
from verifiers.types import Verifier


def component_hashes(pipeline: Any) -> dict[str, str]:
    """The SHA-256 of every network and tokenizer of a diffusers pipeline, by component name.

    Args:
        pipeline: With `components`.
    """
    hashes = {}
    for name, component in pipeline.components.items():
        if isinstance(component, nn.Module):
            hashes[name] = module_hash(component)
        elif hasattr(component, "get_vocab"):
            hashes[name] = hashlib.sha256(json.dumps(component.get_vocab(), sort_keys=True).encode()).hexdigest()
    return hashes


def module_hash(module: nn.Module) -> str:
    """The SHA-256 of a network's configuration, parameters and buffers, wherever it was loaded from.

    Args:
        module: A network of diffusers, transformers or plain torch.
    """
    about = json.dumps(settings(module), sort_keys=True, default=str) + "".join(switches(module))
    digest = hashlib.sha256(about.encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def verifier_hashes(*verifiers: Verifier) -> dict[str, str]:
    """Hashes of the networks of verifiers, and of all that they wrap, with the question that they ask; by name.

    Of functions that are adapted to verifiers, their code is hashed. A remote model is known by its server and its name
    there.

    Args:
        verifiers: Single or combined; others without a network are left out.
    """
    found = {}
    for single in (single for verifier in verifiers for single in judges(verifier)):
        if isinstance(network := getattr(single, "model", None), nn.Module):
            found[single.name] = module_hash(network) + str(getattr(single, "question", ""))
        elif isinstance(single, Adapted) and inspect.isroutine(single.given):
            found[single.name] = hashlib.sha256(source(single.given).encode()).hexdigest()
        elif endpoint := getattr(single, "endpoint", ""):
            asked = getattr(single, "question", "")
            found[single.name] = hashlib.sha256(f"{endpoint} {asked}".encode()).hexdigest()
    return found


def own_code(*verifiers: Verifier) -> dict[str, str]:
    """Hashes of the code and the plain attributes of verifiers that are not this project's, by name.

    Args:
        verifiers: Single or combined, with all that they wrap.
    """
    found = {}
    for single in (single for verifier in verifiers for single in judges(verifier)):
        given = single.given if isinstance(single, Adapted) else single
        if type(given).__module__.partition(".")[0] not in ("verifiers", "gensearch"):
            found[f"{single.name} (code)"] = hashlib.sha256(repr(sorted(code_of(given))).encode()).hexdigest()
    return found


def code_of(given: Any) -> Iterator[tuple[str, str]]:
    """The text of a function or class, with what is bound to it: arguments of a partial, attributes of an instance.

    Args:
        given: Can be called.
    """
    if isinstance(given, partial):
        yield "arguments", repr([plain(value) for value in (*given.args, *sorted(given.keywords.items()))])
        yield from code_of(given.func)
        return
    if inspect.ismethod(given):
        yield "method", given.__name__
        given = given.__self__
    yield "code", source(given if inspect.isroutine(given) or isinstance(given, type) else type(given))
    for name, value in ({} if inspect.isroutine(given) else getattr(given, "__dict__", {})).items():
        yield name, plain(value)


def plain(value: Any) -> str:
    """A value as text, the numbers of a tensor or array included; of other objects only their type.

    Args:
        value: Any.
    """
    if isinstance(value, torch.Tensor | np.ndarray):
        return hashlib.sha256(repr(torch.as_tensor(value).detach().cpu().tolist()).encode()).hexdigest()
    if isinstance(value, str | int | float | None):
        return repr(value)
    if isinstance(value, list | tuple):
        return repr([plain(each) for each in value])
    return type(value).__name__


def source(function: Any) -> str:
    """The text of a function or class; empty for one without a file, as in an interactive session.

    Args:
        function: Of Python or C.
    """
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return ""


def switches(module: nn.Module) -> Iterator[str]:
    """Settings that change a network's output and are neither weights nor configuration; none by default.

    Scales and switches of LoRA adapters, FreeU, the tiling of an autoencoder, and channels that are last in memory.

    Args:
        module: A network.
    """
    for name, part in module.named_modules():
        if isinstance(scales := getattr(part, "scaling", None), dict) and hasattr(part, "active_adapters"):
            yield repr((name, sorted(scales.items()), part.active_adapters, part.disable_adapters))
        marks = {key: getattr(part, key, None) for key in ("s1", "s2", "b1", "b2", "use_tiling")}
        if found := {key: value for key, value in marks.items() if isinstance(value, int | float) and value}:
            yield repr((name, found))
    last = torch.channels_last
    kernels = [w for w in module.parameters() if w.ndim == 4 and min(w.shape[1:]) > 1]  # others are both at once
    if kernels and all(w.is_contiguous(memory_format=last) for w in kernels):
        yield "channels last"


def settings(module: nn.Module) -> dict[str, Any]:
    """A network's configuration, without its origin and the version that wrote it.

    Args:
        module: A network.
    """
    config: Any = getattr(module, "config", {})
    found = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    written = ("transformers_version", "architectures", "dtype")  # by saving and loading
    return {k: v for k, v in found.items() if not k.startswith("_") and k not in written}


def versions() -> dict[str, str]:
    """The libraries that bits depend on."""
    return {name: version(name) for name in ("torch", "diffusers", "transformers", "open_clip_torch")}


@cache
def instruction_set() -> dict[str, str]:
    """The processor's instruction set, on which the last bits of a sample depend.

    `torch` is the set that its own kernels use, `onednn` the limit that the environment sets for convolutions and
    matrix products, and `processor` the machine and vendor, by which libraries choose their kernels.
    """
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8", errors="replace").splitlines() if about.is_file() else []
    vendors = [line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")]
    return {
        "torch": torch.backends.cpu.get_cpu_capability(),
        "onednn": os.environ.get("ONEDNN_MAX_CPU_ISA", "default"),
        "processor": " ".join([platform.machine(), *vendors[:1]]),
    }


def backends() -> dict[str, Any]:
    """Switches of torch that change the last bits of a sample."""
    torch_backends: Any = torch.backends  # its annotations know little of it
    cuda, cudnn = torch_backends.cuda, torch_backends.cudnn
    return {
        "cuda_matmul": cuda.matmul.fp32_precision,  # "tf32" however it was set; `allow_tf32` itself may refuse to say
        "cudnn_conv": cudnn.conv.fp32_precision,
        "cpu_matmul": torch_backends.mkldnn.matmul.fp32_precision,
        "cudnn_benchmark": cudnn.benchmark,
        "cudnn_deterministic": cudnn.deterministic,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def attention(pipeline: Any) -> dict[str, list[str]]:
    """The attention implementation of each network: processors of diffusers, or the setting of transformers.

    Args:
        pipeline: With `components`.
    """
    found = {}
    for name, component in pipeline.components.items():
        kinds = {type(processor).__name__ for processor in getattr(component, "attn_processors", {}).values()}
        own = getattr(getattr(component, "config", None), "_attn_implementation", None)
        if kinds or own:
            found[name] = sorted(kinds | ({own} if own else set()))
    return found
