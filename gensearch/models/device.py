"""Where the networks of a generator lie in memory: on which device, and in which order of channels."""

from __future__ import annotations

from typing import Any

from gensearch.core.errors import one_line


def usable(device: str | None) -> str:
    """A device that works here.

    Args:
        device: "cpu", "cuda" or the like; None for the GPU if there is one.

    Raises:
        ValueError: It cannot be used here.
    """
    import torch

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device!r} cannot be used ({one_line(error)[:80]}); take 'cpu' or 'cuda'") from error
    return device


def last_channels(pipeline: Any) -> None:
    """Let the convolutions of a pipeline's networks keep channels last in memory.

    Args:
        pipeline: Loaded here.
    """
    import torch

    for network in getattr(pipeline, "components", {"model": pipeline}).values():
        if isinstance(network, torch.nn.Module):
            network.to(memory_format=torch.channels_last)
