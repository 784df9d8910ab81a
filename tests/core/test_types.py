from __future__ import annotations

import torch

from gensearch.core.types import State, cat


def state(rows: int = 4) -> State:
    x = torch.arange(rows * 2.0).view(rows, 2)
    prompts = tuple(f"prompt {i}" for i in range(rows))
    return State(prompts, torch.arange(1, rows + 1), 3, x, -x, {"output": 10 * x})


def test_rows_are_gathered_in_order_and_may_repeat():
    found = state()[[3, 0, 0]]
    assert found.prompts == ("prompt 3", "prompt 0", "prompt 0")
    assert found.step.tolist() == [4, 1, 1]
    assert torch.equal(found.x, torch.tensor([[6.0, 7.0], [0.0, 1.0], [0.0, 1.0]]))
    assert torch.equal(found.clean, -found.x)
    assert torch.equal(found.extra["output"], 10 * found.x)


def test_a_boolean_mask_keeps_the_rows_that_are_true():
    whole = state()
    assert whole.done.tolist() == [False, False, True, True]
    assert whole[~whole.done].prompts == ("prompt 0", "prompt 1")
    assert len(whole[torch.zeros(4, dtype=torch.bool)]) == 0


def test_joining_the_parts_gives_the_whole():
    whole = state()
    joined = cat([whole[[0, 1, 2]], whole[[3]]])
    assert joined.prompts == whole.prompts
    assert all(torch.equal(getattr(joined, name), getattr(whole, name)) for name in ("step", "x", "clean"))
    assert torch.equal(joined.extra["output"], whole.extra["output"])
