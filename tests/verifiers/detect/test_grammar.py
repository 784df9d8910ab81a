from __future__ import annotations

import pytest

from verifiers.detect.classes import GENEVAL_CLASSES
from verifiers.detect.grammar import line, singular


@pytest.mark.parametrize(
    ("prompt", "tag", "include", "exclude"),
    [
        ("a photo of a bench", "single_object", [{"class": "bench", "count": 1}], None),
        ("A photo of an orange.", "single_object", [{"class": "orange", "count": 1}], None),
        (
            "a photo of a hot dog and a tv remote",
            "two_object",
            [{"class": "hot dog", "count": 1}, {"class": "tv remote", "count": 1}],
            None,
        ),
        ("a photo of two buses", "counting", [{"class": "bus", "count": 2}], [{"class": "bus", "count": 3}]),
        ("a photo of a blue umbrella", "colors", [{"class": "umbrella", "count": 1, "color": "blue"}], None),
        ("a photo of an orange orange", "colors", [{"class": "orange", "count": 1, "color": "orange"}], None),
        (
            "a photo of a dog right of a teddy bear",
            "position",
            [{"class": "teddy bear", "count": 1}, {"class": "dog", "count": 1, "position": ["right of", 0]}],
            None,
        ),
        (
            "a photo of a green bus and a purple microwave",
            "color_attr",
            [{"class": "bus", "count": 1, "color": "green"}, {"class": "microwave", "count": 1, "color": "purple"}],
            None,
        ),
        (
            "three red lanterns and a castle",
            "counting",
            [{"class": "lantern", "count": 3, "color": "red"}, {"class": "castle", "count": 1}],
            [{"class": "lantern", "count": 4}],
        ),
    ],
)
def test_prompts_become_metadata_lines(prompt, tag, include, exclude):
    expected = {"tag": tag, "include": include, "prompt": prompt} | ({"exclude": exclude} if exclude else {})
    assert line(prompt) == expected


@pytest.mark.parametrize(
    "prompt", ["a dog runs after a cat and a bird", "", "dogs", "two dogs left of a cat", "a cat and a dog and a cup"]
)
def test_other_prompts_are_refused(prompt):
    with pytest.raises(
        ValueError, match=r"no rule turns the prompt .* into clauses; write one as 'a photo of two cups'"
    ):
        line(prompt)


def test_plurals_of_all_names_are_understood():
    for name in GENEVAL_CLASSES:
        assert singular(name + ("es" if name.endswith("s") else "s")) == name
    usual = {"people": "person", "knives": "knife", "toothbrushes": "toothbrush", "sheep": "sheep", "skis": "skis"}
    usual |= {"wine glasses": "wine glass", "boxes": "box", "berries": "berry", "lamps": "lamp", "scissors": "scissors"}
    assert {plural: singular(plural) for plural in usual} == usual
