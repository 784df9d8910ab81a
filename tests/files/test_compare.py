"""Fingerprints side by side."""

from __future__ import annotations

from gensearch.files.compare import by_machine, compare, in_words

THEN = {"isa": "AVX512", "threads": 4, "versions": {"torch": "2.9"}, "num_steps": 3, "components": {"unet": "a" * 99}}
NOW = {"isa": "AVX2", "threads": 4, "versions": {"torch": "2.10"}, "num_steps": 4, "components": {}, "new": [1]}


def test_what_differs_is_told_apart_by_machine_and_model():
    machine, model = by_machine(compare(THEN, NOW))
    assert machine == {"isa": ("AVX512", "AVX2"), "versions.torch": ("2.9", "2.10")}
    assert model == {"num_steps": (3, 4), "components.unet": ("a" * 99, None), "new": (None, [1])}
    assert by_machine(compare(THEN, THEN)) == ({}, {})


def test_changes_in_words_are_short_and_say_what_was_not_recorded():
    machine, model = by_machine(compare(THEN, NOW))
    assert in_words(machine) == "isa AVX512 then, AVX2 now; versions.torch 2.9 then, 2.10 now"
    assert f"components.unet {'a' * 77}... then, not recorded now" in in_words(model)
