"""Cards of verifiers: every listed one has one, others derive theirs, and licences are checked."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from gensearch.registry import VERIFIERS
from verifiers.card import Card, card, declared, require_commercial
from verifiers.catalogue import SOURCES, Entry, check_licences, describe, verifier
from verifiers.names import KINDS

DOCS = Path(__file__).parents[2] / "docs" / "verifiers.md"
FREE = Card("a/free", "MIT", "pictures", "0 to 1", "3M parameters", "1 pass", differentiable=True)


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Two listed verifiers, whose cards are in a module of their own."""
    module = ModuleType("cards_for_tests")
    vars(module).update(CARD=FREE, OTHER=FREE._replace(checkpoint="a/bound", licence="CC-BY-NC-4.0", commercial=False))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return {"free:a": "cards_for_tests", "bound": "cards_for_tests:OTHER", "copy:FOLDER": "cards_for_tests", "bare": ""}


def test_a_card_is_found_by_name(modules: dict[str, str]) -> None:
    assert card("free:a", modules) == FREE
    assert card("bound", modules) == declared("cards_for_tests:OTHER")
    assert card("bare", modules) is None
    assert card("nobody", modules) is None


def test_another_source_of_a_kind_has_an_unknown_licence(modules: dict[str, str]) -> None:
    other = card("free:b/c", modules)
    assert other is not None
    assert (other.checkpoint, other.licence, other.size, other.range) == ("b/c", "that of b/c", "", "0 to 1")
    assert card("copy:weights/here", modules) == FREE


def test_frames_have_the_card_of_their_verifier(modules: dict[str, str]) -> None:
    found = card("frames:free:a", modules)
    assert found is not None
    assert (found.input, found.price) == ("pictures and clips", "1 pass for each frame")
    assert card("frames:bare", modules) is None


@pytest.mark.parametrize("name", ["bound", "free:a+0.5*bound", "rank(free:a,bound)", "frames:bound", "2*frames:bound"])
def test_a_licence_is_found_inside_every_name(name: str, modules: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"'bound' \(CC-BY-NC-4.0\) forbids commercial use; .*--allow-noncommercial"):
        require_commercial(name, modules)
    require_commercial("free:a+bare+copy:x", modules)


def test_a_verifier_is_built_only_if_its_licence_is_allowed(
    modules: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = VERIFIERS["redness"]
    monkeypatch.setitem(VERIFIERS, "bound", Entry(plain.build, "", module=modules["bound"]))
    for name in ("bound", "rank(redness,bound)"):
        with pytest.raises(ValueError, match="forbids commercial use"):
            verifier(name)
        with pytest.raises(ValueError, match="forbids commercial use"):
            check_licences(name)
        check_licences(name, allow_noncommercial=True)
    assert verifier("bound", allow_noncommercial=True).name == "redness"


def test_all_listed_verifiers_have_cards_that_hold() -> None:
    places = {name: entry.module for name, entry in VERIFIERS.items()}
    for name in places:
        found = describe(name)
        assert found is not None, f"give {name} a CARD and name its module in the catalogue"
        assert found.input in ("pictures", "clips", "pictures and clips"), name
        assert found.checkpoint, name
        assert found.licence, name
        assert found.range, name
        assert max(map(len, (found.range, found.size, found.price))) <= 70, f"the card of {name} is too long"


@pytest.mark.parametrize("name", ["redness", "random", "motion", "shapes/clip", "shapes/judge", "shapes/tracker"])
def test_the_card_says_what_the_verifier_says(name: str) -> None:
    found, built = describe(name), verifier(name)
    assert found is not None
    assert found.differentiable is built.differentiable


@pytest.mark.parametrize("kind", ["clip", "clipiqa", "hps", "pickscore", "siglip", "aesthetic", "imagereward"])
def test_verifiers_on_embeddings_are_differentiable_and_say_so(kind: str) -> None:
    module = importlib.import_module(f"verifiers.embedding.{kind}")
    assert module.CARD.differentiable is True


def test_kinds_are_those_that_have_builders() -> None:
    assert set(KINDS) == set(SOURCES)


def test_the_table_of_the_documentation_has_every_verifier_with_its_licence() -> None:
    rows = dict(re.findall(r"^\| `([^`]+)`[^|]* \|(.*)$", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
    for name in VERIFIERS:
        found = describe(name)
        assert name in rows, f"add a row for {name} to the table of docs/verifiers.md"
        assert found is not None
        assert found.licence.split(",")[0].split(";")[0] in rows[name], f"docs/verifiers.md: the licence of {name}"
        assert found.range.split(",")[0].split(";")[0] in rows[name], f"docs/verifiers.md: the range of {name}"
