from __future__ import annotations

import pytest
import torch

from gensearch.testing import VerifierLaws
from verifiers.controls.redness import Redness


class TestLaws(VerifierLaws):
    @pytest.fixture
    def verifier(self) -> Redness:
        return Redness()


def test_it_is_the_mean_of_red_less_the_others():
    media = torch.zeros(3, 3, 2, 2)
    media[0, 0] = 1
    media[1, 1:] = 0.5
    media[2] = 0.7
    assert Redness()(media, ["any"] * 3).total.tolist() == pytest.approx([1, -0.5, 0])


def test_grey_pictures_are_refused():
    with pytest.raises(ValueError, match=r"redness takes pictures \[b, 3, h, w\], not \[1, 1, 2, 2\]; give it RGB"):
        Redness()(torch.zeros(1, 1, 2, 2), ["any"])
