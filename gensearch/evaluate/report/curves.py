"""What a report shows over the number of samples: over-optimisation, and other ways to select."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gensearch.evaluate.bootstrap import Interval
from gensearch.evaluate.candidates import GUIDE, JUDGE, Candidates
from gensearch.evaluate.offline import curve, policies
from gensearch.evaluate.report.analyse import Analysis
from gensearch.evaluate.table import GUIDE as GUIDED

Curve = dict[int, Interval]


class Replayed(NamedTuple):
    """What the stored candidates of one method tell.

    Attributes:
        method: Its name.
        guided: Score -> its curve under best-of-n by the guide, in standard deviations within a prompt.
        judged: Policy -> the curve of the exact judge's verdict.
        trials: Whose candidates were stored.
    """

    method: str
    guided: dict[str, Curve]
    judged: dict[str, Curve]
    trials: int


def replayed(found: Analysis, extra: Sequence[str] = ()) -> list[Replayed]:
    """Replay the methods whose independent candidates were stored: best-of-n for every n, votes, cascades, controls.

    Args:
        found: The numbers of the report, whose records name the tag of each prompt.
        extra: Policies beside the usual ones, as `gensearch.evaluate.offline.replay` takes them.

    Raises:
        ValueError: A policy names a score that was not stored.
    """
    tags = {record["prompt"]: record["tag"] for record in found.merged.records}
    by_method: dict[str, list[Candidates]] = {}
    for one in found.merged.candidates:
        by_method.setdefault(one.method, []).append(one)
    result = []
    for method, given in by_method.items():
        if len(given[0].nfe) < 2 or not all(one.independent for one in given):
            continue
        of = [tags[one.prompt] for one in given]
        names = [name for name in given[0].scores if name != JUDGE]
        guided = {name: curve(given, of, GUIDE, name, standard=True) for name in names}
        wanted = dict.fromkeys([*policies(list(given[0].scores)), *extra])
        judged = {policy: curve(given, of, policy, JUDGE) for policy in wanted}
        result.append(Replayed(method, {name: each for name, each in guided.items() if each}, judged, len(given)))
    return result


def ladders(found: Analysis) -> dict[str, dict[str, Curve]]:
    """Methods that differ by their budget only, three or more: their scores over the budget.

    Args:
        found: The numbers of the report.

    Returns:
        Name of the method with the largest budget -> score -> budget in samples -> mean, without limits.
    """
    rungs: dict[str, dict[int, str]] = {}
    for method in found.merged.plan.methods:
        if found.summary["methods"][method.name]["oracle"]:
            continue  # the judge guides: there is nothing to over-optimise
        if method.compute is not None and method.compute == int(method.compute):
            alike = method.model_dump_json(exclude={"name": True, "compute": True, "options": {"batch_size"}})
            rungs.setdefault(alike, {})[int(method.compute)] = method.name
    result = {}
    for steps in rungs.values():
        if len(steps) < 3:
            continue
        curves: dict[str, Curve] = {}
        for n, name in sorted(steps.items()):
            for score, value in found.summary["methods"][name]["scores"].items():
                if value["overall"] is not None:
                    title = {found.merged.judge: JUDGE, GUIDED: GUIDE}.get(score, score)
                    curves.setdefault(title, {})[n] = Interval(value["overall"], float("nan"), float("nan"))
        result[steps[max(steps)]] = curves
    return result


def falling(curves: Mapping[str, Curve]) -> list[str]:
    """Scores that end below their best although the guide rises, a sentence each; limits must not overlap.

    Args:
        curves: Score -> its curve under best-of-n by the guide.
    """
    said = []
    for name, each in curves.items():
        if name == GUIDE:
            continue
        last, best = max(each), max(each, key=lambda n: each[n].mean)
        if best < last and each[best].low > each[last].high:
            said.append(
                f"{name} falls from {each[best].mean:.3f} at n = {best} to {each[last].mean:.3f} at n = {last} while "
                "the guide rises: the guide is over-optimised."
            )
    return said
