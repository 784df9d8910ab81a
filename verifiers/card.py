"""What a verifier is: checkpoint, licence, input, range and price, declared beside its code; text only, no torch."""

from __future__ import annotations

from typing import NamedTuple


class Card(NamedTuple):
    """What a user should know of a verifier before using it.

    Attributes:
        checkpoint: name of the weights on the hub; "embedded" for shipped weights, "none" without any.
        licence: of the weights, an SPDX identifier where there is one.
        input: "pictures", "clips" or "pictures and clips".
        range: of its scores, with typical values.
        size: of its network, such as "986M parameters"; empty without one.
        price: of one score, such as "1 pass of ViT-H/14".
        differentiable: whether scores have gradients with respect to pixels.
        commercial: whether the licence allows commercial use.
    """

    checkpoint: str
    licence: str
    input: str
    range: str
    size: str = ""
    price: str = ""
    differentiable: bool = False
    commercial: bool = True
