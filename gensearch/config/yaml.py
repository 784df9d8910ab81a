"""YAML as plain data: small files, no key twice, floats as in YAML 1.2."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from gensearch.core.errors import nearest
from gensearch.core.limits import MAX_CONFIG_BYTES
from gensearch.packages import configs


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


class Loader(yaml.SafeLoader):
    """Plain data only, with the floats of YAML 1.2: 1e2 is a number. A key that is there twice is a mistake."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """A mapping; raises ConstructorError for a key that is there twice."""
        keys = [key for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
        seen: set[str] = set()
        for key in filter(lambda key: isinstance(key, yaml.ScalarNode), keys):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is there twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"), list("-+.0123456789")
)


def parse_yaml(text: str, where: str) -> Any:
    """YAML as plain data.

    Args:
        text: The YAML.
        where: What errors call it.

    Raises:
        ValueError: It cannot be read, or a key is there twice; with the place.
    """
    try:
        return yaml.load(text, Loader)  # a SafeLoader
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: an impossible date, a huge integer
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        said = str(error).partition(";")[0] if type(error) is ValueError else ""
        problem = getattr(error, "problem", None) or said or "it cannot be read"
        raise ValueError(f"bad YAML in {where[:160]}{place}: {problem}") from None
