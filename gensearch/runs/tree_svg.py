"""The tree of a search that branched, as a picture: a column for each scored round, a dot for each sample in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from gensearch.core.noise import prompt_of

MOST = 600  # dots
WIDTH, ROW, TOP = 640, 14, 22
TITLE = "Which sample came from which"


def tree(rounds: Sequence[Mapping[str, Any]], best: int, prompt: str) -> str:
    """An SVG of who came from whom, with the way to the winner marked; empty where nothing came from anything.

    Beginnings that nothing came from are grey. Samples of rewritten prompts are listed below it.

    Args:
        rounds: Lines of a journal.
        best: The winner.
        prompt: Of the search.
    """
    if all(parent is None for line in rounds for parent in line["parents"]):
        return ""
    texts = rewritten(rounds, prompt)
    count = sum(len(line["ids"]) for line in rounds)
    if count > MOST:
        return f"<h2>{TITLE}</h2><p>Of {count} samples, more than the {MOST} that are drawn; see rounds.jsonl.</p>"
    tallest = max(len(line["ids"]) for line in rounds)
    height = TOP + ROW * tallest + 24
    parents = {id_: parent for line in rounds for id_, parent in zip(line["ids"], line["parents"], strict=True)}
    scores = {id_: score for line in rounds for id_, score in zip(line["ids"], line["scores"], strict=True)}
    place = {}
    for column, line in enumerate(rounds):
        x = 40 + (WIDTH - 80) * column / max(1, len(rounds) - 1)
        for row, id_ in enumerate(line["ids"]):
            place[id_] = (x, TOP + ROW * tallest * (row + 0.5) / len(line["ids"]))
    won: set[int] = set()
    step: int | None = best
    while step is not None and step not in won:
        won.add(step)
        step = parents.get(step)
    grown = {parent for parent in parents.values() if parent is not None}
    finished = {id_ for line in rounds if line["done"] for id_ in line["ids"]}
    edges = "".join(
        f"<path class='edge{' won' if id_ in won else ''}' d='M{place[parent][0]:.1f} {place[parent][1]:.1f}"
        f"L{place[id_][0]:.1f} {place[id_][1]:.1f}'/>"
        for id_, parent in parents.items()
        if parent in place
    )
    dots = "".join(
        f"<circle{'' if id_ in won or id_ in grown or id_ in finished else ' class=pruned'} r={5 if id_ in won else 3} "
        f"cx={x:.1f} cy={y:.1f}><title>#{id_}: {escape(in_digits(scores[id_]))}"
        f"{f', from: {escape(texts[id_])}' if id_ in texts else ''}</title></circle>"
        for id_, (x, y) in place.items()
    )
    return (
        f"<section><h2>{TITLE}</h2>"
        f"<svg viewBox='0 0 {WIDTH} {height}' role=img aria-label='which sample came from which'>{edges}{dots}"
        f"<text x=40 y=14 text-anchor=middle>first</text><text x={WIDTH - 40} y=14 text-anchor=middle>end</text></svg>"
        f"{wordings(texts)}</section>"
    )


def in_digits(score: float | None) -> str:
    """A score in four digits."""
    return "unscored" if score is None else f"{score:.4g}"


def rewritten(rounds: Sequence[Mapping[str, Any]], prompt: str) -> dict[int, str]:
    """The prompts of the samples that were generated from another one than that of the search, by sample."""
    made = [pair for line in rounds for pair in zip(line["ids"], line["recipes"], strict=True)]
    texts = {id_: prompt_of(recipe, prompt) for id_, recipe in made}
    return {id_: text for id_, text in texts.items() if text != prompt}


def wordings(texts: Mapping[int, str]) -> str:
    """Rewritten prompts with their samples, as a table; empty where there are none."""
    rows = "".join(
        f"<tr><td>{escape(wording)}</td><td>{', '.join(f'#{id_}' for id_, text in texts.items() if text == wording)}"
        "</td></tr>"
        for wording in dict.fromkeys(texts.values())
    )
    return f"<table><thead><tr><th>rewritten prompt</th><th>samples</th></tr></thead>{rows}</table>" if rows else ""
