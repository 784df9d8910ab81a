"""From functions of the grammar of names, such as "cascade(a,b,keep=4)", to verifiers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from verifiers.calls import Call
from verifiers.combine import Agreement, Cascade, Least, RankVote, Term, Veto, WeightedSum, ZSum
from verifiers.names import split_sum, weighed
from verifiers.tournament.elector import Tournament
from verifiers.types import Verifier


def build(call: Call, name: str, built: Callable[[str], Verifier]) -> Verifier:
    """Build the verifier that a function stands for.

    Args:
        call: the function, as `verifiers.calls.read_call` reads it.
        name: how it is written, which becomes the name of the verifier.
        built: builds the verifiers in its brackets by name.

    Raises:
        ValueError: as the verifier's class.
    """
    settings: dict[str, Any] = call.settings
    if call.form == "zsum":  # spreads are brought to 1, so a weight belongs outside of them
        return ZSum(*(weighted(inner, built) for inner in call.inside), name=name)
    inside = [built(inner) for inner in call.inside]
    if call.form == "z":
        return WeightedSum(Term(inside[0], **settings), name=name)
    if call.form == "min":
        return Least(*map(Term, inside), name=name)
    if call.form == "veto":
        vetoes = ((verifier, *bound) for verifier, bound in zip(inside[1:], call.bounds, strict=True))
        return Veto(inside[0], *vetoes, name=name)
    if call.form == "rank":
        return RankVote(*inside, name=name)
    if call.form == "agree":
        return Agreement(*inside, name=name, **settings)
    cheap, final = inside if len(inside) == 2 else (None, inside[0])
    if call.form == "cascade":
        return Cascade(cheap, final, name=name, **settings)
    return Tournament(cheap, final, format=call.form, name=name, **settings)


def weighted(name: str, built: Callable[[str], Verifier]) -> Term:
    """Return a term of a sum, with its weight outside of the verifier.

    Args:
        name: such as "0.5*a", or a sum, whose weight is 1.
        built: builds a verifier by name.
    """
    terms = split_sum(name)
    item, weight = weighed(terms[0]) if len(terms) == 1 else (name, 1.0)
    return Term(built(item), weight)
