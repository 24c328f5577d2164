"""What a method is handed: device, precision, networks, and random numbers that do not depend on tiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfusion.engine.runtime import Runtime
from sitsfusion.errors import InputError
from sitsfusion.grid import Window

pytestmark = pytest.mark.smoke
CPU = torch.device("cpu")


@settings(deadline=None, max_examples=40)
@given(
    row=st.integers(0, 300),
    col=st.integers(0, 300),
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    channels=st.integers(1, 3),
)
def test_noise_depends_on_the_position_alone(row: int, col: int, height: int, width: int, channels: int) -> None:
    runtime = Runtime(CPU, seed=3)
    part = runtime.noise("diffusion", Window(row, col, height, width), channels)
    assert part.shape == (channels, height, width)
    assert part.dtype == np.float32
    around = Runtime(CPU, seed=3).noise(
        "diffusion", Window(max(row - 5, 0), max(col - 9, 0), height + 20, width + 20), 3
    )
    top, left = min(row, 5), min(col, 9)
    np.testing.assert_array_equal(part, around[:channels, top : top + height, left : left + width])


def test_noise_is_standard_normal_and_another_for_every_seed_and_purpose() -> None:
    window = Window(0, 0, 200, 300)
    one = Runtime(CPU, seed=0).noise("a", window, 2)
    assert abs(one.mean()) < 0.02
    assert one.std() == pytest.approx(1, abs=0.02)
    rows, cols = one[0, :, 128:192], one[0, 64:128]
    for a, b in ((rows[0:64], rows[64:128]), (cols[:, 0:64], cols[:, 64:128])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.06, "neighbouring blocks are drawn apart"
    others = [one[1:2], Runtime(CPU, seed=1).noise("a", window), Runtime(CPU, seed=0).noise("b", window), one[:1, ::-1]]
    for other in others:
        assert abs(np.corrcoef(one[0].ravel(), other[0].ravel())[0, 1]) < 0.02


def test_a_network_is_built_once() -> None:
    runtime, built = Runtime(CPU), []

    def build() -> str:
        built.append(1)
        return "network"

    assert [runtime.network("weights-1", build) for _ in range(3)] == ["network"] * 3
    assert len(built) == 1
    runtime.network("weights-2", build)
    assert len(built) == 2


def test_batches_halve_down_to_one() -> None:
    runtime = Runtime(CPU, batch=5)
    assert [runtime.halve_batch(), runtime.batch, runtime.halve_batch(), runtime.batch] == [True, 2, True, 1]
    assert not runtime.halve_batch()


def test_float32_means_no_tf32() -> None:
    torch.backends.cuda.matmul.allow_tf32 = True
    made = Runtime.create("cpu")
    assert made.dtype is torch.float32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert Runtime.create("cpu", "bfloat16").dtype is torch.bfloat16


def test_threads_are_set_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        Runtime.create("cpu", threads=2)
        assert torch.get_num_threads() == 2
        monkeypatch.setenv("TORCH_NUM_THREADS", "1")
        Runtime.create("cpu")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": "toaster"}, "unknown device 'toaster'; expected auto, cpu, cuda or cuda:N"),
        ({"dtype": "float16"}, "unknown dtype 'float16'; expected one of float32, bfloat16"),
    ],
)
def test_unknown_devices_and_types_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Runtime.create(**arguments)


def test_a_gpu_that_is_not_there_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Runtime.create("auto").device == CPU
    with pytest.raises(InputError, match="device cuda was asked for, but this torch finds no GPU; use --device cpu"):
        Runtime.create("cuda")
