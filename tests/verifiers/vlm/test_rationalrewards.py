from __future__ import annotations

from itertools import product

import pytest
import torch

from gensearch.testing import VerifierLaws
from tests.builders.tiny_qwen import qwen3_vl
from verifiers.vlm.rationalrewards import ASPECTS, PAIRWISE, POINTWISE, RationalRewards, parse

NAN = float("nan")


def critique(*rows):
    """A critique with one row of scores for each label."""
    labels = ("Score",) if len(rows) == 1 else ("Score A", "Score B")
    sections = []
    for i, name in enumerate(ASPECTS):
        lines = [f"## {label}: {row[i]}" for label, row in zip(labels, rows, strict=True)]
        sections.append("\n".join([f"{i + 1}. {name}:", "## Justification: it is so, 3 of 4", *lines]))
    return "# User Request Analysis\nshort\n# Detailed Judgement\n" + "\n".join(sections) + "\n# Summary: fine"


ONE = [critique(row) for row in product((1.5, 4), (2, 3.25), (1, "N/A"))]
TWO = [critique((3, 2, "N/A"), (3.5, 2, "N/A")), critique((4, 3, 3), (3, 3, 2)), critique((2, 3, 1), (3, 2, "N/A"))]


def build(answers, **changes):
    return RationalRewards(
        *qwen3_vl(answers=answers),
        **{"length": 1, "pointwise": "is it {prompt}", "pairwise": "are {prompt}", **changes},
    )


def pictures(n: int, seed: int = 3):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, 3, 24, 40, generator=generator) * 0.3 + 0.7 * torch.rand(n, 3, 1, 1, generator=generator)


class TestLaws(VerifierLaws):
    @pytest.fixture
    def verifier(self):
        return build(ONE, batch_size=2)


def test_a_picture_scores_the_mean_of_what_the_critique_gives():
    verifier = build(ONE, batch_size=1)
    scores = verifier(pictures(8), ["a red star"] * 8)
    for row, picture in enumerate(pictures(8)):
        (text,) = verifier.one.write([[picture]], "is it a red star", 1)
        given = [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith("## Score")]
        numbers = [float(score) for score in given if score != "N/A"]
        assert scores.total[row].item() == pytest.approx(sum(numbers) / len(numbers))
        assert scores.parts["text faithfulness"][row].item() == numbers[0]
        assert scores.parts["text rendering"][row].isnan().item() is (given[2] == "N/A")
    assert len(set(scores.total.tolist())) > 1


def test_two_pictures_are_compared_by_the_sum_of_scores():
    verifier = build(TWO, batch_size=2)
    a, b = pictures(12), pictures(12, 4)
    a[0, 0, 0, 0] = torch.nan
    got = verifier.compare(a, b, ["a red star"] * 12)
    texts = [verifier.two.write([pair], "are a red star", 1)[0] for pair in zip(a[1:], b[1:], strict=True)]
    expected = dict(zip(TWO, (0.0, 1.0, 0.5), strict=True))  # the third: an aspect with one score counts for none
    assert got[0].isnan()
    assert got[1:].tolist() == [expected[text] for text in texts]
    assert len(set(got[1:].tolist())) > 1
    assert verifier.failures == 0


def test_a_critique_that_cannot_be_read_is_missing_and_counted():
    verifier = build(["Image A wins"])
    assert verifier(pictures(2), ["a red star"] * 2).total.isnan().all()
    assert verifier.compare(pictures(3), pictures(3, 4), ["a red star"] * 3).isnan().all()
    assert verifier.failures == 5


@pytest.mark.parametrize(
    ("answer", "labels", "scores"),
    [
        (critique((3, 2.5, 4)), ("Score",), [[3, 2.5, 4]]),
        (critique((3, 2.5, "N/A")), ("Score",), [[3, 2.5, NAN]]),
        (critique((3, 2, 1), (1, 2, 3)), ("Score A", "Score B"), [[3, 2, 1], [1, 2, 3]]),
        (critique((3, 2, 1), (1, 2, "N/A")), ("Score A", "Score B"), [[3, 2, 1], [1, 2, NAN]]),
        (critique((3, 2, 4)).replace("## Score: 2", "**Score: 2.0**"), ("Score",), [[3, 2, 4]]),
        (critique(("N/A", 2, 4)), ("Score",), None),
        (critique((5, 2, 4)), ("Score",), None),
        (critique((4.5, 2, 4)), ("Score",), None),
        (critique((3, 2, "4 or 3")), ("Score",), None),
        (critique((3, 2, 4)).replace("2. Physical", "2. Visual"), ("Score",), None),
        (critique((3, 2, 4)) * 2, ("Score",), None),
        (critique((3, 2, 4)), ("Score A", "Score B"), None),
        ("", ("Score",), None),
    ],
)
def test_critiques_are_read_strictly(answer, labels, scores):
    got = parse(answer, labels)
    if scores is None:
        assert got is None
    else:
        torch.testing.assert_close(torch.tensor(got), torch.tensor(scores, dtype=torch.float32), equal_nan=True)


def test_questions_name_the_format_that_is_read():
    for question, labels in ((POINTWISE, ("Score",)), (PAIRWISE, ("Score A", "Score B"))):
        filled = question.replace("[number or N/A]", "3")
        assert parse(filled.partition("# Detailed Judgement")[2], labels) == [[3, 3, 3]] * len(labels)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="one prompt each"):
        build(TWO).compare(pictures(2), pictures(1), ["a", "b"])
