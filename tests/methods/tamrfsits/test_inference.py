"""Fast inference: equal to the plain network on the whole image, however it is cut, and as small as it says."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.grid import Window
from sitsfusion.methods.tamrfsits import strips, temporal
from sitsfusion.methods.tamrfsits.inference import Frames, Settings, halo, predict_core, reach
from sitsfusion.nets.tamrfsits import TamrfsitsConfig, TamrfsitsNet
from tests.methods.tamrfsits.windows import frames, predict_in_cores
from tests.nets.small import SMALL_DECODERS, SMALL_ENCODERS, images, small_net

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
# the published encoder at its real depth and reach, with few channels
ONE_RRDB = {"name": "esrenc", "rrdb": 1, "growth": 2}
SHALLOW = {"hr_encoder": ONE_RRDB, "lr_encoder": ONE_RRDB}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def series(net: TamrfsitsNet, size: tuple[int, int], t_lr: int = 3, t_hr: int = 4, seed: int = 0) -> Any:
    """Standardised images of both sensors with their days; `size` in coarse pixels."""
    c, (h, w) = net.config, size
    days = torch.randperm(500, generator=torch.Generator().manual_seed(seed)) - 60.5
    lr = images(seed, t_lr, c.lr_bands, h, w), days[:t_lr]
    hr = images(seed + 1, t_hr, c.hr_bands, c.ratio * h, c.ratio * w), days[t_lr : t_lr + t_hr]
    return lr, hr


@torch.inference_mode()
def whole(net: TamrfsitsNet, lr: Any, hr: Any, query: Tensor) -> Tensor:
    """The plain network: `[q, bands, H, W]`."""
    coarse, fine = ((None, None) if s is None else (s[0][None], s[1][None]) for s in (lr, hr))
    return net(*coarse, *fine, query)[0]


QUERY = torch.tensor([12.0, 300.25, -8.0])


@trials(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_cut_equals_the_whole_image(data: st.DataObject) -> None:
    net = small_net(data.draw(st.integers(0, 99)), **SHALLOW)
    size = data.draw(st.integers(1, 14)), data.draw(st.integers(1, 14))
    counts = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))
    lr, hr = series(net, size, *counts)
    query = torch.tensor(data.draw(st.lists(st.floats(-400, 900), min_size=1, max_size=4)))
    side = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    torch.testing.assert_close(predict_in_cores(net, lr, hr, query, side), whole(net, lr, hr, query), **CLOSE)


@pytest.mark.parametrize("size", [(50, 4), (3, 51)])
def test_cores_far_from_the_border_read_no_more_than_the_halo(size: tuple[int, int]) -> None:
    """Longer than both halos on one axis, so that windows end inside the image."""
    net = small_net(1, **SHALLOW)
    lr, hr = series(net, size, 2, 2)
    torch.testing.assert_close(predict_in_cores(net, lr, hr, QUERY, (5, 5)), whole(net, lr, hr, QUERY), **CLOSE)


@pytest.mark.parametrize("role", ["hr_encoder", "lr_encoder"])
@pytest.mark.parametrize("name", SMALL_ENCODERS)
def test_every_encoder(role: str, name: str) -> None:
    net = small_net(2, **SHALLOW | {role: SMALL_ENCODERS[name]})
    cells = max(reach(net.config).multiple // net.config.ratio, 1)
    lr, hr = series(net, (12, 18), 2, 2)
    found = predict_in_cores(net, lr, hr, QUERY, (4 if 4 % cells == 0 else cells, 6))
    torch.testing.assert_close(found, whole(net, lr, hr, QUERY), **CLOSE)


def test_late_unet_and_two_stages() -> None:
    late = SMALL_ENCODERS["unet"] | {"resample": "late"}
    stages = {"name": "esrenc", "rrdb": 1, "growth": 2, "base": 2}
    for options in ({"lr_encoder": late}, {"ratio": 4, "lr_encoder": stages}):
        net = small_net(3, **SHALLOW | options)
        lr, hr = series(net, (8, 12), 2, 2)
        torch.testing.assert_close(predict_in_cores(net, lr, hr, QUERY, (4, 8)), whole(net, lr, hr, QUERY), **CLOSE)


@pytest.mark.parametrize(
    "options",
    [
        *({"decoder": d} for d in SMALL_DECODERS.values()),
        {"encoding": "learnable"},
        {"encoding_mode": "add", "encoding_features": 8},
        {"encoding_mode": "yield"},
        {"sensor_token": 0},
        {"layers": 0},
        {"ratio": 1, "lr_encoder": ONE_RRDB},
    ],
    ids=str,
)
def test_every_decoder_and_encoding(options: dict[str, Any]) -> None:
    net = small_net(4, **SHALLOW | options)
    lr, hr = series(net, (6, 7))
    torch.testing.assert_close(predict_in_cores(net, lr, hr, QUERY, (4, 3)), whole(net, lr, hr, QUERY), **CLOSE)


def test_published_network() -> None:
    net = TamrfsitsNet().eval()
    lr, hr = series(net, (5, 7), 2, 2)
    torch.testing.assert_close(predict_in_cores(net, lr, hr, QUERY, (3, 7)), whole(net, lr, hr, QUERY), **CLOSE)
    assert halo(net.config) == {"hr": 19, "lr": 20}


def test_one_sensor() -> None:
    net = small_net(5, **SHALLOW)
    lr, hr = series(net, (5, 6))
    for one in ((lr, None), (None, hr)):
        torch.testing.assert_close(predict_in_cores(net, *one, QUERY, (2, 4)), whole(net, *one, QUERY), **CLOSE)


def test_no_date_at_all_still_gives_borders() -> None:
    """The spatial decoder's zero padding shows at the border of the image, and at no tile's."""
    net = small_net(6, **SHALLOW)
    lr, hr = series(net, (4, 5), 0, 0)
    found = predict_in_cores(net, lr, hr, QUERY, (2, 2))
    torch.testing.assert_close(found, whole(net, lr, hr, QUERY), **CLOSE)
    torch.testing.assert_close(found[..., 5, 5], found[..., 6, 8])
    assert not torch.allclose(found[..., 0, 0], found[..., 6, 8])


@pytest.mark.parametrize(("tokens", "rows", "days"), [(1, 4, 1), (40, 5, 2), (10**6, 100, 100)])
def test_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch, tokens: int, rows: int, days: int) -> None:
    net = small_net(7, **SHALLOW)
    lr, hr = series(net, (8, 3))
    monkeypatch.setattr(temporal, "TOKENS", tokens)
    monkeypatch.setattr(strips, "STRIP_ROWS", rows)
    monkeypatch.setattr(strips, "DAYS", days)
    found = predict_in_cores(net, lr, hr, QUERY, (5, 3), Settings(batch=2))
    torch.testing.assert_close(found, whole(net, lr, hr, QUERY), **CLOSE)


def core_frames(net: TamrfsitsNet, lr: Any, hr: Any) -> tuple[Frames, Frames]:
    core, needed = Window(1, 1, 2, 3), reach(net.config)
    return frames(*lr, core, needed.lr), frames(*hr, core.scaled(net.config.ratio), needed.hr)


def test_order_of_dates_and_days() -> None:
    net = small_net(8, **SHALLOW)
    lr, hr = series(net, (5, 6), 4, 5)
    query = torch.tensor([12.0, 300.25, -8.0, 12.0])
    expected = predict_core(net, *core_frames(net, lr, hr), query)
    orders = torch.tensor([2, 0, 3, 1]), torch.tensor([4, 3, 2, 0, 1])
    mixed = [(values[order], days[order]) for (values, days), order in zip((lr, hr), orders, strict=True)]
    torch.testing.assert_close(predict_core(net, *core_frames(net, *mixed), query), expected, **CLOSE)
    one_by_one = torch.cat([predict_core(net, *core_frames(net, lr, hr), day[None]) for day in query])
    torch.testing.assert_close(one_by_one, expected, **CLOSE)
    torch.testing.assert_close(expected[0], expected[3], rtol=0, atol=0)


def test_bands_and_no_query_day() -> None:
    net = small_net(9, **SHALLOW)
    given_frames = core_frames(net, *series(net, (5, 6)))
    every = predict_core(net, *given_frames, QUERY)
    torch.testing.assert_close(predict_core(net, *given_frames, QUERY, bands=[4, 1]), every[:, [4, 1]], **CLOSE)
    assert predict_core(net, *given_frames, QUERY[:0]).shape == (0, 5, 6, 9)


def test_each_image_is_decoded_once_and_the_network_is_left_alone() -> None:
    net = small_net(10, **SHALLOW)
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    calls: list[tuple[str, int]] = []

    def counted(name: str, source: Frames) -> Frames:
        return replace(source, frame=lambda t: (calls.append((name, t)), source.frame(t))[1])

    lr, hr = core_frames(net, *series(net, (5, 6), 2, 3))
    first = predict_core(net, counted("lr", lr), counted("hr", hr), QUERY)
    assert calls == [("lr", 0), ("lr", 1), ("hr", 0), ("hr", 1), ("hr", 2)]
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    torch.testing.assert_close(first, predict_core(net, lr, hr, QUERY), rtol=0, atol=0)  # no dropout


def test_bfloat16_is_close() -> None:
    net = TamrfsitsNet().eval()
    lr, hr = series(net, (4, 5), 3, 3)
    exact = whole(net, lr, hr, QUERY)
    found = predict_in_cores(net, lr, hr, QUERY, (4, 5), Settings(dtype=torch.bfloat16))
    assert found.dtype == torch.float32
    difference = (found - exact).abs()
    assert difference.mean() < 0.01 * exact.std()
    assert difference.max() < 0.1 * exact.std()


@pytest.mark.parametrize("role", ["hr", "lr"])
@pytest.mark.parametrize("name", SMALL_ENCODERS)
def test_reach_is_exact(role: str, name: str) -> None:
    """The first row of a core depends on pixels exactly `reach` rows above it, by the gradient of the plain network."""
    net = small_net(11, **SHALLOW | {f"{role}_encoder": SMALL_ENCODERS[name]}).double()
    found = reach(net.config)
    aligned = max(found.multiple // net.config.ratio, 1)
    rows = {"hr": found.hr, "lr": found.lr}[role]
    cells = (-(-rows // (net.config.ratio if role == "hr" else 1)) // aligned + 2) * aligned
    lr, hr = series(net, (cells + aligned, 2 * aligned), 1, 1)
    inputs = {"lr": lr[0].double().requires_grad_(), "hr": hr[0].double().requires_grad_()}
    out = net(inputs["lr"][None], lr[1], inputs["hr"][None], hr[1], QUERY[:1])
    out[..., cells * net.config.ratio, :].sum().backward()
    gradient = inputs[role].grad
    assert gradient is not None
    first = int(gradient.abs().sum((0, 1, 3)).nonzero()[0])
    core = cells * net.config.ratio if role == "hr" else cells
    if found.multiple == 1:
        assert core - first == rows
    else:
        assert rows - found.multiple < core - first <= rows  # rounded up to where windows may start


def test_images_that_a_unet_cannot_see_in_parts() -> None:
    found = reach(TamrfsitsConfig.from_dict({"hr_encoder": "unet"}))
    assert found.multiple == 12
    assert found.hr % 12 == 0
    assert found.allows_tiles(120, 240)
    assert not found.allows_tiles(120, 243)


def test_refused_inputs() -> None:
    net = small_net(12, **SHALLOW)
    lr, hr = core_frames(net, *series(net, (5, 6)))
    with pytest.raises(InputError, match="both sensors are None"):
        predict_core(net, None, None, QUERY)
    with pytest.raises(InputError, match="cores of the sensors differ"):
        predict_core(net, replace(lr, core=Window(0, 0, 2, 3)), hr, QUERY)
    with pytest.raises(InputError, match="expected \\[bands, 5, 6\\]"):
        predict_core(net, replace(lr, frame=lambda t: torch.zeros(2, 5, 5)), hr, QUERY)
    with pytest.raises(InputError, match="does not lie inside"):
        replace(lr, core=Window(4, 0, 2, 3))
    with pytest.raises(InputError, match="float16"):
        Settings(dtype=torch.float16)
    with pytest.raises(InputError, match="batch"):
        Settings(batch=0)


CASES: dict[str, dict[str, Any]] = {
    "many dates": {"core": [96, 96], "dates": [4, 6], "queries": 4, "dtype": "float32"},
    "half precision": {"core": [24, 24], "dates": [1, 2], "queries": 1, "dtype": "bfloat16"},
    "few days": {"core": [24, 48], "dates": [1, 1], "queries": 16, "dtype": "float32"},
    "many days": {"core": [24, 48], "dates": [1, 1], "queries": 136, "dtype": "float32"},
}


@pytest.fixture(scope="module")
def memory() -> dict[str, dict[str, int]]:
    """Measured and predicted bytes of the published network in the cases above."""
    script = Path(__file__).with_name("peak.py")
    command = [sys.executable, str(script), json.dumps(list(CASES.values()))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(zip(CASES, map(json.loads, done.stdout.splitlines()), strict=True))


def test_memory_is_as_predicted(memory: dict[str, dict[str, int]]) -> None:
    assert all(case["measured"] <= case["predicted"] for case in memory.values())
    assert memory["many dates"]["measured"] > 0.5 * memory["many dates"]["predicted"]


def test_memory_does_not_hold_all_days(memory: dict[str, dict[str, int]]) -> None:
    output, tokens = (120 * channels * 24 * 48 * 4 for channels in (18, 136))
    # The output, and 15 MB for how allocators behave; the decoder's tokens of all days would take 75 MB.
    assert memory["many days"]["measured"] - memory["few days"]["measured"] < output + 0.2 * tokens
