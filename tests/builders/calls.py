"""How often modules ran."""

from __future__ import annotations

from torch import nn


class Calls:
    """How often some modules ran."""

    def __init__(self, **modules: nn.Module) -> None:
        self.seen = dict.fromkeys(modules, 0)
        for name, module in modules.items():
            module.register_forward_pre_hook(lambda *_, name=name: self.count(name))

    def count(self, name: str) -> None:
        self.seen[name] += 1
