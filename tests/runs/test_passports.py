"""Where passports are kept, and what is shown of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gensearch.runs import passports

VALUE = {"mean": 0.75, "low": 0.5, "high": 1.0}
GAIN = {"1": {"mean": 0.25}, "16": {"mean": 0.5}}
PASSPORT = {"verifier": "a:b/c", "on": "shapes/turbo", "accuracy": VALUE, "best_of": GAIN}


def test_what_is_written_is_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv("GENSEARCH_CACHE", str(tmp_path))
    assert passports.stored("a:b/c") == []
    path = passports.write(PASSPORT)
    assert path.parent == tmp_path / "passports"
    assert passports.stored("a:b/c") == [PASSPORT]
    assert passports.stored("other") == []
    other = passports.write(PASSPORT | {"on": "mine"}, tmp_path / "elsewhere.json")
    assert other == tmp_path / "elsewhere.json"
    assert len(passports.stored("a:b/c")) == 1


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"verifier": "a:b/c"}', '{"verifier": "a:b/c", "on": 1, "accuracy": 2}']
)
def test_a_damaged_passport_does_not_count(tmp_path, monkeypatch, text):
    monkeypatch.setenv("GENSEARCH_CACHE", str(tmp_path))
    passports.write(PASSPORT)
    (tmp_path / "passports" / "bad.json").write_text(text)
    assert passports.stored("a:b/c") == [PASSPORT]


def test_the_cache_is_the_users(monkeypatch):
    monkeypatch.delenv("GENSEARCH_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert passports.folder() == Path("/somewhere/gensearch/passports")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert passports.folder() == Path.home() / ".cache/gensearch/passports"


def test_a_passport_in_a_sentence():
    said = "shapes/turbo: 0.750 [0.500, 1.000] of pairs ordered rightly"
    assert passports.sentence(PASSPORT) == f"{said}; best of 16: 0.250 to 0.500 right"
    assert passports.sentence({**PASSPORT, "best_of": {}}) == said
    assert passports.interval_text({"mean": None, "low": None, "high": None}) == "unknown"
    assert passports.interval_text({"mean": 0.5, "low": None, "high": None}) == "0.500"
