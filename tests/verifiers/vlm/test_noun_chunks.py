"""Noun phrases by word lists, against phrases that were marked by hand."""

from __future__ import annotations

import pytest

from verifiers.vlm.noun_chunks import noun_chunks

BY_HAND = {
    "a red apple and a green train": "a red apple | a green train",
    "leather gloves and a glass jar": "leather gloves | a glass jar",
    "a black gold and white vase sitting on a counter": "a black gold and white vase | a counter",
    "A long, narrow yellow kitchen with black and white floor tiles.": (
        "a long, narrow yellow kitchen | black and white floor tiles"
    ),
    "A stainless steel oven sits between white cupboards with black counter tops while sun shines through the kitchen "
    "windows.": "a stainless steel oven | white cupboards | black counter tops | sun | the kitchen windows",
    "The leather wallet and fluffy keychain hang on the metallic hook by the wooden door.": (
        "the leather wallet | fluffy keychain | the metallic hook | the wooden door"
    ),
    "The glass picture frame and metallic stand display the wooden photo on the fabric nightstand.": (
        "the glass picture frame | metallic stand | the wooden photo | the fabric nightstand"
    ),
    "The triangular sail with its pentagonal stitching and oblong boom propelled the circular boat on the ocean.": (
        "the triangular sail | its pentagonal stitching | oblong boom | the circular boat | the ocean"
    ),
    "The soft, furry kittens played together in a pile.": "the soft, furry kittens | a pile",
    "The spherical planet and the crescent moon were the bodies that fascinated him.": (
        "the spherical planet | the crescent moon | the bodies | him"
    ),
    "Two hot dogs sit on a green paper plate near a soda cup.": "two hot dogs | a green paper plate | a soda cup",
    "The green plant was on the left of the white lamp.": "the green plant | the left | the white lamp",
    "three old clocks beside the baked bread": "three old clocks | the baked bread",
}


@pytest.mark.parametrize("prompt", BY_HAND)
def test_phrases_are_those_marked_by_hand(prompt):
    assert " | ".join(noun_chunks(prompt)) == BY_HAND[prompt]


def test_nothing_is_no_phrase():
    assert noun_chunks("") == ()
    assert noun_chunks("and of the") == ()
