"""Configs and presets: small YAML files as plain data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gensearch.core.errors import nearest
from gensearch.core.limits import MAX_CONFIG_BYTES
from gensearch.packages import configs
from verifiers.yaml import parse_yaml


def read_preset(name: str, folder: Path | None = None) -> dict[str, Any]:
    """A YAML file by path, or a preset by name, as a mapping.

    Args:
        name: The path of a file, or a preset's name.
        folder: Where presets are; None: `configs/`.

    Raises:
        ValueError: There is none, or it is no YAML mapping of at most 100,000 bytes.
    """
    folder = folder or configs()
    try:
        path = Path(name) if Path(name).is_file() else folder / f"{Path(name).name}.yaml"
        if not path.is_file():
            raise ValueError(f"no file and no preset is called {name!r}{nearest(name, presets(folder))}")
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ValueError(f"{path} has {path.stat().st_size} bytes; a config has at most {MAX_CONFIG_BYTES}")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"cannot read the config {name[:160]!r} ({error.strerror}); give a YAML file") from error
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file; a config is YAML in UTF-8") from None
    data = parse_yaml(text, str(path))
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise ValueError(f"{path} holds no mapping; write lines such as `compute: 16`")
    return data


def presets(folder: Path | None = None) -> list[str]:
    """Names of the presets in a folder; None: `configs/`."""
    return sorted(path.stem for path in (folder or configs()).glob("*.yaml"))
