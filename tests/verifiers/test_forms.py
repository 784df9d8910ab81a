"""Functions of names become the verifiers that they say."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gensearch import registry
from verifiers.combine import Agreement, Cascade, Least, RankVote, Veto, WeightedSum, ZSum
from verifiers.tournament.elector import Tournament
from verifiers.types import Verifier


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("z(redness,shift=0.5,scale=0.1)", WeightedSum),
        ("min(redness,random)", Least),
        ("veto(redness,random>=0.5)", Veto),
        ("rank(redness,random)", RankVote),
        ("zsum(redness,0.5*random)", ZSum),
        ("agree(redness,random,doubt=2)", Agreement),
        ("cascade(redness,random,keep=3)", Cascade),
        ("cascade(random)", Cascade),
        ("knockout(redness,random,keep=3,samples=2,tie=0.1)", Tournament),
        ("swiss(random,rounds=2)", Tournament),
        ("roundrobin(random)", Tournament),
    ],
)
def test_each_function_builds_its_class_under_its_own_name(name, kind):
    found = registry.verifier(name)
    assert type(found) is kind
    assert found.name == name


def built(name: str) -> Any:
    """A verifier by name, of any class."""
    return registry.verifier(name)


def test_settings_weights_and_nesting_arrive():
    loaded: dict[str, Verifier] = {}
    found = registry.verifier("cascade(veto(redness,random>=0.5),2*min(redness,random),keep=3)", loaded=loaded)
    assert isinstance(found, Cascade)
    assert found.keep == 3
    assert set(loaded) == {"redness", "random"}
    assert built("agree(redness,random,doubt=2)").doubt == 2
    assert built("zsum(redness,0.5*random)").weights.tolist() == [1, 0.5]
    assert [term.verifier.name for term in built("zsum(redness,0.5*random)").terms] == ["redness", "random"]
    tournament = built("swiss(redness,random,keep=5,rounds=2,samples=3,tie=0.1)")
    assert (tournament.keep, tournament.rounds) == (5, 2)
    assert (tournament.settings["samples"], tournament.settings["tie"]) == (3, 0.1)
    assert [term.verifier.name for term in tournament.terms] == ["redness"]
    assert built("knockout(random)").terms == ()


def test_pointwise_functions_score_what_they_say():
    media = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    red, dice = (registry.verifier(name)(media, ["a"] * 5).total.double() for name in ("redness", "random"))
    found = registry.verifier("2*min(z(redness,shift=0.5,scale=0.1),random)+0.5*random")(
        media, ["a"] * 5
    ).total.double()
    assert torch.allclose(found, 2 * torch.minimum((red - 0.5) / 0.1, dice) + 0.5 * dice)
    vetoed = registry.verifier("veto(redness,random>=0.5)")(media, ["a"] * 5).total.double()
    assert torch.equal(vetoed, torch.where(dice >= 0.5, red, -torch.inf))
