"""Schedules, forward and reverse steps, samplers; SRDiff around them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfusion.errors import InputError
from sitsfusion.nets.diffusion import SCHEDULES, Diffusion, betas_of, sample_ancestral, sample_strided, strided_steps
from sitsfusion.nets.misr_config import DiffusionConfig, MisrConfig
from sitsfusion.nets.srdiff import SrDiff, build_misr
from tests.fake.misr import BACKBONES, DIFFUSION, small_config


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_only_lose_signal(name: str) -> None:
    betas = betas_of(name, 40)
    assert betas.dtype == torch.float64
    assert bool(((betas > 0) & (betas <= 1)).all())
    assert bool((betas.diff() >= 0).all())


def test_unknown_schedules_and_lengths_are_refused() -> None:
    with pytest.raises(InputError, match="cosine"):
        betas_of("sine", 10)
    with pytest.raises(InputError, match="2 or more"):
        betas_of("cosine", 1)


@given(st.integers(2, 600), st.data())
def test_strided_steps_go_down_from_one_end_to_the_other(steps: int, data: st.DataObject) -> None:
    wanted = data.draw(st.integers(1, steps))
    found = strided_steps(steps, wanted)
    assert len(set(found)) == len(found) == wanted
    assert found == sorted(found, reverse=True)
    assert found[0] == steps - 1
    assert wanted == 1 or found[-1] == 0


def test_more_steps_than_the_schedule_has_are_refused() -> None:
    with pytest.raises(InputError, match="1 to 20"):
        strided_steps(20, 21)


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 30))
def test_a_perfect_denoiser_leads_to_the_image(wanted: int) -> None:
    """Whatever the number of steps: the noise left in x_t is what the denoiser says."""
    diffusion = Diffusion(betas_of("cosine", 30))
    truth = torch.rand(2, 3, 4, 5) * 2 - 1

    def denoise(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        kept = diffusion.at("sqrt_alphas_cumprod", t, x) * truth
        return (x - kept) / diffusion.at("sqrt_one_minus_alphas_cumprod", t, x)

    start = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(sample_strided(diffusion, denoise, start, wanted), truth, rtol=0, atol=2e-3)
    drawn = sample_ancestral(diffusion, denoise, start, lambda t: torch.randn(2, 3, 4, 5))
    torch.testing.assert_close(drawn, truth, rtol=0, atol=2e-3)


def test_noise_and_clean_images_are_each_others_inverse() -> None:
    diffusion = Diffusion(betas_of("cosine", 50))
    x0, noise, t = torch.rand(3, 2, 4, 4) * 2 - 1, torch.randn(3, 2, 4, 4), torch.tensor([0, 20, 40])
    torch.testing.assert_close(diffusion.clean(diffusion.noisy(x0, t, noise), t, noise), x0, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", [None, *BACKBONES])
def test_srdiff_of_every_condition_takes_any_size(name: str | None) -> None:
    torch.manual_seed(0)
    net = build_misr(small_config(name, diffusion=True))
    assert isinstance(net, SrDiff)
    views = torch.rand(2, 4, 3, 5, 7) * 2 - 1
    features = net.condition(views, torch.tensor([[-9.0, -1.0, 3.0, 8.0]] * 2), torch.ones(2, 4))
    assert not features.requires_grad
    base, start = torch.zeros(2, 3, 20, 28), torch.randn(2, 3, 20, 28)
    with torch.no_grad():
        made = net.sample(features, base, start, steps=2)
    assert made.shape == base.shape
    assert float(made.abs().max()) <= 1 / net.rescale + 1e-6
    noise = torch.randn_like(base)
    loss = net.predicted_noise(features, net.residual(start, base), torch.tensor([3, 7]), noise).mean()
    loss.backward()
    trained = [n for n, p in net.named_parameters() if p.grad is not None]
    assert trained
    assert not any(n.startswith("backbone.") for n in trained)


class Told(torch.nn.Module):
    """A denoiser that knows the clean residual."""

    def __init__(self, diffusion: Diffusion, clean: torch.Tensor) -> None:
        super().__init__()
        self.diffusion, self.clean = diffusion, clean

    def projected(self, features: torch.Tensor) -> torch.Tensor:
        """Nothing is conditioned."""
        return torch.zeros_like(self.clean)

    def forward(self, x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """What must be added to the clean residual to make x."""
        left = x - self.diffusion.at("sqrt_alphas_cumprod", t, x) * self.clean
        return left / self.diffusion.at("sqrt_one_minus_alphas_cumprod", t, x)


@pytest.mark.parametrize("step", [0, DIFFUSION.steps // 2, DIFFUSION.steps - 1])
def test_images_between_two_are_mixed_and_denoised(step: int) -> None:
    net = SrDiff(DIFFUSION, None, 3)
    base, drawn = torch.zeros(2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    features = torch.zeros(2, 3, 2, 2)
    first, second = (torch.rand(2, 3, 8, 8) * 0.4 - 0.2 for _ in range(2))
    for weight in (0.0, 0.3, 1.0):
        between = (1 - weight) * first + weight * second
        net.denoiser = Told(net.diffusion, net.residual(between, base))  # type: ignore[assignment]
        made = net.interpolate(features, base, first, second, weight, step, lambda _: drawn)
        torch.testing.assert_close(made, between, rtol=0, atol=2e-3)


def test_images_between_two_need_a_weight_and_a_step_in_range() -> None:
    net = SrDiff(DIFFUSION, None, 3)
    base, features = torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 2, 2)
    first = second = base
    for weight, step in ((-0.1, 0), (0.5, net.diffusion.steps)):
        with pytest.raises(InputError, match="not possible"):
            net.interpolate(features, base, first, second, weight, step, lambda _: base)


def test_sizes_that_the_levels_do_not_divide_are_mirrored() -> None:
    torch.manual_seed(0)
    net = SrDiff(DiffusionConfig(steps=20, width=4), None, 3)
    assert net.multiple == 8
    for h, w in ((1, 1), (2, 1), (3, 5)):
        features, base = torch.rand(1, 3, h, w), torch.zeros(1, 3, 4 * h, 4 * w)
        with torch.no_grad():
            made = net.sample(features, base, torch.randn_like(base), steps=1)
        assert made.shape == base.shape
        assert bool(made.isfinite().all())


def test_sampling_all_steps_needs_noise() -> None:
    net = SrDiff(DIFFUSION, None, 3)
    with pytest.raises(InputError, match="noise"):
        net.sample(torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))


def test_a_network_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="backbone, a diffusion"):
        MisrConfig()
