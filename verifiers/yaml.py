"""YAML as plain data: no key twice, no copies of whole collections, floats as in YAML 1.2."""

from __future__ import annotations

import re
from typing import Any

import yaml


class Loader(yaml.SafeLoader):
    """Plain data only, with the floats of YAML 1.2: 1e2 is a number. A key that is there twice is a mistake.

    An alias may stand for a single value only: aliases of lists of aliases grow without bound.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        """A node; raises ComposerError for an alias of a list or mapping."""
        aliased = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        if aliased and isinstance(node, yaml.CollectionNode):
            what = "an alias of a list or mapping; write it out"
            raise yaml.composer.ComposerError(None, None, what, node.start_mark)
        return node

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
    """Return YAML as plain data.

    Args:
        text: the YAML.
        where: what errors call it.

    Raises:
        ValueError: it cannot be read, a key is there twice, or an alias stands for a collection; with the place.
    """
    try:
        return yaml.load(text, Loader)  # a SafeLoader
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: an impossible date, a huge integer
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        said = str(error).partition(";")[0] if type(error) is ValueError else ""
        problem = getattr(error, "problem", None) or said or "it cannot be read"
        raise ValueError(f"bad YAML in {where[:160]}{place}: {problem}") from None
