"""What adapters ask of the pipeline that they wrap."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch

from gensearch.models.fingerprint import component_hashes


class Wrapped:
    """A diffusers pipeline, or None, behind an adapter: what takes it long to tell is asked once.

    Wrap the pipeline again after moving it or changing its networks.
    """

    pipeline: Any

    @cached_property
    def device(self) -> torch.device:
        """Where the networks run; a pipeline walks through all its modules to tell."""
        return getattr(self.pipeline, "_execution_device", torch.device("cpu"))

    @cached_property
    def _hashes(self) -> dict[str, str]:
        return {} if self.pipeline is None else component_hashes(self.pipeline)
