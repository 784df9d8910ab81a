from __future__ import annotations

from itertools import product

import pytest
import torch

from gensearch.testing import VerifierLaws
from tests.builders.tiny_qwen import qwen3_vl
from verifiers.vlm.unifiedreward import QUESTION, UnifiedReward, parse


def report(alignment, coherence, style):
    return f"Alignment Score (1-5): {alignment}\nCoherence Score (1-5): {coherence}\nStyle Score (1-5): {style}"


ANSWERS = [report(*scores) for scores in product((1.5, 4), (2, 3.75), (1, 5))]


def build(answers=ANSWERS, **changes):
    return UnifiedReward(*qwen3_vl(answers=answers), **{"length": 1, "question": "is it {prompt}", **changes})


def pictures(n: int):
    generator = torch.Generator().manual_seed(3)
    return torch.rand(n, 3, 24, 40, generator=generator) * 0.3 + 0.7 * torch.rand(n, 3, 1, 1, generator=generator)


class TestLaws(VerifierLaws):
    @pytest.fixture
    def verifier(self):
        return build(batch_size=2)


def test_scores_are_those_that_the_model_writes():
    verifier = build(batch_size=1)
    scores = verifier(pictures(8), ["a red star"] * 8)
    for row, picture in enumerate(pictures(8)):
        (text,) = verifier.local.write([[picture]], "is it a red star", 1)
        written = [float(line.rpartition(" ")[2]) for line in text.splitlines()]
        assert [scores.parts[name][row].item() for name in ("alignment", "coherence", "style")] == written
        assert scores.total[row].item() == pytest.approx(sum(written) / 3)
    assert len(set(scores.total.tolist())) > 1
    assert verifier.failures == 0
    alone = torch.cat([verifier(pictures(8)[[i]], ["a red star"]).total for i in range(8)])
    assert torch.equal(alone, scores.total)


def test_an_answer_that_cannot_be_read_is_missing_and_counted():
    verifier = build(["I like it: 5 of 5"])
    media = pictures(3)
    media[0, 0, 0, 0] = torch.nan
    scores = verifier(media, ["a red star"] * 3)
    assert scores.total.isnan().all()
    assert all(part.isnan().all() for part in scores.parts.values())
    assert verifier.failures == 2  # the picture that is not finite is no failure of the model


@pytest.mark.parametrize(
    ("answer", "scores"),
    [
        (report(3.5, 2, 4.25), (3.5, 2.0, 4.25)),
        ("- **Alignment Score (1-5):** 5\n- **Coherence Score (1-5):** 1\n- **Style Score (1-5):** 1.0\n", (5, 1, 1)),
        (report(3.5, 2, 4) + "\nStyle Score (1-5): 4", None),
        (report(3.5, 2, 5.5), None),
        (report(0, 2, 4), None),
        (report(3, 2, "4 of 5"), None),
        (report(3, 2, "10"), None),
        (report(3, 2, "3.5.1"), None),
        ("Alignment Score (1-5): 3\nStyle Score (1-5): 4", None),
        ("", None),
    ],
)
def test_answers_are_read_strictly(answer, scores):
    assert parse(answer) == scores


def test_the_question_asks_for_the_format_that_is_read():
    asked = QUESTION.replace("): X", "): 3").replace("): Y", "): 2").replace("): Z", "): 4")
    assert parse(asked) == (3, 2, 4)
    assert UnifiedReward(*qwen3_vl(answers=ANSWERS)).question == QUESTION


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(ValueError, match="one prompt each"):
        build()(pictures(2), ["a"])
