"""Run a single law of a suite."""

from __future__ import annotations

import inspect

import torch


def laws_of(suite):
    return {name.removeprefix("test_") for name in vars(suite) if name.startswith("test_")}


def call(suite, law, known):
    """Run one law on what its arguments name; the caller's gradient mode survives."""
    method = getattr(suite(), f"test_{law}")
    with torch.enable_grad():
        method(**{name: known[name] for name in inspect.signature(method).parameters})
