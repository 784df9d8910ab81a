"""Sampling steps as pure functions: conversions of network outputs, the reverse kernels and the forward kernel.

Every path is Gaussian, x = a * clean + b * noise. Three are in use: variance preserving (a^2 + b^2 = 1, given by
abar = a^2), k-diffusion (a = 1, b = sigma) and flow (a = 1 - t, b = t). Levels are tensors [b], one per row, so that
rows may stand at different steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gensearch.core.verbs import Transition


def rows(x: Tensor, *values: Tensor) -> list[Tensor]:
    """Values [b] shaped to scale the rows of x [b, *], on its device."""
    return [v.to(x.device).reshape(-1, *[1] * (x.ndim - 1)) for v in values]


def eps_to_clean(x: Tensor, eps: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The clean estimate behind predicted noise, on any path.

    Args:
        x: Noisy samples [b, *].
        eps: Predicted noise [b, *].
        a: Signal level of each row, [b].
        b: Noise level of each row, [b].
    """
    a, b = rows(x, a, b)
    return (x - b * eps) / a


def clean_to_eps(x: Tensor, clean: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The noise behind a clean estimate, on any path.

    Args:
        x: Noisy samples [b, *].
        clean: Clean estimates [b, *].
        a: Signal level of each row, [b].
        b: Noise level of each row, [b], above 0.
    """
    a, b = rows(x, a, b)
    return (x - a * clean) / b


def v_to_clean(x: Tensor, v: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The clean estimate behind v = a noise - b clean; variance preserving (Salimans & Ho 2022, arXiv:2202.00512).

    Args:
        x: Noisy samples [b, *].
        v: Predicted velocity [b, *].
        a: Signal level of each row, [b].
        b: Noise level of each row, [b].
    """
    a, b = rows(x, a, b)
    return a * x - b * v


def v_to_eps(x: Tensor, v: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The noise behind v = a noise - b clean; variance preserving.

    Args:
        x: Noisy samples [b, *].
        v: Predicted velocity [b, *].
        a: Signal level of each row, [b].
        b: Noise level of each row, [b].
    """
    a, b = rows(x, a, b)
    return a * v + b * x


def k_v_to_clean(x: Tensor, v: Tensor, sigma: Tensor) -> Tensor:
    """The clean estimate behind v, for x = clean + sigma noise (Karras et al. 2022, arXiv:2206.00364, section 5).

    Args:
        x: Noisy samples [b, *].
        v: Predicted velocity [b, *].
        sigma: Noise level of each row, [b], above 0.
    """
    (sigma,) = rows(x, sigma)
    return v * (-sigma / (sigma**2 + 1) ** 0.5) + x / (sigma**2 + 1)


def flow_to_clean(x: Tensor, v: Tensor, t: Tensor) -> Tensor:
    """The clean estimate behind the velocity v = noise - clean.

    Args:
        x: Noisy samples [b, *].
        v: Predicted velocity [b, *].
        t: Flow time of each row, [b], in (0, 1].
    """
    (t,) = rows(x, t)
    return x - t * v


def flow_to_eps(x: Tensor, v: Tensor, t: Tensor) -> Tensor:
    """The noise behind the velocity v = noise - clean.

    Args:
        x: Noisy samples [b, *].
        v: Predicted velocity [b, *].
        t: Flow time of each row, [b], in (0, 1].
    """
    (t,) = rows(x, t)
    return x + (1 - t) * v


def ddim(clean: Tensor, eps: Tensor, abar: Tensor, abar_to: Tensor, eta: Tensor) -> Transition:
    """DDIM from abar to abar_to > abar (Song et al. 2021, arXiv:2010.02502, eq. 12 and 16).

    Args:
        clean: Clean estimates [b, *].
        eps: Predicted noise [b, *].
        abar: a^2 of each row, [b].
        abar_to: a^2 after the step, [b].
        eta: [b], 0 (the probability-flow ODE) to 1 (the ancestral sampler).
    """
    abar, abar_to, eta = rows(clean, abar, abar_to, eta)
    variance = (1 - abar_to) / (1 - abar) * (1 - abar / abar_to)
    std = eta * variance**0.5
    # From pure noise with eta = 1 the difference is zero, and rounding may make it negative.
    towards = (1 - abar_to - std**2).clamp(min=0) ** 0.5
    return Transition(abar_to**0.5 * clean + towards * eps, std.expand_as(clean))


def euler(x: Tensor, clean: Tensor, sigma: Tensor, sigma_to: Tensor) -> Transition:
    """Euler's step of the k-diffusion ODE (Karras et al. 2022, Algorithm 1 without its second order).

    Args:
        x: Noisy samples [b, *].
        clean: Clean estimates [b, *].
        sigma: Noise level of each row, [b], above 0.
        sigma_to: Noise level after the step, [b], below sigma.
    """
    sigma, sigma_to = rows(x, sigma, sigma_to)
    return Transition(x + (x - clean) / sigma * (sigma_to - sigma), torch.zeros_like(x))


def euler_ancestral(x: Tensor, clean: Tensor, sigma: Tensor, sigma_to: Tensor) -> Transition:
    """Euler's step past the target, with noise added back up to it: the ancestral sampler in k-diffusion's terms.

    Args:
        x: Noisy samples [b, *].
        clean: Clean estimates [b, *].
        sigma: Noise level of each row, [b], above 0.
        sigma_to: Noise level after the step, [b], below sigma.
    """
    sigma, sigma_to = rows(x, sigma, sigma_to)
    up = (sigma_to**2 * (sigma**2 - sigma_to**2) / sigma**2) ** 0.5
    down = (sigma_to**2 - up**2) ** 0.5
    return Transition(x + (x - clean) / sigma * (down - sigma), up.expand_as(x))


def flow_euler(x: Tensor, v: Tensor, t: Tensor, t_to: Tensor) -> Transition:
    """Euler's step of the flow ODE dx = v dt (Lipman et al. 2023, arXiv:2210.02747).

    Args:
        x: Noisy samples [b, *].
        v: Predicted velocity [b, *].
        t: Flow time of each row, [b], in (0, 1].
        t_to: Flow time after the step, [b], below t.
    """
    t, t_to = rows(x, t, t_to)
    return Transition(x + (t_to - t) * v, torch.zeros_like(x))


def flow_sde(x: Tensor, v: Tensor, t: Tensor, t_to: Tensor, *, scale: float, power: float) -> Transition:
    """Euler-Maruyama on the SDE that has the flow's marginals, with diffusion g(t) = scale * t^power.

    Backwards in time dx = (v - g^2/2 score) dt + g dw, with score = -noise / t (Kim et al. 2025, arXiv:2503.19385,
    eq. 8).

    Args:
        x: Noisy samples [b, *].
        v: Predicted velocity [b, *].
        t: Flow time of each row, [b], in (0, 1].
        t_to: Flow time after the step, [b], below t.
        scale: Of the diffusion, 0 (the ODE) or more.
        power: Of t in the diffusion; 1/2 or more keeps the drift bounded as t goes to 0.
    """
    eps = flow_to_eps(x, v, t)
    t, t_to = rows(x, t, t_to)
    g = scale * t**power
    drift = v + g**2 / 2 * eps / t
    return Transition(x + (t_to - t) * drift, (g * (t - t_to) ** 0.5).expand_as(x))


def forward(x: Tensor, a: Tensor, b: Tensor, a_to: Tensor, b_to: Tensor) -> Transition:
    """The forward kernel from one level of a path to a noisier one: x_j given x_i, or given the sample (a=1, b=0).

    Staying at a level is the identity, also where no signal is left.

    Args:
        x: Noisy samples [b, *].
        a: Signal level of each row, [b].
        b: Noise level of each row, [b].
        a_to: Signal level of the noisier point, [b].
        b_to: Noise level of the noisier point, [b].
    """
    a, b, a_to, b_to = rows(x, a, b, a_to, b_to)
    keep = torch.where(a == a_to, torch.ones_like(a), a_to / a)
    std = (b_to**2 - (keep * b) ** 2).clamp(min=0) ** 0.5
    return Transition(keep * x, std.expand_as(x))


def draw(kernel: Transition, noise: Tensor) -> Tensor:
    """A sample of a Gaussian kernel, from standard normal noise [b, *].

    Args:
        kernel: Its mean and standard deviation, [b, *].
        noise: Standard normal, [b, *].
    """
    return kernel.mean + kernel.std * noise
