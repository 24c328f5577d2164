from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sitsfusion.checkpoints.common import digest
from sitsfusion.checkpoints.tamrfsits import (
    convert_published,
    infer_architecture,
    load_tamrfsits,
    published_names,
    read_published,
    save_tamrfsits,
    to_published,
)
from sitsfusion.checkpoints.tamrfsits_names import from_published
from sitsfusion.errors import CheckpointError, InputError, ReadError
from sitsfusion.nets.tamrfsits import VARIANTS, TamrfsitsConfig, TamrfsitsNet
from sitsfusion.weights.config import TamrfsitsWeights, standardised_inputs
from tests.checkpoints import published
from tests.nets.small import SMALL_DECODERS, SMALL_ENCODERS

LISTINGS = Path(__file__).parents[1] / "golden" / "data"
FIRST = "the_modules.encoder.hr_encoder.model.encoder.blocks.0.weight"


def weights_of(net: TamrfsitsNet) -> TamrfsitsWeights:
    lr, hr = standardised_inputs("ls2s2_all")
    return TamrfsitsWeights(
        name="small",
        architecture=net.config,
        lr=lr,
        hr=hr,
        day_origin=date(2022, 1, 1),
        licence="CC0-1.0",
        source="a test",
    )


def assert_same(a: TamrfsitsNet, b: TamrfsitsNet) -> None:
    assert a.config == b.config
    torch.testing.assert_close(dict(a.state_dict()), dict(b.state_dict()), rtol=0, atol=0)


class TestNames:
    def test_are_those_of_the_published_listing(self) -> None:
        listing = json.loads((LISTINGS / "tamrfsits-model.keys.json").read_text())
        with torch.device("meta"):
            shapes = {n: [*t.shape] for n, t in to_published(TamrfsitsNet().state_dict(), TamrfsitsConfig()).items()}
        assert shapes == {name: shape for name, (shape, _) in listing.items()}

    @pytest.mark.parametrize("decoder", [*SMALL_DECODERS])
    @pytest.mark.parametrize("encoder", [*SMALL_ENCODERS])
    def test_go_there_and_back_for_every_group(self, encoder: str, decoder: str) -> None:
        group = SMALL_ENCODERS[encoder]
        net = published.published_net(hr_encoder=group, lr_encoder=group, decoder=SMALL_DECODERS[decoder])
        there = to_published(net.state_dict(), net.config)
        back = from_published(there, net.config, "memory")
        torch.testing.assert_close(back, dict(net.state_dict()), rtol=0, atol=0)

    def test_a_shared_carn_block_is_listed_three_times(self) -> None:
        net = published.published_net(lr_encoder=SMALL_ENCODERS["carn"])
        names = published_names(net.config)["encoder.lr.network.blocks.0.residual.0.conv1.weight"]
        assert [n.split("residual_blocks.")[1][0] for n in names] == ["0", "1", "2"]

    def test_of_a_learnable_encoding_are_not_known(self) -> None:
        with pytest.raises(CheckpointError, match="learnable"):
            published_names(TamrfsitsConfig(encoding="learnable"))


