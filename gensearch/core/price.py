"""What one sample of a model costs, before anything is spent."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from gensearch.core.ledger import Cost
from gensearch.core.noise import gaussian
from gensearch.core.types import Model, Proposal
from verifiers.combine import leaves
from verifiers.types import Verifier


def price(model: Model, *verifiers: Verifier, propose: Proposal = gaussian) -> Cost:
    """What one sample of proposed noise costs, asked of each single judge of some verifiers, or of one by default.

    For token models, whose plans end when they like, at most so much.
    """
    scored = sum(map(looks, verifiers)) if verifiers else 1
    steps = reduce(Cost.plus, step_costs(model))
    return steps.plus(Cost(decoded=1, scored=scored)).plus(fee(propose))


def looks(verifier: Verifier) -> int:
    """Scores that one finished sample takes: of each single judge, and for a guide also of those that select."""
    return getattr(verifier, "looks", None) or len(leaves(verifier))


def decoder_batch(model: Model) -> int:
    """The largest physical batch of a model's decoder: that of its networks unless it says otherwise."""
    return int(getattr(model, "decoder_batch", model.batch_size))


def step_costs(model: Model) -> Sequence[Cost]:
    """At most what one sample costs in each step: the same for all of them, but for token models."""
    return getattr(model, "step_costs", (Cost(nfe=model.nfe_per_step),) * model.num_steps)


def fee(propose: Proposal) -> Cost:
    """What a proposal takes for one sample: its `cost`, and nothing if it has none."""
    return getattr(propose, "cost", Cost())
