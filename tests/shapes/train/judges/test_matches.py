from __future__ import annotations

import numpy as np

from gensearch.shapes import world
from gensearch.shapes.train.judges.matches import facts, matches, near_misses
from verifiers.detect.geneval import Detection, evaluate


class Perfect:
    """A detector that returns the objects of a known scene."""

    def __init__(self, scene: world.Scene) -> None:
        self.things = scene.things

    def detect(self, image: np.ndarray) -> dict[str, list[Detection]]:
        found: dict[str, list[Detection]] = {}
        for t in self.things:
            box = (t.x - t.radius, t.y - t.radius, t.x + t.radius, t.y + t.radius)
            found.setdefault(t.shape, []).append(Detection(box, 1.0, color=t.color))
        return found


def test_labels_equal_genevals_verdicts_on_perfect_detections():
    rng = np.random.default_rng(4)
    lines, scenes = zip(*(world.sample(rng) for _ in range(60)), strict=True)
    asked = [*lines, *(miss for line in lines for miss in near_misses(rng, line, 2))]
    labels = matches(facts([scene.things for scene in scenes]), asked)
    judged = [[evaluate(np.empty(0), line, Perfect(scene)).correct for line in asked] for scene in scenes]
    # Two objects of a class of which only one has the colour: GenEval checks the most certain one only.
    differ = np.argwhere(labels != np.array(judged))
    assert all(labels[i, j] and any("color" in c for c in asked[j]["include"]) for i, j in differ)
    assert len(differ) <= 0.002 * labels.size
    assert all(labels[i, i] for i in range(len(lines)))


def test_near_misses_differ_from_their_prompt_and_mostly_do_not_match_its_picture():
    rng = np.random.default_rng(9)
    lines, scenes = zip(*(world.sample(rng) for _ in range(200)), strict=True)
    misses = [near_misses(rng, line, 3) for line in lines]
    table = facts([scene.things for scene in scenes])
    assert not any(world.asks_held_out(miss) for group in misses for miss in group)
    assert all(miss["prompt"] != line["prompt"] for line, group in zip(lines, misses, strict=True) for miss in group)
    wrong = [matches(table, group)[i] for i, group in enumerate(misses)]
    assert np.mean(wrong) < 0.12  # swapped classes of "a and b", or a second relation that holds as well