class TestInference:
    @pytest.mark.parametrize("name", [*VARIANTS])
    def test_size_variants(self, name: str) -> None:
        config = VARIANTS[name]
        with torch.device("meta"):
            state = to_published(TamrfsitsNet(config).state_dict(), config)
        assert infer_architecture(state) == config

    @pytest.mark.parametrize("decoder", [*SMALL_DECODERS])
    @pytest.mark.parametrize("encoder", [*SMALL_ENCODERS])
    def test_groups(self, encoder: str, decoder: str) -> None:
        group = SMALL_ENCODERS[encoder] | ({"base": 3} if encoder == "esrgan" else {})
        config = published.published_net(lr_encoder=group, decoder=SMALL_DECODERS[decoder]).config
        with torch.device("meta"):
            state = to_published(TamrfsitsNet(config).state_dict(), config)
        # Where a network that keeps the size resamples shows in no shape.
        known = {"lr_encoder": config.lr_encoder} if encoder == "mlp_norm" else {}
        assert infer_architecture(state, **known) == config

    def test_added_encoding(self) -> None:
        net = published.published_net(encoding_mode="add", encoding_features=8, sensor_token=4)
        assert infer_architecture(to_published(net.state_dict(), net.config)) == net.config

    def test_needs_the_entries_that_tell(self) -> None:
        net = published.published_net()
        state = to_published(net.state_dict(), net.config)
        del state["decoder.imputer.default_token"]
        with pytest.raises(CheckpointError, match=r"1 missing: decoder\.imputer\.default_token"):
            infer_architecture(state)
        with pytest.raises(CheckpointError, match="not TAMRFSITS weights"):
            infer_architecture({"some.weight": torch.zeros(2)})
        del state[FIRST.removeprefix("the_modules.")]
        with pytest.raises(CheckpointError, match=r"1 missing: encoder\.hr_encoder\.model\.encoder\.blocks\.0\.weight"):
            infer_architecture(state | {"decoder.imputer.default_token": torch.zeros(8)})


