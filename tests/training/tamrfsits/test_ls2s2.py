"""Sites on disk to a trained checkpoint."""

from __future__ import annotations

from pathlib import Path

from sitsfusion.training.compose import compose
from sitsfusion.training.export import read_trained
from sitsfusion.training.run import train
from tests.fake.products import days, write_ls2s2
from tests.training.tiny import NETWORK, OBJECTIVE, RUN, losses

DAYS = [f"2022-{month:02d}-03" for month in range(1, 13)]


def test_listed_sites_train(tmp_path: Path) -> None:
    site = write_ls2s2(tmp_path / "site", days(*DAYS), days(*DAYS[::2]), side=360)
    data = [
        "datamodule=ls2s2_2022",
        "datamodule.config.preset=null",
        f"+datamodule.config.training_sites=[{site}]",
        "datamodule.config.patch_size=180",
        "datamodule.config.min_nb_dates=2",
        "datamodule.config.max_nb_dates=8",
        "datamodule.config.num_workers=0",
        "+datamodule.config.train_ratio=0.5",
        "+datamodule.config.validation_ratio=0.5",
        f"location.cache={tmp_path / 'cache'}",
        f"location.runs={tmp_path / 'runs'}",
    ]
    options = [option for option in RUN if "datamodule" not in option]
    train(compose([*options, *NETWORK, *OBJECTIVE, *data, "trainer.max_steps=3", "trainer.val_check_interval=2"]))
    folder = tmp_path / "runs" / "base"
    assert losses(folder).keys() == {0, 1, 2}
    assert losses(folder, "validation/total_loss").keys() == {1}
    assert any((tmp_path / "cache").iterdir())
    assert str(read_trained(folder)[1].day_origin) == "2022-01-01"
