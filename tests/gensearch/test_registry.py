from __future__ import annotations

import pytest

from gensearch import registry


def test_a_local_clip_folder_is_a_verifier_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="open_clip_config.json"):
        registry.verifier(f"clip:{tmp_path}")


def test_unknown_open_clip_models_suggest_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'ViT-B-32'"):
        registry.verifier("clip:ViT-B32@openai")


def test_sums_of_registered_names_are_read_without_loading():
    assert registry.parse_verifier("0.5*random+shapes/judge") == [("random", 0.5), ("shapes/judge", 1.0)]
    with pytest.raises(ValueError, match="did you mean 'random'"):
        registry.parse_verifier("2*randon")
