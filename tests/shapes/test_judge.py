from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gensearch.shapes import world
from gensearch.shapes.judge import ShapesJudge, ShapesPartial
from verifiers.types import Verifier

BACKGROUND = (240, 238, 243)


def media(*things: world.Thing) -> torch.Tensor:
    pixels = np.asarray(world.render(world.Scene(things, BACKGROUND)))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255


RED_STAR_LEFT = media(world.Thing("star", "red", 16, 30, 10), world.Thing("circle", "blue", 45, 33, 11))
THREE_HEARTS = media(*(world.Thing("heart", "pink", 12 + 19.5 * i, 20 + 10 * (i % 2), 8.5) for i in range(3)))

VERDICTS = [
    (RED_STAR_LEFT, "a photo of a star", 1, 1),
    (RED_STAR_LEFT, "a photo of a ring", 0, 0),
    (RED_STAR_LEFT, "a photo of a red star", 1, 1),
    (RED_STAR_LEFT, "a photo of an orange star", 0, 0),
    (RED_STAR_LEFT, "a photo of a circle and a star", 1, 1),
    (RED_STAR_LEFT, "a photo of a circle and a heart", 0, 1 / 2),
    (RED_STAR_LEFT, "a photo of a red star and a blue circle", 1, 1),
    (RED_STAR_LEFT, "a photo of a blue star and a red circle", 0, 0),
    (RED_STAR_LEFT, "a photo of a star left of a circle", 1, 1),
    (RED_STAR_LEFT, "a photo of a star right of a circle", 0, 1 / 2),
    (RED_STAR_LEFT, "a photo of a circle right of a star", 1, 1),
    (RED_STAR_LEFT, "a photo of a star above a circle", 0, 1 / 2),
    (THREE_HEARTS, "a photo of three hearts", 1, 1),
    (THREE_HEARTS, "a photo of two hearts", 0, 1 / 2),
    (THREE_HEARTS, "a photo of four hearts", 0, 1 / 2),
    (THREE_HEARTS, "a photo of three pink hearts", 1, 1),
    (THREE_HEARTS, "a photo of three red hearts", 0, 1 / 2),
]


@pytest.mark.parametrize(("picture", "prompt", "exact", "partial"), VERDICTS)
def test_verdict_and_share_of_clauses(picture, prompt, exact, partial):
    assert ShapesJudge()(picture, [prompt]).total.tolist() == [exact]
    assert ShapesPartial()(picture, [prompt]).total.tolist() == [partial]


def test_a_batch_is_scored_row_by_row():
    rows = torch.cat([RED_STAR_LEFT, THREE_HEARTS])
    prompts = ["a photo of three hearts", "a photo of three hearts"]
    assert ShapesJudge()(rows, prompts).total.tolist() == [0, 1]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_pictures_that_are_not_finite_stay_unscored(bad):
    rows = torch.cat([RED_STAR_LEFT, RED_STAR_LEFT])
    rows[0, 1, 5, 5] = bad
    total = ShapesJudge()(rows, ["a photo of a star"] * 2).total
    assert total.isnan().tolist() == [True, False]


def test_values_beyond_the_range_are_clipped():
    assert ShapesJudge()(RED_STAR_LEFT * 1.2 - 0.02, ["a photo of a star left of a circle"]).total.tolist() == [1]


@pytest.mark.parametrize(("judge", "name"), [(ShapesJudge(), "shapes/judge"), (ShapesPartial(), "shapes/partial")])
def test_both_are_verifiers_without_gradients(judge, name):
    assert isinstance(judge, Verifier)
    assert (judge.name, judge.differentiable) == (name, False)
    assert not judge(RED_STAR_LEFT.clone().requires_grad_(), ["a photo of a star"]).total.requires_grad


def test_a_prompt_outside_the_grammar_is_refused():
    with pytest.raises(ValueError, match="a photo of two hearts"):
        ShapesJudge()(THREE_HEARTS, ["a photo of two heart"])


def edits(line: world.Spec) -> list[world.Spec]:
    """Every prompt that differs from a line in one attribute and that a picture of the line cannot fulfil."""
    opposite = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
    used = {clause["class"] for clause in line["include"]}
    changes: list[tuple[int, str, Any]] = []
    for i, clause in enumerate(line["include"]):
        changes += [(i, "class", shape) for shape in world.SHAPES if shape not in used]
        if "color" in clause:
            changes += [(i, "color", color) for color in world.COLORS if color != clause["color"]]
        if "position" in clause:
            changes += [(i, "position", [opposite[clause["position"][0]], 0])]
        if "exclude" in line:
            changes += [(i, "count", n) for n in world.NUMBERS if n != clause["count"]]
    include = [[c | {key: value} if j == i else c for j, c in enumerate(line["include"])] for i, key, value in changes]
    return [world.spec(line["tag"], clauses) for clauses in include]


@pytest.mark.parametrize("tag", world.TAGS)
def test_a_prompt_with_one_changed_attribute_is_rejected(tag):
    rng = np.random.default_rng(4)
    judged = []
    for _ in range(25):
        line, scene = world.sample(rng, tag)
        wrong = edits(line)
        said = [wrong[i]["prompt"] for i in rng.permutation(len(wrong))[:6]]
        judged += ShapesJudge()(media(*scene.things).expand(len(said), -1, -1, -1), said).total.tolist()
    assert len(judged) == 150
    assert sum(judged) <= 1
