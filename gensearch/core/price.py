"""The cost of one sample, known before anything is spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

from gensearch.core.ledger import Cost
from gensearch.core.noise import gaussian
from gensearch.core.types import Model, Proposal
from verifiers.combine import Elector, judges, leaves
from verifiers.types import Verifier


def price(model: Model, *verifiers: Verifier, propose: Proposal = gaussian) -> Cost:
    """The cost of one sample: its noise, its network steps, its decoding and its scores.

    For autoregressive image models, whose plans vary in length, it is an upper bound.

    Args:
        model: The generator.
        verifiers: That score the sample; one score if none are given.
        propose: Where its noise comes from.
    """
    scored = sum(map(scorings, verifiers)) if verifiers else 1
    steps = reduce(Cost.plus, step_costs(model))
    charged = reduce(Cost.plus, map(charges, verifiers), Cost())
    return steps.plus(Cost(decoded=1, scored=scored)).plus(fee(propose)).plus(charged)


def charges(verifier: Verifier) -> Cost:
    """The most that remote models can charge for scoring one sample: the sum of `fee` over what a verifier consists of.

    A verifier may say so itself by an attribute `charges`: a guide does, to include those of the selector.

    Args:
        verifier: Single or combined.
    """
    own: Cost | None = getattr(verifier, "charges", None)
    inside: list[Any] = [inner for leaf in leaves(verifier) for inner in judges(leaf) if hasattr(inner, "fee")]
    return reduce(Cost.plus, [columns(each, "fee", each.fee) for each in inside], Cost()) if own is None else own


def columns(verifier: Verifier, what: str, counts: Any) -> Cost:
    """What a verifier charges, as a cost.

    Args:
        verifier: Which it is, for the error.
        what: "fee" or "bill".
        counts: Columns of a ledger by name, whole numbers of 0 or more.

    Raises:
        ValueError: It is none of that.
    """
    known = isinstance(counts, Mapping) and counts.keys() <= set(Cost._fields)
    if not known or not all(isinstance(count, int) and count >= 0 for count in counts.values()):
        raise ValueError(
            f"the {what} of the verifier {verifier.name} is {counts!r}; give whole numbers of 0 or more by columns of "
            "the ledger, such as {'critic_tokens': 107, 'microdollars': 270}"
        )
    return Cost(**counts)


def scorings(verifier: Verifier) -> int:
    """Scores that one finished sample takes: one by each single verifier inside a sum.

    A verifier may say so itself by an attribute `looks`: a guide does, to include the scores of the selector.

    Args:
        verifier: Single or combined.
    """
    return getattr(verifier, "looks", None) or len(leaves(verifier))


def election(verifier: Verifier, finalists: int | None = None) -> Cost:
    """What a selector spends on an election at the end of a search, beyond the scores of each sample.

    Args:
        verifier: The selector; nothing for one that does not elect, or elects without further calls.
        finalists: How many there are; None for the most.
    """
    if not isinstance(verifier, Elector) or verifier.final is None:
        return Cost()
    calls = verifier.calls(verifier.keep if finalists is None else finalists)
    charged = (comparison if verifier.compares else charges)(verifier.final)
    return Cost(scored=calls * len(leaves(verifier.final))).plus(charged.times(calls))


def comparison(comparer: Verifier) -> Cost:
    """The most that remote models can charge for one ordered pair: two pictures are shown.

    Args:
        comparer: Single.
    """
    return charges(comparer).times(2)


def decoder_batch(model: Model) -> int:
    """The largest physical batch of a model's decoder: its attribute `decoder_batch`, or else its `batch_size`."""
    return int(getattr(model, "decoder_batch", model.batch_size))


def step_costs(model: Model) -> Sequence[Cost]:
    """The most that one sample costs in each step: the model's `step_costs`, or else `nfe_per_step` in all of them."""
    return getattr(model, "step_costs", (Cost(nfe=model.nfe_per_step),) * model.num_steps)


def fee(propose: Proposal) -> Cost:
    """The cost of a proposal's own networks per sample: its attribute `cost`, or else nothing."""
    return getattr(propose, "cost", Cost())
