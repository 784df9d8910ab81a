"""Load a model from a name, a folder, a loaded pipeline or a callable, with the best adapter for it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from gensearch.core.errors import nearest, one_line
from gensearch.core.types import Model
from gensearch.models.device import last_channels, usable
from gensearch.models.names import GENERAL, NATIVE, OF_OUR_LOOP, TOKENS, LoadError, Source, locate, origin
from gensearch.models.options import check_options
from gensearch.models.quiet import quiet

ADAPTERS = ("auto", "native", "probed", "black_box")
DTYPES = ("float32", "float16", "bfloat16")


def load(
    source: Any,
    /,
    *,
    adapter: str = "auto",
    device: str | None = None,
    dtype: str | None = None,
    channels_last: bool = False,
    **options: Any,
) -> Model:
    """A model from a name, a folder, a loaded pipeline or a callable; only safetensors are read, no remote code is run.

    Args:
        source: "org/name" on the hub, a pipeline's folder, "shapes/NAME", a loaded pipeline or a callable.
        adapter: "native", "probed" or "black_box"; "auto" takes "native" if there is one, else "probed" for a pipeline
            and "black_box" for a callable.
        device: Of a model that is loaded here (default: the GPU if there is one).
        dtype: "float32", "float16" or "bfloat16" (default: the preset's, and float32 on a CPU).
        channels_last: Whether convolutions keep channels last in memory, which is faster for gradients on CPUs.
        options: Of the adapter (steps, guidance_scale, batch_size, ...); they replace those of presets and of the
            folder's gensearch.json.

    Raises:
        LoadError: The source cannot be loaded.
        ValueError: An option is unknown or unfit.
    """
    given = {"adapter": adapter, "device": device, "dtype": dtype, "channels_last": channels_last}
    check_options(load, given, "load")
    if adapter not in ADAPTERS:
        raise ValueError(f"unknown adapter {adapter!r}{nearest(adapter, ADAPTERS)}")
    if dtype is not None and dtype not in DTYPES:
        raise ValueError(f"unknown dtype {dtype!r}{nearest(dtype, DTYPES)}")
    if not isinstance(source, str | Path):
        if not callable(source):
            raise LoadError(f"{source!r} is no model; give a name, a folder, a loaded pipeline or a callable")
        if device or dtype or channels_last:
            raise ValueError(
                "device, dtype and channels_last are those of the loaded pipeline; change its components by .to(...)"
            )
        return adapted(type(source), adapter, origin(source), options)(source)
    device = usable(device)
    found = locate(str(source), device)
    with readable(source, found.hint):
        kind = pipeline_class(found.where)
    # Options are checked before anything large is read.
    build = adapted(kind, adapter, found.settings, {"name": str(source), **options})
    with readable(source, found.hint):
        pipeline = read(kind, found, device, dtype)
    if channels_last:
        last_channels(pipeline)
    return build(pipeline)


def pipeline_class(where: str) -> type[Any]:
    """The class of a pipeline: that which its model_index.json names, or that of an autoregressive image model.

    Args:
        where: A folder or a name on the hub.

    Raises:
        LoadError: It names no pipeline of the installed diffusers.
    """
    import diffusers

    if kind := token_pipeline(where):
        return kind
    index = diffusers.DiffusionPipeline.load_config(where)
    if not isinstance(index, dict) or "_class_name" not in index:
        raise LoadError("its model_index.json names no pipeline; download or copy it again")
    name = index["_class_name"]
    kind = getattr(diffusers, name, None) if isinstance(name, str) else None
    if not (isinstance(kind, type) and issubclass(kind, diffusers.DiffusionPipeline)):
        raise LoadError(f"{where} needs {name!r}, no pipeline of this diffusers; code from a model is never run")
    return kind


def token_pipeline(where: str) -> type[Any] | None:
    """The class that loads an autoregressive image model of transformers; None for what is no transformers model.

    Args:
        where: A folder or a name on the hub.

    Raises:
        LoadError: It is a transformers model that generates no images.
    """
    from transformers import AutoConfig

    if Path(where).is_dir() and (Path(where) / "model_index.json").is_file():
        return None
    try:
        config = AutoConfig.from_pretrained(where, trust_remote_code=False)
    except (OSError, ValueError):
        return None
    if config.model_type not in TOKENS:
        raise LoadError(
            f"it is a {config.model_type!r}, which generates no images; of this kind there are: {', '.join(TOKENS)}"
        )
    module, name = TOKENS[config.model_type]
    kind: type[Any] = getattr(import_module(module), name)
    return kind


def read(kind: type[Any], source: Source, device: str, dtype: str | None) -> Any:
    """Load a pipeline and freeze its weights.

    Args:
        kind: Its class.
        source: Where it is.
        device: Where it will run.
        dtype: Of its weights; None for the source's, and float32 on a CPU.

    Raises:
        LoadError: Weights are missing.
    """
    import torch

    number = getattr(torch, dtype or ("float32" if device == "cpu" else source.dtype))
    if not hasattr(kind, "download"):  # one model rather than a pipeline of components
        with quiet():
            return kind.from_pretrained(source.where, dtype=number).to(device)
    safe = {"use_safetensors": True, "trust_remote_code": False}
    folder = source.where if Path(source.where).is_dir() else kind.download(source.where, **safe)
    with quiet():
        pipeline = kind.from_pretrained(folder, dtype=number, **safe, **text_networks(Path(folder), number))
    for name, component in pipeline.components.items():
        if isinstance(component, torch.nn.Module):
            complete(name, [n for n, p in component.named_parameters() if p.is_meta])
            component.requires_grad_(False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def text_networks(folder: Path, dtype: Any) -> dict[str, Any]:
    """The transformers networks of a pipeline, which the pipeline would load with random values for missing weights.

    Args:
        folder: Of the pipeline.
        dtype: Of the weights.

    Raises:
        LoadError: Weights are missing or have another shape.
    """
    import transformers

    found = {}
    for name, part in json.loads((folder / "model_index.json").read_text(encoding="utf-8")).items():
        if isinstance(part, list) and part[0] == "transformers" and (folder / name / "config.json").is_file():
            safe = {"use_safetensors": True, "trust_remote_code": False, "ignore_mismatched_sizes": True}
            found[name], report = getattr(transformers, part[1]).from_pretrained(
                folder / name, dtype=dtype, output_loading_info=True, **safe
            )
            complete(name, sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}))
    return found


def complete(component: str, missing: list[str]) -> None:
    """Refuse a network that lacks weights.

    Args:
        component: Its name in the pipeline.
        missing: Names of weights.

    Raises:
        LoadError: Any are missing.
    """
    if missing:
        raise LoadError(
            f"{component} lacks {len(missing)} weights of the right shape, the first is {missing[0]}; "
            "download or copy it again"
        )


@contextmanager
def readable(source: Any, hint: str) -> Iterator[None]:
    """Turn errors of loading into one line.

    Args:
        source: What is loaded.
        hint: The end of the message.

    Raises:
        LoadError: Loading failed.
    """
    from safetensors import SafetensorError

    try:
        yield
    except LoadError as error:
        raise LoadError(f"cannot load {str(source)!r}: {error}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        why = one_line(error).rstrip(".")
        raise LoadError(f"cannot load {str(source)!r}: {why}{hint}") from error


def adapted(
    kind: type[Any], adapter: str, preset: Mapping[str, Any], given: Mapping[str, Any]
) -> Callable[[Any], Model]:
    """What builds the adapter for a pipeline of some class.

    Args:
        kind: The class.
        adapter: "auto", "native", "probed" or "black_box".
        preset: Options of a preset or folder.
        given: Options of the caller, which come first.

    Raises:
        ValueError: An option is unknown or unfit, or the class has no such adapter.
    """
    native = next((NATIVE[c.__name__] for c in kind.__mro__ if c.__name__ in NATIVE), None)
    is_pipeline = any(c.__name__ == "DiffusionPipeline" for c in kind.__mro__)
    if adapter == "auto":
        adapter = "native" if native else "probed" if is_pipeline else "black_box"
    if adapter != "native":
        preset = {name: value for name, value in preset.items() if name not in OF_OUR_LOOP}
        preset, given = map(by_diffusers_name, (preset, given)) if is_pipeline else (preset, given)
    options = {**preset, **given}
    if adapter == "native":
        if native is None:
            raise ValueError(f"{kind.__name__} has no native adapter; use adapter='auto'. Native: {', '.join(NATIVE)}.")
        build = getattr(import_module(native[0]), native[1])
        taken = parameters(build)
        if any(p.kind is p.VAR_KEYWORD for p in inspect.signature(build).parameters.values()):
            taken |= parameters(kind.__call__)
    elif adapter == "probed" and not is_pipeline:
        raise ValueError(f"{kind.__name__} is no diffusers pipeline to probe; use adapter='black_box'")
    else:
        module, name = GENERAL[adapter]
        build = getattr(import_module(module), name)
        taken = parameters(build) | (parameters(kind.__call__) if is_pipeline else set())
    if adapter == "black_box" and "noise_shape" not in options:
        raise ValueError(f"what shape is the noise of a {kind.__name__}? Give noise_shape=(4, 64, 64) or the like")
    for name in options:
        if name not in taken:
            raise ValueError(f"unknown option {name!r} for a {adapter} {kind.__name__}{nearest(name, sorted(taken))}")
    check_options(build.__init__, options, build.__name__)
    return lambda pipeline: build(pipeline, **options)


def by_diffusers_name(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with `steps` under its name in diffusers pipelines.

    Args:
        options: Of an adapter.

    Raises:
        ValueError: Both names are given.
    """
    if {"steps", "num_inference_steps"} <= options.keys():
        raise ValueError("steps and num_inference_steps are two names of one option; give one of them")
    return {"num_inference_steps" if name == "steps" else name: value for name, value in options.items()}


def parameters(function: Any) -> set[str]:
    """Names of the parameters of a function or class, without the first, which is the pipeline."""
    found = list(inspect.signature(function).parameters.values())
    named = {p.name for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return named - {found[0].name}
