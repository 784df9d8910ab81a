"""Reflection: rewrite the prompt by what the best picture so far lacks, and search on around its noise."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import Annotated

import torch
from pydantic import Field, PositiveInt

from gensearch.core.ledger import Cost, Ledger
from gensearch.core.limits import check_prompt
from gensearch.core.noise import Rng, described, gaussian, nearby, randn, with_prompt
from gensearch.core.price import price
from gensearch.core.sampling import attempt
from gensearch.core.types import Model, Proposal, Recipe, Round
from gensearch.search.knobs import Count
from gensearch.search.noise.rewriters import Rewriter, rewriter
from verifiers.combine import leaves
from verifiers.types import Scores, Verifier

log = logging.getLogger(__name__)


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
    recipe: Recipe
    failed: list[str]
    drawn, stale, best, text = 0, patience, float("-inf"), prompt  # stale from the start: fresh noise comes first
    unit = price(model, verifier, propose=propose)
    for _ in ledger.rounds(rounds, unit):
        wish = reworded(write, ledger, prompt, text, failed) if not stale and failed else text
        size, moved = int(min(width, ledger.affords(unit))), int(wish != text)
        if not size:  # rewriting took what was left
            return
        seeds = rng.seeds(size - moved)
        if stale >= patience:
            noise, parent = propose(model, [text] * size, seeds), None
            moves = described(propose, noise, seeds)
        else:  # the best noise itself under a new prompt, and its neighbours
            noise = torch.cat([pivot] * moved + [nearby(pivot, randn([s], model.noise_shape), cosine) for s in seeds])
            moves, parent = (recipe,) * moved + tuple((*recipe, ("nearby", s, cosine)) for s in seeds), home
        recipes = [with_prompt(own, wish, prompt) for own in moves]
        ids = range(drawn, drawn + size)
        round = attempt(model, verifier, prompt, noise, recipes, ids, [parent] * size)
        yield round
        drawn, stale = drawn + size, stale + 1
        top = int(round.scores.total.argmax())
        if (score := float(round.scores.total[top])) > best:
            pivot, recipe, home, best, text, stale = noise[[top]], moves[top], ids[top], score, wish, 0
            failed = failures(round.scores, top, [leaf.name for leaf in single])


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
