"""The fusion networks: shapes, sizes, gradients, wiring. (Values: the goldens.)"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfusion.errors import InputError
from sitsfusion.nets.stf import registry
from sitsfusion.nets.stf.ecpwstfn import EcpwStfn
from sitsfusion.nets.stf.edcstfn import Edcstfn
from sitsfusion.nets.stf.stfdiff import Stfdiff, ddim_times
from sitsfusion.nets.stf.swinstfm import SwinStfm
from sitsfusion.nets.wavelet import haar, inverse_haar
from tests.fake.stf_weights import SMALL

# Parameters with 6 and with 4 bands, as counted for the specification.
PARAMETERS = {
    "ecpwstfn": (471_954, 469_518),
    "edcstfn": (284_134, 281_764),
    "ganstfm": (578_130, 577_660),
    "mlffgan": (5_925_285, 5_922_115),
    "srsfgan": (3_866_084, 3_865_826),
    "stfdiff": (7_482_054, 7_476_164),
    "swinstfm": (37_535_290, 37_533_112),
}


@pytest.mark.parametrize("model", PARAMETERS)
def test_parameters(model: str) -> None:
    with torch.device("meta"):
        nets = [registry.get(model).build(bands, {}) for bands in (6, 4)]
    found = tuple(sum(p.numel() for p in net.parameters()) for net in nets)
    assert found == PARAMETERS[model]


@pytest.mark.parametrize("model", registry.BUILT_IN)
def test_shapes_and_gradients(model: str) -> None:
    described = registry.get(model)
    torch.manual_seed(0)
    net = described.build(3, SMALL.get(model, {}))
    shape = (2, 3, 32, 32) if described.whole_size else (2, 3, 32, 64)
    images = [torch.rand(shape, requires_grad=True) for _ in range(3)]
    made = net(*images)
    assert made.shape == shape
    made.square().mean().backward()
    names = ("coarse_ref", "fine_ref", "coarse")
    used = {n for n, x in zip(names, images, strict=True) if x.grad is not None and bool(x.grad.any())}
    assert used == set(names) - set(described.unused)


@settings(max_examples=20, deadline=None)
@given(height=st.integers(1, 9), width=st.integers(1, 9))
def test_haar_is_orthonormal(height: int, width: int) -> None:
    x = torch.rand(2, 3, 2 * height, 2 * width, dtype=torch.float64)
    bands = haar(x)
    torch.testing.assert_close(inverse_haar(bands), x)
    torch.testing.assert_close(bands.square().sum(), x.square().sum())
    with pytest.raises(InputError, match="even"):
        haar(x[..., 1:])


def test_edcstfn_reaches_five_pixels() -> None:
    torch.manual_seed(0)
    net = Edcstfn(3).eval()
    fine = torch.rand(1, 3, 24, 24, requires_grad=True)
    net(fine.detach(), fine, fine.detach())[0, :, 12, 12].sum().backward()
    assert fine.grad is not None
    touched = fine.grad[0].abs().sum(0).nonzero() - 12
    assert touched.abs().max() <= Edcstfn.REACH


def test_detached_wavelets_only_differ_in_training() -> None:
    images = [torch.rand(1, 3, 8, 8) for _ in range(3)]
    for detached in (False, True):
        net = EcpwStfn(3, detached)
        net(*images).sum().backward()
        assert (net.Landsat_encoder[0][1].weight.grad is None) == detached


def test_corrected_attention_keeps_images_of_a_batch_apart() -> None:
    torch.manual_seed(0)
    images = [torch.rand(2, 3, 64, 64) for _ in range(3)]
    for attention, same in (("corrected", True), ("published", False)):
        net = SwinStfm(3, 64, attention, width=32).eval()  # type: ignore[arg-type]
        with torch.inference_mode():
            together, alone = net(*images)[:1], net(*(x[:1] for x in images))
        assert torch.allclose(together, alone, atol=1e-5) == same
    with pytest.raises(InputError, match="multiple of 256"):
        SwinStfm(3, 96)


def test_diffusion_refuses_what_it_cannot_sample() -> None:
    assert ddim_times(100, 50)[:3] == [99, 97, 95]
    with pytest.raises(InputError, match="more than 20"):
        Stfdiff(3, 8, (1, 2), 20, "linear")
    net = Stfdiff(3, 8, (1, 2), 10).eval()
    images = tuple(torch.rand(1, 3, 8, 8) for _ in range(3))
    with pytest.raises(InputError, match="11 sampling steps"):
        net.sample(images, 11, lambda _: images[0])  # type: ignore[arg-type]
