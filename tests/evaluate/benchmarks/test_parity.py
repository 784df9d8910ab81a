"""The table beside published scores: their arithmetic, our differences, and deviations by name."""

from __future__ import annotations

import json
import math

import pytest

from gensearch.evaluate.benchmarks.geneval import whole
from gensearch.evaluate.benchmarks.parity import PUBLISHED, TAGS, check_published, deviations, of_run, parity


def records(title="GenEval", per_prompt=4, prompts=553, correct=lambda i: i % 2 == 0):
    chosen = whole(None)[:prompts]
    return [
        {"tag": line["tag"], "metadata": json.dumps(line), "correct": correct(i), "benchmark": title}
        for line in chosen
        for i in range(per_prompt)
    ]


@pytest.mark.parametrize("model", PUBLISHED)
def test_published_overalls_are_the_means_of_their_tags(model):
    *tags, overall, source = PUBLISHED[model]
    assert source
    ends = [[float(x) for x in text.split("-")] for text in tags]
    low, high = (sum(pick(e) for e in ends) / 6 for pick in (min, max))
    assert low - 0.0101 <= float(overall) <= high + 0.0101


def test_a_difference_has_the_interval_of_its_sampling():
    rows = dict(zip(TAGS, PUBLISHED["SD 1.5"], strict=False))
    text = parity(records(), "SD 1.5")
    line = next(line for line in text.splitlines() if line.startswith("| difference from SD 1.5"))
    cells = [cell.strip() for cell in line.strip("|").split("|")][1:8]
    half = 1.96 * math.sqrt(0.25 / 320)
    assert cells[2] == f"{0.5 - float(rows['counting']):+.2f} ± {half:.2f}"
    spread = math.sqrt(sum(0.25 / (4 * n) for n in (80, 99, 80, 94, 100, 100))) / 6
    assert cells[6] == f"{0.5 - 0.43:+.2f} ± {1.96 * spread:.2f}"
    assert "| SDXL | 0.98 | 0.74 |" in text
    assert " - | " in parity(records(), "FLUX.1-dev")
    assert "difference" not in parity(records())


def test_deviations_are_named():
    assert len(deviations(records())) == 2
    named = deviations(records("GenEval (HF-M2F)", per_prompt=3, prompts=100))
    assert "Meta's weights" in named[0]
    assert named[1:3] == ["100 prompts instead of 553", "3 to 3 pictures of a prompt instead of 4"]
    assert deviations(records("GenEval (owlv2)"))[0] == "detector: owlv2 instead of OpenMMLab's Mask2Former"


def test_a_model_without_a_row_is_refused():
    assert check_published("SDXL") == "SDXL"
    with pytest.raises(ValueError, match="has no 'SDXLL'; did you mean 'SDXL'"):
        check_published("SDXLL")


def test_each_method_of_a_run_has_its_table_and_oracles_are_marked():
    run = [
        {"tag": "colors", "prompt": i, "judge": judge, "method": name, "oracle": name == "best"}
        for name, judges in (("base", (1, 0)), ("best", (1, 1)))
        for i, judge in enumerate(judges)
    ]
    text = of_run("GenEval (owlv2)", run)
    heads = [line for line in text.splitlines() if line.startswith("# ")]
    assert heads == ["# GenEval (owlv2): base", "# GenEval (owlv2): best, an oracle: guided by this judge"]
    rows = [line for line in text.splitlines() if line.startswith("| **these pictures**")]
    assert ["| 0.50 |" in rows[0], "| 1.00 |" in rows[1]] == [True, True]
    assert text.count("detector: owlv2 instead of") == 2
