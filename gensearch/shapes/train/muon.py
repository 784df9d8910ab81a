"""AdamW with orthogonalised updates for some matrices: Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/).

Updates of equal length in all singular directions train a small transformer in fewer steps than those of AdamW.
torch.optim.Muon computes in bfloat16, matrix by matrix, which takes sixteen times as long on a CPU without that type.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
STEPS = 5  # of the Newton-Schulz iteration, with the coefficients of the reference implementation
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ADAM = 0.2  # root mean square of AdamW's updates, to which Muon's are scaled (Liu et al. 2025, arXiv:2502.16982)


def orthogonal(x: Tensor) -> Tensor:
    """Return matrices [n, a, b] with the singular vectors of x and all singular values near 1."""
    if x.shape[1] > x.shape[2]:
        return orthogonal(x.mT).mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def matrices(*blocks: nn.Module) -> list[Tensor]:
    """Return the weights of the linear layers inside some blocks."""
    return [m.weight for part in blocks for m in part.modules() if isinstance(m, nn.Linear)]


class Muon(torch.optim.AdamW):
    """Muon for `matrices`, which have two dimensions, and AdamW for all other parameters."""

    def __init__(self, groups: list[dict[str, Any]], matrices: Collection[Tensor], **settings: Any) -> None:
        super().__init__(groups, **settings)
        self.matrices = set(matrices)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Do one update; parameters without gradient stay."""
        grads = {p: p.grad for p in self.matrices if p.grad is not None}
        for p in grads:
            p.grad = None
        value = super().step(closure)
        for p, grad in grads.items():
            p.grad = grad
        for group in self.param_groups:
            alike: dict[torch.Size, dict[Tensor, Tensor]] = defaultdict(dict)
            for p in group["params"]:
                if p in grads:
                    alike[p.shape][p] = grads[p]
            for own in alike.values():
                self.orthogonal_update(own, group["lr"], group["weight_decay"])
        return value

    def orthogonal_update(self, grads: dict[Tensor, Tensor], lr: float, weight_decay: float) -> None:
        """Update matrices of one shape, given as matrix -> gradient."""
        ahead = []
        for p, grad in grads.items():
            state = self.state[p]
            if not state:
                state["momentum"] = torch.zeros_like(p)
            ahead.append(grad.lerp(state["momentum"].lerp_(grad, 1 - MOMENTUM), MOMENTUM))
        size = lr * ADAM * max(ahead[0].shape) ** 0.5
        for p, update in zip(grads, orthogonal(torch.stack(ahead)), strict=True):
            p.mul_(1 - lr * weight_decay).sub_(update, alpha=size)
