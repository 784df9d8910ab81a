"""Ends of a search other than a full budget: an exception, or no sample that may win."""

from __future__ import annotations

import traceback
import warnings

from gensearch.core.errors import NothingScored, one_line
from gensearch.core.result import Progress


def nothing_scored(progress: Progress) -> NothingScored:
    """The error for a search none of whose samples may win.

    Args:
        progress: The last that it yielded.
    """
    return NothingScored(
        f"the verifier could score none of {len(progress.lineage)} samples: every finished sample was vetoed or "
        "unscored (NaN or infinite); relax the veto, check the weights of model and verifier, or take another verifier"
    )


def broken_off(last: Progress, error: Exception) -> None:
    """Note in the last progress of a search that an exception ended it, and warn.

    Args:
        last: With the best so far.
        error: What a verifier or a network raised. Its text is kept, not the frames with their tensors.
    """
    last.stopped, last.error = "error", one_line(error)
    last.trace = "".join(traceback.format_exception(error))
    warnings.warn(
        f"the search ended early, and this is the best of {len(last.lineage)} samples: {last.error}", stacklevel=3
    )
