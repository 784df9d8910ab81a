from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from gensearch.shapes.train.muon import ADAM, Muon, orthogonal

SETTINGS: dict[str, Any] = {"lr": 0.01, "betas": (0.9, 0.99), "weight_decay": 0.1}


def parameters(*shapes: tuple[int, ...], seed: int = 0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    params = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    for p in params:
        p.grad = torch.randn(p.shape, generator=generator)
    return params


def updated(params: list[nn.Parameter], matrices: list[nn.Parameter], steps: int = 3) -> list[torch.Tensor]:
    optimizer = Muon([{"params": params}], matrices, **SETTINGS)
    for _ in range(steps):
        optimizer.step()
    return [p.detach() for p in params]


@pytest.mark.parametrize("shape", [(1, 24, 24), (3, 40, 16), (2, 16, 56)])
def test_orthogonal_steps_keep_the_singular_vectors_and_level_the_values(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    u, values, v = torch.linalg.svd(x, full_matrices=False)
    x = 30 * u @ torch.diag_embed(torch.linspace(1, 0.1, values.shape[1]).expand_as(values)) @ v
    within = u.mT @ orthogonal(x) @ v.mT
    values = within.diagonal(dim1=1, dim2=2)
    assert values.min() > 0.65
    assert values.max() < 1.25
    assert torch.allclose(within, torch.diag_embed(values), atol=1e-4)


def test_the_size_of_a_gradient_does_not_matter():
    one, other = parameters((12, 20)), parameters((12, 20))
    assert other[0].grad is not None
    other[0].grad *= 37.0
    assert torch.allclose(updated(one, one)[0], updated(other, other)[0], atol=1e-5)


def test_what_is_no_matrix_takes_the_steps_of_adamw():
    ours, theirs = parameters((6,), (4, 5), (3, 3, 3)), parameters((6,), (4, 5), (3, 3, 3))
    optimizer = torch.optim.AdamW([{"params": theirs}], **SETTINGS)
    for _ in range(3):
        optimizer.step()
    found = updated(ours, ours[1:2])
    assert torch.equal(found[0], theirs[0])
    assert torch.equal(found[2], theirs[2])
    assert not torch.allclose(found[1], theirs[1])


def test_matrices_of_one_shape_do_not_mix():
    both = parameters((8, 12), (8, 12))
    together = updated(both, both)
    alone = parameters((8, 12), (8, 12))[1:]
    assert torch.allclose(together[1], updated(alone, alone)[0], atol=1e-6)


@pytest.mark.parametrize("shape", [(48, 48), (20, 90)])
def test_steps_are_as_large_as_those_of_adamw(shape):
    params = parameters(shape)
    before = params[0].detach().clone()
    Muon([{"params": params}], params, lr=0.5, weight_decay=0.0).step()
    size = (params[0].detach() - before).square().mean().sqrt() / 0.5
    assert size == pytest.approx(ADAM, rel=0.2)


def test_a_matrix_without_gradient_stays():
    params = parameters((5, 5), (5, 5))
    params[0].grad = None
    before = params[0].detach().clone()
    assert torch.equal(updated(params, params)[0], before)
    assert params[1].grad is not None, "gradients are left as they were"
