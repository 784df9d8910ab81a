"""Silence the libraries that load models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from warnings import catch_warnings, simplefilter


@contextmanager
def quiet() -> Iterator[None]:
    """Keep diffusers and transformers from showing progress bars and logging errors that we report ourselves."""
    import diffusers
    import transformers

    loud = (diffusers.utils.logging, transformers.utils.logging)
    before = [(logging, logging.get_verbosity(), logging.is_progress_bar_enabled()) for logging in loud]
    for logging in loud:
        logging.set_verbosity(logging.CRITICAL)
        logging.disable_progress_bar()
    try:
        with catch_warnings():
            simplefilter("ignore", FutureWarning)
            yield
    finally:
        for logging, level, bars in before:
            logging.set_verbosity(level)
            if bars:
                logging.enable_progress_bar()
