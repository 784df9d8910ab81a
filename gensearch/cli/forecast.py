"""What `gensearch evaluate --dry-run` prints beside the plan: calls, disk, GPU-hours, and what it can detect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gensearch.evaluate.plan import Plan

if TYPE_CHECKING:
    from gensearch.evaluate.bench import Benchmark


def show_forecast(plan: Plan, benchmark: Benchmark, gpu: str | None, share: float, variance: Path | None) -> None:
    """Print the forecast of a plan, a line for each figure.

    Args:
        plan: Methods, prompts and seeds.
        benchmark: Where the prompts come from.
        gpu: A GPU by name, or None for no hours.
        share: Of its peak that is reached, above 0 and at most 1.
        variance: The folder of an earlier run; None for the worst case.

    Raises:
        ValueError: The GPU is unknown, the share out of range, or the folder holds no evaluation of two methods.
    """
    from rich.console import Console

    from gensearch.evaluate.forecast import forecast

    console = Console(markup=False, emoji=False)  # names are taken literally
    for line in forecast(plan, benchmark, gpu, share, variance.expanduser() if variance else None):
        console.print(line, soft_wrap=True)
