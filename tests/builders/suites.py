"""A suite of laws whose slowest one is left to CI."""

from __future__ import annotations

import pytest

from gensearch.testing import SearchLaws


class BlindInCI(SearchLaws):
    """The law about blind verifiers takes seconds: by default `milr`, `suffix_mcmc` and other models say it."""

    @pytest.mark.slow
    def test_a_blind_verifier_gains_nothing(self, setting):
        super().test_a_blind_verifier_gains_nothing(setting)
