"""Test-time scaling for image and video generators: spend more compute at inference, get a better picture."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gensearch.packages import __version__, require_own_verifiers

try:
    require_own_verifiers()
except ImportError as error:
    if Path(sys.argv[0]).stem == "gensearch":  # the command says it in one line
        sys.exit(f"error: {error}")
    raise

if TYPE_CHECKING:
    from gensearch.core.ledger import BudgetSpent, Ledger
    from gensearch.engine.run import stream
    from gensearch.models.load import load
    from gensearch.models.names import LoadError
    from gensearch.pipeline import Output, SearchPipeline
    from gensearch.search import SEARCHES

_HOMES = {  # loaded when first asked for, because torch takes seconds to import
    "BudgetSpent": "gensearch.core.ledger",
    "Ledger": "gensearch.core.ledger",
    "LoadError": "gensearch.models.names",
    "Output": "gensearch.pipeline",
    "SEARCHES": "gensearch.search",
    "SearchPipeline": "gensearch.pipeline",
    "load": "gensearch.models.load",
    "stream": "gensearch.engine.run",
}

__all__ = [
    "SEARCHES",
    "BudgetSpent",
    "Ledger",
    "LoadError",
    "Output",
    "SearchPipeline",
    "__version__",
    "load",
    "stream",
]


def __getattr__(name: str) -> Any:
    """A public name, from the module that holds it (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'gensearch' has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)
