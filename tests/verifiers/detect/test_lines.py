"""Metadata lines of anyone: what is missing or unfit is named with its place."""

from __future__ import annotations

import pytest

from gensearch.evaluate.benchmarks.geneval import whole
from verifiers.detect.lines import checked_line

CUP, DOG = {"class": "cup", "count": 1}, {"class": "dog", "count": 1}


def test_the_lines_of_the_original_pass_and_a_missing_tag_is_found():
    for line in whole(None):
        assert checked_line(line, "here") is line
        assert checked_line({k: v for k, v in line.items() if k != "tag"}, "here") == line


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ([], "there is no prompt"),
        ({"prompt": " ", "include": [CUP]}, "there is no prompt"),
        ({"prompt": "a"}, "include is None"),
        ({"prompt": "a", "include": []}, r"include is \[\]"),
        ({"prompt": "a", "include": [{"count": 1}]}, "clause 1 of 'a' is .* needs the name of a class"),
        ({"prompt": "a", "include": [CUP, {"class": "dog", "count": 0}]}, "clause 2 .* at least 1"),
        ({"prompt": "a", "include": [{"class": "cup", "count": True}]}, "whole number"),
        ({"prompt": "a", "include": [{**CUP, "color": 3}]}, "must be a word"),
        ({"prompt": "a", "include": [CUP, {**DOG, "position": ["left of", 1]}]}, "index of an earlier clause"),
        ({"prompt": "a", "include": [CUP, {**DOG, "position": ["near", 0]}]}, "left of, right of, above, below"),
        ({"prompt": "a", "include": [CUP], "exclude": [{"class": "cup"}]}, "clause 2 .* at least 1"),
        ({"prompt": "a", "include": [CUP], "tag": 3}, "the tag is 3"),
    ],
)
def test_unfit_lines_are_refused(data, why):
    with pytest.raises(ValueError, match=f"^mine.jsonl, line 4: .*{why}"):
        checked_line(data, "mine.jsonl, line 4")
