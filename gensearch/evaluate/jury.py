"""The exact judge and the hold-outs of an evaluation, which score 8-bit pixels: those of the pictures on disk."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gensearch.core.errors import one_line
from gensearch.core.ledger import Cost, Ledger
from gensearch.core.noise import derive
from gensearch.engine.booked import billed, paid
from gensearch.evaluate.joint import Call, Joint
from gensearch.evaluate.journal import TRIES, Record
from gensearch.evaluate.made import Made
from gensearch.models.fingerprint import verifier_hashes
from gensearch.runs.records import number
from verifiers.types import Scores, Verifier

ROWS = 64  # samples that a verifier without batches of its own is given at once
Judged = tuple[Record, list[dict[str, Any]]]  # the finished record, and its candidates


class Jury:
    """Scores what was generated, outside the clock and the ledger.

    Args:
        judge: The exact judge, whose verdict is the metric.
        holdout: Verifiers that only report, by the names that records give them.
    """

    def __init__(self, judge: Verifier, holdout: Mapping[str, Verifier]) -> None:
        self.judge, self.holdout = judge, holdout
        known = [judge.name, sorted(holdout), sorted(verifier_hashes(judge, *holdout.values()).items())]
        self.identity = f"{derive(str(known)):014x}"
        self._joint = Joint()

    def __call__(self, block: Sequence[Made]) -> list[Judged]:
        """The records of a block with their verdicts; of a trial that cannot be judged, its error.

        Args:
            block: Trials of one method.

        Raises:
            ValueError: A judge changed since they were generated.
        """
        good = [made for made in block if "error" not in made.record]
        if any(made.record["jury"] != self.identity for made in good):
            raise ValueError("a judge or hold-out changed since pictures that wait for it; take another --out")
        asides = [Ledger() for _ in good]
        columns = {name: self._reported(verifier, good, asides) for name, verifier in self.holdout.items()}
        verdicts = self._scores(self.judge, good)
        found = []
        for row, made in enumerate(good):
            answers = {name: scores[row] for name, scores in columns.items()}
            wrong = [a for a in (verdicts[row], *answers.values()) if isinstance(a, Exception)]
            made.record["aside"] = asides[row].spent._asdict()
            found.append(unjudged(made.record, wrong[0]) if wrong else judged(made, verdicts[row], answers))
        return [(made.record, []) for made in block if "error" in made.record] + found

    def _reported(self, verifier: Verifier, block: Sequence[Made], asides: Sequence[Ledger]) -> list[Any]:
        for made, aside in zip(block, asides, strict=True):
            aside.charge(Cost(scored=len(made.pixels)))
        if not paid(verifier):
            return self._scores(verifier, block)
        answers = []
        for made, aside in zip(block, asides, strict=True):  # one by one, so that each has its own bill
            with billed(verifier, aside):
                answers += self._scores(verifier, [made])
        return answers

    def _scores(self, verifier: Verifier, block: Sequence[Made]) -> list[Any]:
        most = getattr(verifier, "batch_size", None) or ROWS

        def ask(made: Sequence[Made]) -> list[Any]:
            rows = [(m.media, [m.record["text"]] * len(m.pixels)) for m in made]
            calls = [Call(verifier, "score", each, most, 1.0, False) for each in rows]
            return [answer for answer, _ in self._joint.run(calls)]

        answers = ask(block)
        for row, made in enumerate(block):
            for _ in range(TRIES - 1):
                if isinstance(answers[row], Exception):
                    answers[row] = ask([made])[0]
        return answers


def judged(made: Made, verdict: Scores, report: Mapping[str, Scores]) -> Judged:
    """A record with its verdicts, and those of its candidates.

    Args:
        made: What was judged.
        verdict: The exact judge's, of the winner, the plain sample, and each candidate.
        report: The same of each hold-out.
    """

    def total(scores: Scores, row: int) -> float | None:
        return number(math.nan if row in made.broken else float(scores.total[row]))

    def of(row: int) -> dict[str, Any]:
        parts = {name: number(float(values[row])) for name, values in verdict.parts.items()}
        holdout = {name: total(scores, row) for name, scores in report.items()}
        return {"judge": total(verdict, row), **({"parts": parts} if parts else {}), "holdout": holdout}

    record = {**made.record, **of(0), "base": of(1)}
    candidates = record.pop("candidates", [])
    for row, candidate in enumerate(candidates, 2):
        nfe = candidate.pop("nfe")
        seen = of(row)
        candidate |= {"judge": seen["judge"], "holdout": seen["holdout"], "nfe": nfe}
    return record, candidates


def unjudged(record: Record, error: Exception) -> Judged:
    """The failure of a trial that was generated and could not be judged.

    Args:
        record: Of the trial.
        error: What the judge raised.
    """
    about = {name: record[name] for name in ("method", "prompt", "seed", "tag", "text")}
    return {**about, "error": f"not judged: {one_line(error)}", "tries": TRIES}, []
