"""Names of models: what a name, a folder or a pipeline's class stands for, before anything is loaded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from gensearch.core.errors import nearest, one_line

NATIVE = {  # pipeline class -> module and class of the adapter that runs its networks in our own loop
    "StableDiffusionPipeline": ("gensearch.models.native.stable_diffusion", "StableDiffusion"),
    "StableDiffusionXLPipeline": ("gensearch.models.native.stable_diffusion", "StableDiffusion"),
    "FluxPipeline": ("gensearch.models.native.flux", "Flux"),
    "SanaSprintPipeline": ("gensearch.models.native.sana_sprint", "SanaSprint"),
    "JanusPipeline": ("gensearch.models.tokens.janus", "Janus"),
    "AnyFlowFARPipeline": ("gensearch.models.chunks.anyflow", "AnyFlow"),
    "WanPipeline": ("gensearch.models.native.wan", "Wan"),
    "LTXPipeline": ("gensearch.models.native.ltx", "LTX"),
    "HeliosPipeline": ("gensearch.models.chunks.helios", "Helios"),
    "WanImageToVideoPipeline": ("gensearch.models.chunks.chaining", "Chaining"),
    "LTXConditionPipeline": ("gensearch.models.chunks.chaining", "Chaining"),
}

GENERAL = {  # adapters for pipelines of any class
    "probed": ("gensearch.models.probed.model", "Probed"),
    "black_box": ("gensearch.models.black_box", "BlackBox"),
}

TOKENS = {"janus": ("gensearch.models.tokens.janus", "JanusPipeline")}  # model type of transformers -> what loads it

OF_OUR_LOOP = ("sampler", "spacing")  # settings that other adapters leave to the pipeline's own scheduler
SETTINGS = "gensearch.json"  # the file in a folder of weights with the call settings that a model was made for


class LoadError(ValueError):
    """A model that is not there, or not whole; the message says what to do."""


class Preset(NamedTuple):
    """What the makers of a model on the hub say about calling it."""

    licence: str
    dtype: str
    settings: dict[str, Any]
    batch_size: int | None = None

    def options(self, device: str) -> dict[str, Any]:
        """Settings for a device; on a CPU a larger batch would only make a single sample pay for its padding."""
        batch = {} if self.batch_size is None or device == "cpu" else {"batch_size": self.batch_size}
        return {**batch, **self.settings}


class Source(NamedTuple):
    """Where a model is, and how it wants to be called."""

    where: str  # a folder or a name on the hub
    settings: Mapping[str, Any]
    dtype: str
    hint: str  # the tail of an error if it cannot be loaded


def presets() -> dict[str, Preset]:
    """Models on the hub whose call settings are known, by name."""
    import yaml

    text = (files("gensearch") / "models" / "presets.yaml").read_text(encoding="utf-8")
    return {name: Preset(**about) for name, about in yaml.safe_load(text).items()}


def embedded() -> dict[str, Path]:
    """The pipelines of the Shapes world that this installation holds: "shapes/NAME" -> folder."""
    weights = Path(str(files("gensearch"))) / "shapes" / "weights"
    return {f"shapes/{path.parent.name}": path.parent for path in sorted(weights.glob(f"*/{SETTINGS}"))}


def origin(pipeline: Any) -> dict[str, Any]:
    """What a preset or a folder says about a loaded pipeline, by where it came from; its scheduler stays its own."""
    where = str(getattr(pipeline, "name_or_path", None) or "") if hasattr(pipeline, "components") else ""
    if where and (Path(where) / SETTINGS).is_file():
        settings = in_folder(Path(where)).settings
    else:
        known = presets().get(where)
        settings = known.options(pipeline._execution_device.type) if known else {}
    return {name: value for name, value in settings.items() if name not in OF_OUR_LOOP}


def locate(source: str, device: str) -> Source:
    """Find out what a name means, without loading it; raises LoadError if it means nothing."""
    own, known = embedded(), presets()
    if source.startswith("shapes/"):
        if source not in own:
            raise LoadError(f"no embedded model is called {source!r}{nearest(source, own)}")
        return in_folder(own[source])
    if source and Path(source).expanduser().is_dir():
        return in_folder(Path(source).expanduser())
    if not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", source):
        raise LoadError(f"no folder and no model is called {source!r}{similar(source, [*own, *known])}")
    preset = known.get(source, Preset("", "float32", {}))
    hint = "; it is not in the local cache, and the hub has no such model, does not answer or wants you to log in"
    hint += "" if source in known else similar(source, known)
    return Source(source, preset.options(device), preset.dtype, hint)


def similar(source: str, known: Iterable[str]) -> str:
    """The tail of an error about a misspelt name, which may lack its organisation."""
    tails = {name.split("/")[1]: name for name in known}
    close = get_close_matches(source.split("/")[-1], tails, 1)
    return f". Did you mean {tails[close[0]]!r}?" if close else ". Give a folder, 'shapes/NAME' or 'organisation/NAME'"


def in_folder(folder: Path) -> Source:
    """A pipeline's folder with the settings that lie beside it."""
    if not any((folder / name).is_file() for name in ("model_index.json", "config.json")):
        raise LoadError(f"{folder} holds no model_index.json; give the folder that `save_pretrained` wrote")
    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8")) if (folder / SETTINGS).is_file() else {}
    except (ValueError, RecursionError) as error:
        raise LoadError(f"{folder / SETTINGS} is no JSON ({one_line(error)}); mend or remove it") from error
    if not isinstance(settings, dict):
        raise LoadError(f'{folder / SETTINGS} holds no settings; write them as {{"steps": 4}}')
    return Source(str(folder), settings, "float32", "; download or copy the folder again")
