"""Reflection: rewrite the prompt by what the best picture so far lacks, and search on around its noise."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import Annotated, NamedTuple

import torch
from pydantic import Field, PositiveInt

from gensearch.core.ledger import Cost, Ledger
from gensearch.core.limits import check_prompt
from gensearch.core.noise import Rng, described, gaussian, nearby, randn, with_prompt
from gensearch.core.price import price
from gensearch.core.sampling import attempt
from gensearch.core.types import Model, Noise, Proposal, Recipe, Round
from gensearch.search.knobs import Count
from gensearch.search.noise.rewriters import Rewriter, rewriter
from verifiers.combine import leaves
from verifiers.types import Scores, Verifier

log = logging.getLogger(__name__)


class Best(NamedTuple):
    """The best sample so far.

    Attributes:
        id: Of the sample.
        score: Of it.
        noise: [1, *shape].
        moves: That reproduce the noise.
        text: The prompt that it was generated from.
        failed: The questions that it fails.
    """

    id: int
    score: float
    noise: Noise
    moves: Recipe
    text: str
    failed: list[str]


def reflect(
    model: Model,
    verifier: Verifier,
    prompt: str,
    *,
    rng: Rng,
    ledger: Ledger,
    rounds: Count = None,
    width: PositiveInt = 4,
    cosine: Annotated[float, Field(gt=-1, lt=1)] = 0.8,
    patience: PositiveInt = 2,
    rewrite: str | Callable[..., str] = "emphasis",
    propose: Proposal = gaussian,
) -> Iterator[Round]:
    """Rewrite the prompt by what the best sample so far fails, and score neighbours of its noise under the new prompt.

    Source: ReflectionFlow, Zhuo et al. 2025, arXiv:2504.16080, without its corrector network.

    Every sample is scored against the original prompt. A verifier names what a sample fails by the parts of its scores
    that are questions, as `Decomposed` does; with any other, nothing is rewritten.

    Args:
        rounds: number of rounds; integer above 0 (default None: until the budget is spent)
        width: samples per round; integer above 0 (default 4)
        cosine: cosine of the angle between the best noise and a neighbour; number above -1 and below 1 (default 0.8)
        patience: rounds without an improvement before fresh noise is drawn; integer above 0 (default 2)
        rewrite: emphasis, critic:FILE.yaml for a language model, or a rewriter; text or function (default emphasis)
        propose: makes fresh noise (default gaussian)
    """
    write, single = rewriter(rewrite), leaves(verifier)
    if not any(hasattr(leaf, "split") for leaf in single):
        log.warning("%s asks no questions, so reflect rewrites no prompt; take a verifier that does", verifier.name)
    best: Best | None = None
    drawn, stale, unit = 0, 0, price(model, verifier, propose=propose)
    for _ in ledger.rounds(rounds, unit):
        text = best.text if best else prompt
        wish = reworded(write, ledger, prompt, text, best.failed) if best and best.failed and not stale else text
        size = int(min(width, ledger.affords(unit)))
        if not size:  # rewriting took what was left
            return
        if best is None or stale >= patience:
            seeds, parent = rng.seeds(size), None
            noise = propose(model, [text] * size, seeds)
            moves = described(propose, noise, seeds)
        else:  # under a new prompt also the best noise itself
            same = [best.noise] * (wish != text)
            seeds, parent = rng.seeds(size - len(same)), best.id
            noise = torch.cat(same + [nearby(best.noise, randn([s], model.noise_shape), cosine) for s in seeds])
            moves = (best.moves,) * len(same) + tuple((*best.moves, ("nearby", s, cosine)) for s in seeds)
        recipes, ids = [with_prompt(own, wish, prompt) for own in moves], range(drawn, drawn + size)
        round = attempt(model, verifier, prompt, noise, recipes, ids, [parent] * size)
        yield round
        drawn, stale = drawn + size, stale + 1
        top = int(round.scores.total.argmax())
        score = float(round.scores.total[top])
        if best is None or score > best.score:
            failed = failures(round.scores, top, [leaf.name for leaf in single])
            best, stale = Best(ids[top], score, noise[[top]], moves[top], wish, failed), 0


def reworded(write: Rewriter, ledger: Ledger, prompt: str, text: str, failed: Sequence[str]) -> str:
    """Another wording of the prompt, paid for; the last one if there is no other or the ledger cannot pay.

    Args:
        write: The rewriter.
        ledger: Pays for it.
        prompt: Of the search.
        text: The last wording.
        failed: Questions that its best picture fails.

    Raises:
        ValueError: The new wording is no prompt.
    """
    if ledger.affords(Cost(**getattr(write, "fee", {}))) < 1:
        return text
    getattr(write, "bill", dict)()  # what was spent before
    try:
        wish = write(prompt, text, failed)
    finally:
        ledger.charge(Cost(**getattr(write, "bill", dict)()))
    check_prompt(wish, "the rewritten prompt")
    return wish


def failures(scores: Scores, row: int, names: Sequence[str]) -> list[str]:
    """The questions whose answer for one sample is rather no than yes.

    Args:
        scores: Whose parts are P(yes), for those that are questions.
        row: The sample.
        names: Of the verifiers in a sum, which stand before their questions there.
    """
    failed = [part for part, chances in scores.parts.items() if part.endswith("?") and float(chances[row]) < 0.5]
    prefixes = [f"{name}/" for name in names]
    return [reduce(str.removeprefix, prefixes, part) for part in failed]
