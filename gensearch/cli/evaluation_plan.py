"""What `gensearch evaluate --dry-run` prints: the plan of an evaluation and its cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gensearch.evaluate.plan import Plan, at_hand

if TYPE_CHECKING:
    from gensearch.evaluate.bench import Benchmark


def show_plan(plan: Plan, benchmark: Benchmark) -> None:
    """Print what would run and what it would cost; of generators, only those that are at hand are loaded.

    Args:
        plan: Methods, prompts and seeds.
        benchmark: Where the prompts come from.

    Raises:
        ValueError: A method names a search that does not exist, or options that its model does not know.
    """
    from rich.console import Console
    from rich.table import Table

    from gensearch import registry
    from gensearch.engine.job import budget

    pairs = plan.pairs(benchmark.lines(plan.prompts))
    header = ("method", "model", "search", "guide", "selector", "budget in samples")
    budgets = {
        method.name: budget(registry.search(method.search), method.compute, method.knobs) for method in plan.methods
    }
    rows = []
    for method in plan.methods:
        each = budgets[method.name]
        cost = f"{each:g} x {pairs} = {each * pairs:g}" if each else "set by its knobs"
        rows.append((method.name, method.model, method.search, method.verifier, method.select or "guide", cost))
    constant = [column for column in (1, 4) if len({row[column] for row in rows}) == 1]
    kept = [column for column in range(len(header)) if column not in constant]
    table = Table(show_edge=False)
    for column in kept:
        table.add_column(header[column], no_wrap=column == 0, overflow="fold")  # nothing is cut, names stay whole
    for row in rows:
        table.add_row(*(row[column] for column in kept))
    console = Console(markup=False, emoji=False)  # names are taken literally
    console.print(table)
    for column in constant:
        console.print(f"{header[column]} of every method: {rows[0][column]}", soft_wrap=True)
    console.print(
        f"{benchmark.name}: {pairs} pairs of prompt and seed; hold-outs: {', '.join(plan.holdout) or 'none'}.",
        soft_wrap=True,
    )
    console.print(f"total: {total_cost(plan, benchmark, budgets, pairs)}", soft_wrap=True)
    for line in critics(plan, benchmark):
        console.print(line, soft_wrap=True)


def critics(plan: Plan, benchmark: Benchmark) -> list[str]:
    """The cost of remote critics in lines of words, none without any; no request is sent.

    Args:
        plan: The methods and hold-outs.
        benchmark: What loads their models.
    """
    from gensearch.evaluate.fees import fees
    from gensearch.runs.format import charged

    found = fees(plan, benchmark)
    lines = []
    if paid := charged(found.search._asdict()):
        lines.append(f"critics: at most {found.search.scored:,} scores, {paid}, with three tries for each answer")
    if found.unknown:
        lines.append(f"critics: without {', '.join(found.unknown)}, whose generators are not loaded here")
    if paid := charged(found.aside._asdict()):
        lines.append(f"hold-outs: at most {found.aside.scored:,} scores, {paid}, beside the budget")
    return lines


def total_cost(plan: Plan, benchmark: Benchmark, budgets: Mapping[str, float | None], pairs: int) -> str:
    """The cost of all methods together, in words.

    Args:
        plan: The methods.
        benchmark: What loads their models.
        budgets: What each method may spend on one pair, in multiples of one sample's cost; None if its knobs decide.
        pairs: Pairs of prompt and seed, 1 or more.
    """
    from gensearch.core.price import price
    from gensearch.evaluate.bench import once

    model = once(benchmark.model)
    counted, open_ended, elsewhere = Counter[str](), [], set()
    for method in plan.methods:
        each = budgets[method.name]
        if each is None:
            open_ended.append(method.name)
        elif not at_hand(method):  # a dry run downloads nothing
            elsewhere.add(method.model)
        else:
            unit = price(model(method.model, **method.options))
            counted["tokens" if unit.tokens else "NFE"] += int(each * unit.work) * pairs
    parts = [f"at most {' and '.join(f'{value:,} {unit}' for unit, value in counted.items())}"] if counted else []
    parts += [f"without {', '.join(open_ended)}, whose knobs set the cost"] if open_ended else []
    parts += [f"without what runs on {', '.join(sorted(elsewhere))}, which is not loaded here"] if elsewhere else []
    return "; ".join(parts)
