"""The deep fusion methods: bands, gaps, radiometry, wiring, errors. (Tiles and kills: the battery.)"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sitsfusion import fuse, methods
from sitsfusion.checkpoints.stf import save_stf
from sitsfusion.errors import InputError, MissingBandError
from sitsfusion.methods.stf_deep.base import method_of
from sitsfusion.nets.stf import registry
from sitsfusion.query import query_of
from tests.fake.stf_weights import small_config, stf_weights
from tests.methods.stf_classical.places import pair_scene, truth
from tests.scenes import days


class Change(nn.Module):
    """F1 + (C2 - C1): a network without weights."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(bands))

    def forward(self, coarse_ref: Tensor, fine_ref: Tensor, coarse: Tensor) -> Tensor:
        """The sum."""
        return fine_ref + coarse - coarse_ref


@pytest.fixture
def change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Options of a method whose answer is known; it is forgotten afterwards."""
    monkeypatch.setattr(methods, "_REGISTERED", dict(methods._REGISTERED))
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))
    methods.register(method_of(registry.register(registry.StfModel("plain-change", "Change", Change, multiple=8))))
    config = small_config("plain-change", network_range=(-1.0, 1.0), resampling="nearest")
    save_stf(tmp_path, Change(3), config)
    return {"weights": str(tmp_path)}


def test_a_network_that_adds_the_change_is_the_baseline(change: dict[str, str]) -> None:
    scene = pair_scene((10, 11))
    ours = fuse(scene, days(5), method="plain-change", **change)
    baseline = fuse(scene, days(5), method="coarse-change")
    (a, seen), (b, expected) = (x["fine"].to_numpy() for x in (ours, baseline))
    np.testing.assert_array_equal(seen, expected)
    np.testing.assert_allclose(a[0][:, seen[0]], b[0][:, seen[0]], atol=2e-4)  # both are written as integers
    assert not seen.all()


def test_baselines() -> None:
    scene = pair_scene((8, 8), clouds=False)
    values, _ = fuse(scene, days(4), method="copy-fine")["fine"].to_numpy()
    np.testing.assert_allclose(values[0], truth(0, (24, 24), 0), atol=1e-4)


def test_days_without_images_are_refused_with_the_reason() -> None:
    scene = pair_scene((8, 8))
    job = methods.make("edcstfn", {"weights": stf_weights("edcstfn")})
    plan = job.plan(scene, query_of(scene, days(5, 7), job.outputs(scene)))
    [refused] = plan.refused
    assert "no usable coarse image of that day" in refused.reason


def test_weights_of_other_models_and_bands_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="use method edcstfn"):
        fuse(pair_scene((8, 8)), days(5), method="mlffgan", weights=stf_weights("edcstfn"))
    config = small_config("edcstfn", bands=("blue", "red", "swir16"))
    save_stf(tmp_path, registry.get("edcstfn").build(3, {}), config)
    with pytest.raises(MissingBandError, match="red, swir16 is missing"):
        fuse(pair_scene((8, 8)), days(5), method="edcstfn", weights=str(tmp_path))
    with pytest.raises(InputError, match="weights"):
        methods.make("edcstfn")


def test_two_pairs_differ_from_one() -> None:
    scene = pair_scene((8, 8), clouds=False)
    one, two = (
        fuse(scene, days(5), method="edcstfn", weights=stf_weights("edcstfn"), pairs=n)["fine"].to_numpy()[0]
        for n in (1, 2)
    )
    assert not np.allclose(one, two)


def test_provenance_names_weights_and_wiring() -> None:
    made = methods.make("swinstfm", {"weights": stf_weights("swinstfm")}).provenance()
    assert (made["weights"], made["wiring"]) == ("swinstfm-drawn", "corrected")
    assert len(made["weights_sha256"]) == 64
