"""The Lightning module of cross-sensor super-resolution (MISR-S2, arXiv 2404.16409)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sitsfusion.checkpoints.misr import MisrNet
from sitsfusion.errors import InputError
from sitsfusion.losses.misr import IMAGE_LOSSES, NOISE_LOSSES
from sitsfusion.metrics.lpips_alex import AlexLpips
from sitsfusion.metrics.misr import image_scores, to_8_bit
from sitsfusion.nets.misr import Backbone
from sitsfusion.nets.srdiff import SrDiff
from sitsfusion.training.misr.config import TrainingModuleConfig
from sitsfusion.training.misr.pictures import write_test
from sitsfusion.training.misr.tables import write_tables
from sitsfusion.training.module import Terms, TrainedModule, seeded_validation
from sitsfusion.weights.misr import MisrWeights

Batch = Mapping[str, Tensor]
Rows = list[dict[str, float]]


class MisrModule(TrainedModule):
    """Trains a backbone, or SRDiff on a frozen one.

    Args:
        net: with the weights it starts from.
        weights: what the trained network will say of itself.
        options: loss, schedule, how it is scored.
        lpips: for the tables; None leaves LPIPS out.
        seed, folder: as in `TrainedModule`.
    """

    family = "misr"
    net: Backbone | SrDiff
    weights: MisrWeights

    def __init__(
        self,
        net: MisrNet,
        weights: MisrWeights,
        options: TrainingModuleConfig,
        *,
        lpips: AlexLpips | None,
        seed: int,
        folder: Path,
    ) -> None:
        super().__init__(net, weights, options.optimiser, seed=seed, folder=folder)
        self.how = options
        self._lpips = [] if lpips is None else [lpips]  # in a list: no part of the checkpoint
        losses = NOISE_LOSSES if isinstance(net, SrDiff) else IMAGE_LOSSES
        if options.loss not in losses:
            known = ", ".join(losses)
            raise InputError(f"{weights.architecture.describe()} has no loss {options.loss!r}; use one of {known}")
        self.loss = losses[options.loss]
        self._rows: Rows = []
        self._baseline: Rows = []

    def training_step(self, batch: Batch, index: int) -> Tensor:
        self.seed_step()
        terms = self._terms(batch)
        self.require_finite(terms, batch)
        self.log_terms("train", terms, len(batch["id"]))
        return terms["total_loss"]

    def validation_step(self, batch: Batch, index: int) -> None:
        with seeded_validation(index):
            terms, rows = self._terms(batch), self.rows(batch)
        means = {name: torch.tensor(np.mean([row[name] for row in rows])) for name in rows[0] if name != "key"}
        self.log_terms("validation", terms | {name: mean.float() for name, mean in means.items()}, len(rows))

    def on_test_epoch_start(self) -> None:
        self._rows, self._baseline = [], []

    def test_step(self, batch: Batch, index: int) -> None:
        rows = self.test_rows(batch, index)
        self._rows += rows
        self._baseline += self.baseline_rows(batch)
        for name in rows[0]:
            if name != "key":
                self.log(f"test/{name}", float(np.mean([row[name] for row in rows])), batch_size=len(rows))

    def on_test_epoch_end(self) -> None:
        write_tables(self.folder, self._rows, self._baseline)

    def test_rows(self, batch: Batch, index: int) -> Rows:
        """`rows` of a test batch, whose images are written where `save_png` asks for it."""
        with seeded_validation(index), torch.no_grad():
            return self.rows(batch, self.folder / "test-pictures" if self.how.save_png else None)

    def rows(self, batch: Batch, pictures: Path | None = None) -> Rows:
        """Metrics of every image of a batch, with the spread of several draws, and the site's number as `key`.

        The images are written below `pictures`, if given.
        """
        made, spread = self.predict(batch)
        if pictures is not None:
            write_test(pictures, batch, made, self.net)
        rows = self._scored(made, batch)
        if spread is not None:
            rows = [row | {"spread": float(s)} for row, s in zip(rows, spread, strict=True)]
        return rows

    def baseline_rows(self, batch: Batch) -> Rows:
        """The same metrics of bicubic enlargement."""
        return self._scored(batch["base"], batch)

    @torch.no_grad()
    def predict(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Images `[b c H W]` in [-1, 1]; of several draws the mean, and their mean spread in 8-bit numbers `[b]`."""
        net = self.net
        if not isinstance(net, SrDiff):
            return net(batch["views"], batch["days"], batch["present"]), None
        features, base = net.condition(batch["views"], batch["days"], batch["present"]), batch["base"]
        drawn = torch.stack([self._draw(net, features, base) for _ in range(self.how.samples)])
        if len(drawn) == 1:
            return drawn[0], None
        return drawn.mean(0), 127.5 * drawn.std(0).mean((1, 2, 3))

    def _draw(self, net: SrDiff, features: Tensor, base: Tensor) -> Tensor:
        def noise(step: int) -> Tensor:
            return torch.randn_like(base)

        return net.sample(features, base, torch.randn_like(base), noise, self.how.sampling_steps)

    def picture(self, batch: Batch) -> NDArray[np.uint8]:
        """Bicubic enlargement, prediction and target of the first image, side by side: its first three bands."""
        made, _ = self.predict({name: values[:1] for name, values in batch.items()})
        shown = torch.cat([batch["base"][0], made[0], batch["hr"][0]], dim=-1)[:3]
        bands = shown if len(shown) == 3 else shown[:1].expand(3, -1, -1)
        return np.ascontiguousarray(to_8_bit(bands).permute(1, 2, 0).cpu().numpy().astype(np.uint8))

    def _terms(self, batch: Batch) -> Terms:
        net, hr = self.net, batch["hr"]
        if not isinstance(net, SrDiff):
            return {"total_loss": self.loss(net(batch["views"], batch["days"], batch["present"]), hr)}
        features = net.condition(batch["views"], batch["days"], batch["present"])
        t = torch.randint(net.diffusion.steps, (len(hr),), device=hr.device)
        noise = torch.randn_like(hr)
        found = net.predicted_noise(features, net.residual(hr, batch["base"]), t, noise)
        return {"total_loss": self.loss(found, noise)}

    def _scored(self, images: Tensor, batch: Batch) -> Rows:
        lpips: nn.Module | None = self._lpips[0].to(images.device) if self._lpips else None
        pairs = zip(images, batch["hr"], batch["id"].tolist(), strict=True)
        return [
            image_scores(made.clamp(-1, 1), hr, cast("AlexLpips | None", lpips)) | {"key": float(number)}
            for made, hr, number in pairs
        ]
