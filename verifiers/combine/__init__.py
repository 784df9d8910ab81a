"""Several verifiers as one: to search with, to elect a winner with, and by role."""

from verifiers.combine.agree import Agreement
from verifiers.combine.cascade import Cascade
from verifiers.combine.elector import Elected, Elector, Pool, first_best
from verifiers.combine.inside import (
    combined,
    elects,
    equal,
    judges,
    leaf_names,
    leaves,
    overlap,
    same_network,
    with_leaves,
)
from verifiers.combine.lenient import Lenient
from verifiers.combine.panel import Panel
from verifiers.combine.rank import RankVote, rank_vote
from verifiers.combine.rephrased import Rephrased
from verifiers.combine.sums import Least, Term, Veto, WeightedSum
from verifiers.combine.zscore import ZSum, z_scores

__all__ = [
    "Agreement",
    "Cascade",
    "Elected",
    "Elector",
    "Least",
    "Lenient",
    "Panel",
    "Pool",
    "RankVote",
    "Rephrased",
    "Term",
    "Veto",
    "WeightedSum",
    "ZSum",
    "combined",
    "elects",
    "equal",
    "first_best",
    "judges",
    "leaf_names",
    "leaves",
    "overlap",
    "rank_vote",
    "same_network",
    "with_leaves",
    "z_scores",
]