class TestPublished:
    net = published.published_net()

    @pytest.mark.parametrize("generation", [1, 2])
    def test_both_generations(self, tmp_path: Path, generation: int) -> None:
        path = published.write(tmp_path, published.state_dict(self.net, generation), published.training_config())
        net, weights = read_published(path)
        assert_same(net, self.net)
        assert not net.training
        assert weights.day_origin == "first_valid_hr"
        lr, hr = standardised_inputs("ls2s2_all")
        assert (weights.lr, weights.hr) == (lr, hr)
        assert weights.licence == "not stated"

    def test_names_and_shapes_of_a_whole_checkpoint(self, tmp_path: Path) -> None:
        """All 168 entries of version 2; those of the perceptual loss, which are skipped, are cut to one value."""
        listing = json.loads((LISTINGS / "tamrfsits-lightning.keys.json").read_text())
        state = {n: torch.full([1] if "lpips" in n else shape, 0.5) for n, (shape, _) in listing.items()}
        path = published.write(tmp_path, state, name="968639_s1t3.ckpt")
        net, weights = read_published(path)
        assert net.config == VARIANTS["s1t3"]
        assert weights.hr.bands[0].mean == 0.5
        assert (weights.day_origin, weights.source) == ("first_valid_hr", "doi:10.5281/zenodo.17474541")

    def test_without_perceptual_loss_or_outer_layers(self, tmp_path: Path) -> None:
        state = {n: t for n, t in published.state_dict(self.net).items() if "lpips" not in n}
        bare = {n.removeprefix("the_modules."): t for n, t in state.items()}
        torch.save(bare, tmp_path / "bare.pt")
        assert_same(read_published(tmp_path / "bare.pt", day_origin="first_valid_hr")[0], self.net)

    @pytest.mark.parametrize(
        ("stored", "expected"),
        [(None, "first_valid_hr"), ("2022.01.01", date(2022, 1, 1)), (date(2021, 3, 4), date(2021, 3, 4))],
    )
    def test_day_origin_of_the_configuration(self, tmp_path: Path, stored: Any, expected: Any) -> None:
        path = published.write(tmp_path, published.state_dict(self.net), published.training_config(dt_orig=stored))
        assert read_published(path)[1].day_origin == expected
        assert read_published(path, day_origin=date(2000, 1, 1))[1].day_origin == date(2000, 1, 1)

    def test_day_origin_of_a_known_file(self, tmp_path: Path) -> None:
        path = published.write(tmp_path, published.state_dict(self.net), name="tamrfsits_pretrained_2015974.ckpt")
        assert read_published(path)[1].day_origin == date(2022, 1, 1)

    def test_day_origin_must_be_known(self, tmp_path: Path) -> None:
        path = published.write(tmp_path, published.state_dict(self.net))
        with pytest.raises(CheckpointError, match="nothing tells the day origin"):
            read_published(path)

    def test_unreadable_day_origin(self, tmp_path: Path) -> None:
        training = published.training_config(dt_orig="${oc.env:ORIGIN}")
        path = published.write(tmp_path, published.state_dict(self.net), training)
        with pytest.raises(CheckpointError, match="dt_orig"):
            read_published(path)

    def test_statistics_without_buffers(self, tmp_path: Path) -> None:
        state = {n: t for n, t in published.state_dict(self.net).items() if n.startswith("the_modules.")}
        bare = published.write(tmp_path, state, name="tamrfsits_pretrained_2015974.ckpt")
        hr = standardised_inputs("ls2s2_2022")[1]
        assert read_published(bare)[1].hr == hr
        told = published.write(tmp_path, state, published.training_config())
        assert read_published(told)[1].lr == standardised_inputs("ls2s2_all")[0]
        (tmp_path / "hydra_config" / "config.yaml").unlink()
        with pytest.raises(CheckpointError, match="no standardisation"):
            read_published(told, day_origin="first_valid_hr")

    def test_statistics_that_contradict_the_configuration(self, tmp_path: Path) -> None:
        training = published.training_config()
        training["stats"]["lr_std"][3] = 0.5
        path = published.write(tmp_path, published.state_dict(self.net), training)
        with pytest.raises(CheckpointError, match="lr_std"):
            read_published(path)

    def test_nested_statistics_are_checked_too(self, tmp_path: Path) -> None:
        training = published.training_config()
        training["stats"] = {"hr": {"mean": [9.0] * 10}}
        path = published.write(tmp_path, published.state_dict(self.net), training)
        with pytest.raises(CheckpointError, match="hr_mean"):
            read_published(path)

    def test_an_unchecked_standardisation_is_announced(self, tmp_path: Path) -> None:
        training = published.training_config()
        training["stats"] = {}
        path = published.write(tmp_path, published.state_dict(self.net), training)
        with pytest.warns(UserWarning, match="no standardisation was found"):
            read_published(path)

    def test_options_that_contradict_the_shapes(self, tmp_path: Path) -> None:
        path = published.write(tmp_path, published.state_dict(self.net), published.training_config() | {"layers": 3})
        with pytest.raises(CheckpointError, match="layers: configuration 3, weights 2"):
            read_published(path)

    def test_options_that_shapes_do_not_show(self, tmp_path: Path) -> None:
        training = published.training_config() | {"base": 1000}
        training["training_module"]["training_module"]["encoder"]["nb_heads"] = 2
        path = published.write(tmp_path, published.state_dict(self.net), training)
        config = read_published(path)[0].config
        assert (config.heads, config.decoder_heads, config.encoding_div) == (2, 4, 1000.0)

    def test_a_silent_day_encoding_is_announced(self, tmp_path: Path) -> None:
        training = published.training_config()
        training["training_module"]["training_module"]["encoder"]["temporal_positional_encoder"] = {}
        path = published.write(tmp_path, published.state_dict(self.net), training)
        with pytest.warns(UserWarning, match="365 is used"):
            read_published(path)

    def test_a_configuration_of_something_else(self, tmp_path: Path) -> None:
        path = published.write(tmp_path, published.state_dict(self.net), {"optimizer": "adam"})
        with pytest.raises(CheckpointError, match="has no section"):
            read_published(path)

    def test_missing_entry(self, tmp_path: Path) -> None:
        state = published.state_dict(self.net)
        del state["the_modules.decoder.attention.norm2.bias"]
        with pytest.raises(CheckpointError, match=r"(?s)TAMRFSITS.*1 missing:\n    decoder.attention.norm2.bias"):
            read_published(published.write(tmp_path, state))

    def test_extra_entry(self, tmp_path: Path) -> None:
        state = published.state_dict(self.net) | {"the_modules.decoder.more": torch.zeros(3), "odd": torch.zeros(1)}
        with pytest.raises(CheckpointError, match=r"2 extra:\n    decoder.more \(3,\)\n    odd \(1,\)"):
            read_published(published.write(tmp_path, state))

    def test_other_shape(self, tmp_path: Path) -> None:
        state = published.state_dict(self.net)
        state["the_modules.decoder.attention.norm2.bias"] = torch.zeros(7)
        with pytest.raises(CheckpointError, match=r"norm2.bias: found \(7,\), expected \(20,\)"):
            read_published(published.write(tmp_path, state))

    def test_another_architecture(self, tmp_path: Path) -> None:
        path = published.write(tmp_path, published.state_dict(self.net))
        with pytest.raises(CheckpointError, match=r"(?s)3 RRDB.*missing.*and \d+ more.*another shape") as caught:
            read_published(path, architecture=VARIANTS["s3t3"])
        assert len(str(caught.value).splitlines()) <= 25

    def test_an_entry_twice(self, tmp_path: Path) -> None:
        state = published.state_dict(self.net)
        state[FIRST.replace("model.", "model._orig_mod.", 1)] = state[FIRST]
        with pytest.raises(CheckpointError, match="twice"):
            read_published(published.write(tmp_path, state))

    def test_not_a_state_dict(self, tmp_path: Path) -> None:
        torch.save({"epoch": 3}, tmp_path / "x.ckpt")
        with pytest.raises(CheckpointError, match="epoch is a int"):
            read_published(tmp_path / "x.ckpt")

    def test_bands_that_are_not_the_published_ones(self, tmp_path: Path) -> None:
        state = published.state_dict(self.net) | {"hr_std": torch.zeros(10)}
        with pytest.raises(CheckpointError, match="std"):
            read_published(published.write(tmp_path, state), day_origin="first_valid_hr")


