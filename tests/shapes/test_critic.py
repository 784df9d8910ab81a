"""The embedded critic: questions in words, answers read off one pass, and their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gensearch.shapes import world
from gensearch.shapes.critic import Critic, understand
from gensearch.shapes.reader import BODIES, Reader
from gensearch.testing import VerifierLaws
from verifiers.vlm.decompose import Decomposed, decompose

SHAPES, COLORS = list(world.SHAPES), list(world.COLORS)


def reader(body="convolutions"):
    torch.manual_seed(3)
    model = Reader(body, width=32, depth=2)
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.fixture
def critic():
    return Critic(reader(), batch_size=4)


@pytest.fixture
def pictures():
    return torch.rand(5, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def test_answers_are_the_probabilities_of_the_heads(critic, pictures):
    asked = {
        "Is there a star?": lambda r: 1 - softmax(r["some"][SHAPES.index("star")])[0],
        "Is there a red star?": lambda r: (
            (1 - softmax(r["some"][SHAPES.index("star")])[0])
            * softmax(r["color"][SHAPES.index("star")])[COLORS.index("red")]
        ),
        "Are there exactly three crosses?": lambda r: softmax(r["sure"][SHAPES.index("cross")])[3],
        "are there exactly two pink hearts": lambda r: (
            softmax(r["sure"][SHAPES.index("heart")])[2]
            * softmax(r["every"][SHAPES.index("heart")])[COLORS.index("pink")]
        ),
        "Is the ring  black?": lambda r: softmax(r["color"][SHAPES.index("ring")])[COLORS.index("black")],
        "Are all the squares blue?": lambda r: softmax(r["every"][SHAPES.index("square")])[COLORS.index("blue")],
        "Is the star below the diamond?": lambda r: (
            1 / (1 + np.exp(-r["relation"][SHAPES.index("star"), SHAPES.index("diamond"), 3]))
        ),
    }
    with torch.no_grad():
        logs = critic.answer(pictures, [list(asked)] * len(pictures))
        reading = critic.model(pictures)
    for row in range(len(pictures)):
        heads = {name: value[row].double().numpy() for name, value in reading._asdict().items()}
        expected = [formula(heads) for formula in asked.values()]
        np.testing.assert_allclose(logs[row].exp().double().numpy(), expected, rtol=2e-4)


def test_every_prompt_of_the_world_is_understood():
    questions = {question for line in world.lines() for question in decompose(line["prompt"])}
    assert len(questions) > 8 * 8 * 4
    for question in questions:
        understand(question)


@pytest.mark.parametrize("question", ["Is there a cat?", "How many stars are there?", "Is the star left of it?", ""])
def test_other_questions_are_refused(question):
    with pytest.raises(ValueError, match="cannot read the question"):
        understand(question)


def test_a_picture_that_is_not_finite_is_unanswered(critic, pictures):
    pictures[1, 0, 3, 3] = torch.inf
    logs = critic.answer(pictures, [["Is there a star?"]] * 5)
    assert [bool(row.isnan().all()) for row in logs] == [False, True, False, False, False]


@pytest.mark.parametrize("size", [(64, 64), (128, 128), (37, 90)])
def test_pictures_of_any_size_are_squeezed(critic, size):
    logs = critic.answer(torch.rand(1, 3, *size), [["Is there a star?"]])
    assert logs[0].isfinite().all()


def test_what_shapes_gather_can_be_counted():
    model, cells = reader(), torch.full((1, 64, 23), -30.0)
    memory = torch.randn(1, 1, 32).expand(1, 64, 32)  # the same in every cell
    cells[..., 8] = 30.0  # none
    base = model.gather(memory, cells)
    sums = []
    for held in (1, 2, 3):
        cells[0, :held] = -30.0
        cells[0, :held, SHAPES.index("star")] = cells[0, :held, 9] = 30.0
        gathered = model.gather(memory, cells) - base
        assert gathered[0, [i for i, shape in enumerate(SHAPES) if shape != "star"]].abs().max() < 1e-5
        sums.append(gathered[0, SHAPES.index("star")])
    torch.testing.assert_close(sums[1], 2 * sums[0])
    torch.testing.assert_close(sums[2], 3 * sums[0])


@pytest.mark.parametrize("body", BODIES)
def test_gradients_are_those_of_finite_differences(body):
    model = reader(body).double()
    x = torch.rand(1, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()

    def total(x):
        reading = model(x)
        return sum(understand(q)(reading)[0] for q in decompose("a photo of a red star left of a blue ring"))

    (slope,) = torch.autograd.grad(total(x), x)
    direction = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    step = 1e-5
    with torch.no_grad():
        measured = (total(x + step * direction) - total(x - step * direction)) / (2 * step)
    assert (slope * direction).sum().item() == pytest.approx(measured.item(), rel=1e-5)


def test_damaged_weights_are_named(tmp_path):
    (tmp_path / "config.json").write_text('{"body": "convolutions", "width": 32, "depth": 2}')
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"cannot load the critic .*copy or train it again"):
        Critic.load(tmp_path)


@pytest.mark.parametrize("body", BODIES)
class TestCritic(VerifierLaws):
    @pytest.fixture
    def verifier(self, body):
        return Decomposed(Critic(reader(body), batch_size=2), name="shapes/critic")
