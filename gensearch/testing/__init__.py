"""Conformance suites for models, searches and verifiers: subclass one with one fixture and run it with pytest.

class TestMyModel(ModelLaws):
    @pytest.fixture
    def model(self):
        return MyModel()
"""

from __future__ import annotations

from gensearch.testing.clips import ChunkLaws
from gensearch.testing.models import ModelLaws
from gensearch.testing.searches import SearchLaws
from gensearch.testing.setting import Setting
from gensearch.testing.verifiers import VerifierLaws

__all__ = ["ChunkLaws", "ModelLaws", "SearchLaws", "Setting", "VerifierLaws"]