class TestOwnFormat:
    def test_round_trip(self, tmp_path: Path) -> None:
        net = published.published_net(hr_encoder=SMALL_ENCODERS["unet"], lr_encoder=SMALL_ENCODERS["carn"])
        weights = weights_of(net)
        sha = save_tamrfsits(tmp_path / "set", net, weights)
        assert sha == digest(tmp_path / "set" / "weights.safetensors")
        for path in (tmp_path / "set", tmp_path / "set" / "weights.safetensors"):
            loaded, config = load_tamrfsits(path)
            assert_same(loaded, net)
            assert config == weights
            assert not loaded.training

    def test_a_published_checkpoint_is_converted(self, tmp_path: Path) -> None:
        net = published.published_net()
        path = published.write(tmp_path, published.state_dict(net), published.training_config())
        convert_published(path, tmp_path / "set")
        converted, config = load_tamrfsits(tmp_path / "set")
        assert_same(converted, load_tamrfsits(path)[0])
        assert config == read_published(path)[1]

    def test_config_of_another_network(self, tmp_path: Path) -> None:
        net = published.published_net()
        with pytest.raises(InputError, match="another architecture"):
            save_tamrfsits(tmp_path, published.published_net(layers=1), weights_of(net))

    def test_weights_of_another_network(self, tmp_path: Path) -> None:
        net = published.published_net()
        save_tamrfsits(tmp_path, net, weights_of(net))
        text = (tmp_path / "config.json").read_text()
        (tmp_path / "config.json").write_text(text.replace('"layers": 2', '"layers": 3'))
        with pytest.raises(CheckpointError, match=r"(?s)3 transformer layers.*missing:\n    encoder.temporal.layers.2"):
            load_tamrfsits(tmp_path)

    def test_unknown_key_in_the_config(self, tmp_path: Path) -> None:
        net = published.published_net()
        save_tamrfsits(tmp_path, net, weights_of(net))
        config = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps(config | {"colour": "blue"}))
        with pytest.raises(CheckpointError, match="colour"):
            load_tamrfsits(tmp_path)

    def test_absent(self, tmp_path: Path) -> None:
        with pytest.raises(ReadError, match=r"weights\.safetensors"):
            load_tamrfsits(tmp_path)


def test_entries_are_tensors_on_the_cpu(tmp_path: Path) -> None:
    net = published.published_net()
    save_tamrfsits(tmp_path, net, weights_of(net))
    tensors: list[Tensor] = list(load_tamrfsits(tmp_path)[0].state_dict().values())
    assert {t.device.type for t in tensors} == {"cpu"}
