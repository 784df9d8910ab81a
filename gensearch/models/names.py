"""Names of models: what a name, a folder or a pipeline's class refers to, before anything is loaded."""

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
    """A model is missing or incomplete; the message says what to do."""


class Preset(NamedTuple):
    """The recommended settings of a model on the hub.

    Attributes:
        licence: Its name.
        dtype: Of the weights, on a GPU.
        settings: Options of the adapter.
        batch_size: The largest physical batch on a GPU.
    """

    licence: str
    dtype: str
    settings: dict[str, Any]
    batch_size: int | None = None

    def options(self, device: str) -> dict[str, Any]:
        """Settings for a device; on a CPU without the batch size, whose padding would slow down single samples.

        Args:
            device: "cpu", "cuda" or the like.
        """
        batch = {} if self.batch_size is None or device == "cpu" else {"batch_size": self.batch_size}
        return {**batch, **self.settings}


class Source(NamedTuple):
    """Where a model is, and its settings.

    Attributes:
        where: A folder or a name on the hub.
        settings: Options of the adapter.
        dtype: Of the weights, on a GPU.
        hint: The end of the message if it cannot be loaded.
    """

    where: str
    settings: Mapping[str, Any]
    dtype: str
    hint: str


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
    """Settings of the preset or folder that a loaded pipeline came from, but for those of its scheduler.

    Args:
        pipeline: Or any other callable, which has none.
    """
    where = str(getattr(pipeline, "name_or_path", None) or "") if hasattr(pipeline, "components") else ""
    if where and (Path(where) / SETTINGS).is_file():
        settings = in_folder(Path(where)).settings
    else:
        known = presets().get(where)
        settings = known.options(pipeline._execution_device.type) if known else {}
    return {name: value for name, value in settings.items() if name not in OF_OUR_LOOP}


def locate(source: str, device: str) -> Source:
    """Find what a name refers to, without loading it.

    Args:
        source: "shapes/NAME", a folder or "org/name" on the hub.
        device: Where it will run.

    Raises:
        LoadError: It refers to nothing.
    """
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
    """The end of a message about a misspelt name, which may lack its organisation.

    Args:
        source: The name.
        known: Valid names.
    """
    tails = {name.split("/")[1]: name for name in known}
    close = get_close_matches(source.split("/")[-1], tails, 1)
    return f". Did you mean {tails[close[0]]!r}?" if close else ". Give a folder, 'shapes/NAME' or 'organisation/NAME'"


def in_folder(folder: Path) -> Source:
    """A pipeline's folder with the settings of its gensearch.json.

    Args:
        folder: That `save_pretrained` wrote.

    Raises:
        LoadError: It holds no pipeline, or its settings are broken.
    """
    if not any((folder / name).is_file() for name in ("model_index.json", "config.json")):
        raise LoadError(f"{folder} holds no model_index.json; give the folder that `save_pretrained` wrote")
    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8")) if (folder / SETTINGS).is_file() else {}
    except (ValueError, RecursionError) as error:
        raise LoadError(f"{folder / SETTINGS} is no JSON ({one_line(error)}); mend or remove it") from error
    if not isinstance(settings, dict):
        raise LoadError(f'{folder / SETTINGS} holds no settings; write them as {{"steps": 4}}')
    return Source(str(folder), settings, "float32", "; download or copy the folder again")
