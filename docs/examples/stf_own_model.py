"""A fusion model of your own in one file, trained and exported like the others: `python stf_own_model.py FOLDER`."""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from sitsfusion import methods
from sitsfusion.datasets import stf_fabricate, stf_sets
from sitsfusion.methods.stf_deep.base import method_of
from sitsfusion.nets.stf import registry
from sitsfusion.training import compose, run
from sitsfusion.training.export import export_safetensors, read_trained


class MyNet(nn.Module):
    """The fine image plus a learnt mix of all three images."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3 * bands, bands, 3, padding=1)

    def forward(self, coarse_ref: Tensor, fine_ref: Tensor, coarse: Tensor) -> Tensor:
        """Images [n b h w] on the fine grid -> the fine image of the date of `coarse`."""
        return fine_ref + self.mix(torch.cat([coarse_ref, fine_ref, coarse], 1))


MODEL = registry.register(registry.StfModel("mynet", "My network", MyNet, reach=1))
methods.register(method_of(MODEL))

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    stf_fabricate.fabricate(stf_sets.get("WH"), folder)
    data = ["data=wh", "data.tile=32", f"location.data={folder}", "trainer.log_every_n_steps=1"]
    short = ["trainer=cpu", "trainer.max_epochs=1", "trainer.val_check_interval=2", "callbacks.progress_bar=false"]
    config = compose.compose(["experiment=stf-plain", "training.model=mynet", *data, *short])
    net, weights = read_trained(run.train(config, folder / "run"))
    export_safetensors(net, weights, folder / "weights")  # then: sitsfusion fuse ... --set weights=FOLDER/weights
