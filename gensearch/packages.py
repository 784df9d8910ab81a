"""The version, where the files of this distribution are, and whether its `verifiers` is the one on the path."""

from __future__ import annotations

from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

__version__ = "0.1.0"

MARKER = "GENSEARCH_VERIFIERS"


def require_own_verifiers() -> None:
    """Raise ImportError if another project's `verifiers` comes first on the path.

    Reads the package's source for our marker and does not import it, since importing ours loads torch.
    """
    spec = find_spec("verifiers")
    origin = spec.origin if spec else None
    if origin is None or MARKER.encode() not in Path(origin).read_bytes():
        raise ImportError(
            f"gensearch needs the `verifiers` package that it ships with, but Python finds {origin or 'none'}. "
            "Another project has the same name: run `pip uninstall verifiers` and install gensearch again, "
            "or use a separate environment."
        )


def configs() -> Path:
    """The folder of presets: inside the package when installed from a wheel, beside it in a checkout."""
    package = Path(str(files("gensearch")))
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"
