"""How each model is trained: its losses, its helper networks, its optimisers, one step. Plain PyTorch.

`published=True` repeats the survey's procedure, slips included (each is named where it is); the default does what was
meant. Where two networks are trained in turn, the order of steps and of zeroing gradients is the published one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam

from sitsfusion.datasets.stf_batch import StfBatch, only_valid
from sitsfusion.losses import stf as losses
from sitsfusion.nets.stf.ecpwstfn import EcpwStfn, ecpw_auto_encoder
from sitsfusion.nets.stf.edcstfn import EdcAutoEncoder
from sitsfusion.nets.stf.ganstfm import GanStfm, gan_auto_encoder
from sitsfusion.nets.stf.ganstfm_critic import GanStfmCritic
from sitsfusion.nets.stf.mlffgan import MlffCritic
from sitsfusion.nets.stf.srsfgan import SrsfCritic, SrsfGan
from sitsfusion.nets.stf.stfdiff import Stfdiff

Terms = dict[str, Tensor]
Backward = Callable[[Tensor], None]


class Recipe(nn.Module):
    """The simplest: mean absolute error, Adam at 1e-3, times 0.8 every 100 epochs. The base of all others.

    Args:
        net: what is trained.
        bands: of the images.
        published: see the module.

    Attributes:
        rate: of Adam at the start; `critic_rate` of the discriminator, where it differs.
        steps_per_batch: optimiser steps of a batch.
        has_auto_encoder: whether `step(pretraining=True)` trains an auto-encoder that the loss needs.
    """

    rate: ClassVar[float] = 1e-3
    weight_decay: ClassVar[float] = 0.0
    steps_per_batch: ClassVar[int] = 1
    has_auto_encoder: ClassVar[bool] = False

    def __init__(self, net: nn.Module, bands: int, published: bool = False) -> None:
        super().__init__()
        # Hidden from `parameters()`: the network belongs to the module that trains it.
        self._held = (net,)
        self.bands, self.published = bands, published

    @property
    def net(self) -> Any:
        """The network under training."""
        return self._held[0]

    def trained(self) -> list[nn.Module]:
        """The networks, in the order of their optimisers."""
        return [self.net]

    def optimisers(self, rate: float | None = None) -> list[Adam]:
        """One Adam per network; `rate` instead of the recipe's."""
        rates = self.rates(0, 1, rate)
        pairs = zip(self.trained(), rates, strict=True)
        return [Adam(net.parameters(), r, weight_decay=self.weight_decay) for net, r in pairs]

    def rates(self, epoch: int, epochs: int, rate: float | None = None) -> list[float]:
        """Learning rates of the optimisers in an epoch (from 0) of a run of so many epochs."""
        return [(rate or self.rate) * 0.8 ** (epoch // 100)] * len(self.trained())

    def step(self, batch: StfBatch, optimisers: Sequence[Any], backward: Backward, pretraining: bool = False) -> Terms:
        """Train on a batch; what is worth logging, `total_loss` among it."""
        [optimiser] = optimisers
        optimiser.zero_grad()
        prediction = self.net(*batch.images)
        loss = self.loss(*batch.compared(prediction))
        backward(loss)
        optimiser.step()
        return {"loss": loss, "mse": _error(prediction, batch), "total_loss": loss}

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Of two images `[n b h w]`."""
        return F.l1_loss(prediction, target)

    def predict(self, batch: StfBatch) -> Tensor:
        """The fine images `[n b h w]`."""
        return self.net(*batch.images)  # type: ignore[no-any-return]


class SwinRecipe(Recipe):
    """Charbonnier and MS-SSIM; a cosine from 1e-4 to 1e-7 over all epochs."""

    rate = 1e-4
    _lowest = 1e-7

    def rates(self, epoch: int, epochs: int, rate: float | None = None) -> list[float]:
        top = rate or self.rate
        return [self._lowest + (top - self._lowest) * (1 + math.cos(math.pi * epoch / epochs)) / 2]

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        return losses.swin_loss(prediction, target, self.published)


class StfdiffRecipe(Recipe):
    """The denoiser's answer at a random step. (The average of the weights is the run's business.)"""

    rate = 2e-4

    def __init__(self, net: nn.Module, bands: int, published: bool = False) -> None:
        super().__init__(net, bands, published)
        if not isinstance(net, Stfdiff):
            raise TypeError(f"StfdiffRecipe trains Stfdiff, found {type(net).__name__}")

    def draw(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Steps `[n]` and standard normal noise shaped as the images, of torch's global generator."""
        steps = torch.randint(self.net.steps, (len(target),), device=target.device)
        return steps, torch.randn_like(target)

    def step(self, batch: StfBatch, optimisers: Sequence[Any], backward: Backward, pretraining: bool = False) -> Terms:
        [optimiser] = optimisers
        optimiser.zero_grad()
        _, target = batch.compared(batch.fine_ref)  # gaps filled
        answer, meant = self.net.errors(batch.images, target, *self.draw(target))
        loss = losses.diffusion_loss(*only_valid(answer, meant, batch.valid))
        backward(loss)
        optimiser.step()
        return {"total_loss": loss}


class _WithAutoEncoder(Recipe):
    """First an auto-encoder is trained alone, then the network, with the auto-encoder's features in the loss.

    Published slip: the auto-encoder is shown the reference image and compared with the target's date.
    """

    weight_decay = 1e-6
    has_auto_encoder = True
    auto_encoder: nn.Module

    def trained(self) -> list[nn.Module]:
        return [self.net, self.auto_encoder]

    def step(self, batch: StfBatch, optimisers: Sequence[Any], backward: Backward, pretraining: bool = False) -> Terms:
        optimiser = optimisers[1 if pretraining else 0]
        optimiser.zero_grad()
        nothing = batch.target.new_zeros(())
        _, target = batch.compared(batch.fine_ref)  # gaps filled
        if pretraining:
            shown = batch.fine_ref if self.published else target
            loss = self.auto_encoder_loss(*batch.compared(self.auto_encoder(shown)))
        else:
            loss = self.fusion_loss(*batch.compared(self.net(*batch.images)))
        backward(loss)
        optimiser.step()
        separate = (loss, nothing) if pretraining else (nothing, loss)
        return {"pre_loss": separate[0], "loss": separate[1], "total_loss": loss}

    def auto_encoder_loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Of the auto-encoder."""
        raise TypeError(f"{type(self).__name__} defines no loss of its auto-encoder")

    def fusion_loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Of the network."""
        raise TypeError(f"{type(self).__name__} defines no loss of its network")


class EdcRecipe(_WithAutoEncoder):
    """EDCSTFN."""

    def __init__(self, net: nn.Module, bands: int, published: bool = False) -> None:
        super().__init__(net, bands, published)
        self.auto_encoder = EdcAutoEncoder(bands)

    def auto_encoder_loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        return losses.edc_auto_encoder_loss(prediction, target, self.published)

    def fusion_loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        encode: Any = self.auto_encoder
        return losses.edc_loss(prediction, target, encode.encode, self.published)


class EcpwRecipe(_WithAutoEncoder):
    """ECPW-STFN. Published slips: two schedulers lower the network's rate, none the auto-encoder's; and the wavelets
    cut the gradient (`EcpwStfn(detached=True)`).
    """

    def __init__(self, net: nn.Module, bands: int, published: bool = False) -> None:
        super().__init__(net, bands, published)
        if isinstance(net, EcpwStfn):
            net.detached = published
        self.auto_encoder = ecpw_auto_encoder(bands)

    def rates(self, epoch: int, epochs: int, rate: float | None = None) -> list[float]:
        top = rate or self.rate
        return [top * 0.64 ** (epoch // 100), top] if self.published else super().rates(epoch, epochs, rate)

    def auto_encoder_loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        return losses.ecpw_auto_encoder_loss(prediction, target, self.published)

    def fusion_loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        encode: Any = self.auto_encoder
        return losses.ecpw_loss(prediction, target, encode.encode, self.published)


class _Adversarial(Recipe):
    """A discriminator and the network in turn, the discriminator first."""

    steps_per_batch = 2
    critic: nn.Module
    critic_rate: ClassVar[float]

    def trained(self) -> list[nn.Module]:
        return [self.net, self.critic]

    def rates(self, epoch: int, epochs: int, rate: float | None = None) -> list[float]:
        share = (rate or self.rate) / self.rate
        return [self.rate * share, self.critic_rate * share]


class GanStfmRecipe(_Adversarial):
    """GAN-STFM. Its feature loss needs an auto-encoder: trained first, or read from a file; as published it is random
    where the file is missing.
    """

    critic_rate = 1e-3
    has_auto_encoder = True

    def __init__(self, net: nn.Module, bands: int, published: bool = False) -> None:
        super().__init__(net, bands, published)
        if isinstance(net, GanStfm):
            net.published = published
        self.critic = GanStfmCritic(bands)
        self.auto_encoder = gan_auto_encoder(bands)

    def trained(self) -> list[nn.Module]:
        return [self.net, self.critic, self.auto_encoder]

    def rates(self, epoch: int, epochs: int, rate: float | None = None) -> list[float]:
        return [*super().rates(epoch, epochs, rate), rate or self.rate]

    def step(self, batch: StfBatch, optimisers: Sequence[Any], backward: Backward, pretraining: bool = False) -> Terms:
        return self._pretrain(batch, optimisers, backward) if pretraining else self._fuse(batch, optimisers, backward)

    def _pretrain(self, batch: StfBatch, optimisers: Sequence[Any], backward: Backward) -> Terms:
        generator, _, optimiser = optimisers
        generator.zero_grad(set_to_none=True)
        optimiser.zero_grad()
        _, target = batch.compared(batch.fine_ref)
        loss = losses.edc_auto_encoder_loss(self.auto_encoder(target), target)
        backward(loss)
        optimiser.step()
        generator.step()  # without a gradient it changes nothing; every batch counts two steps
        return {"pre_loss": loss, "total_loss": loss}

    def _fuse(self, batch: StfBatch, optimisers: Sequence[Any], backward: Backward) -> Terms:
        generator, critic, _ = optimisers
        generator.zero_grad()
        critic.zero_grad()
        condition = self.net.condition(batch.coarse_ref, batch.coarse)
        prediction = self.net(*batch.images)
        made, target = batch.compared(prediction)
        d_loss = losses.critic_loss(self.critic(target, condition), self.critic(made.detach(), condition))
        backward(d_loss)
        critic.step()
        content = losses.gan_stfm_loss(made, target, self.auto_encoder.encode, self.published)
        adversarial = 0.5 * losses.least_squares(self.critic(made, condition), True)
        total = content + 1e-3 * adversarial
        backward(total)
        generator.step()
        mse = F.mse_loss(made, target)
        return {"d_loss": d_loss, "g_total_loss": total, "mse": mse, "total_loss": total}


class MlffRecipe(_Adversarial):
    """MLFF-GAN: the network runs again for its own step, with new dropout."""

    rate = 2e-4
    critic_rate = 2e-4

    def __init__(self, net: nn.Module, bands: int, published: bool = False) -> None:
        super().__init__(net, bands, published)
        self.critic = MlffCritic(bands)

    def step(self, batch: StfBatch, optimisers: Sequence[Any], backward: Backward, pretraining: bool = False) -> Terms:
        generator, critic = optimisers
        generator.zero_grad()
        critic.zero_grad()
        made, target = batch.compared(self.net(*batch.images))
        d_loss = losses.critic_loss(self.critic(target, batch.coarse), self.critic(made.detach(), batch.coarse))
        backward(d_loss)
        critic.step()
        made, target = batch.compared(self.net(*batch.images))
        adversarial = 1e-2 * losses.least_squares(self.critic(made, batch.coarse), True)
        total = adversarial + losses.mlff_loss(made, target, published=self.published)
        backward(total)
        generator.step()
        mse = F.mse_loss(made, target)
        return {"d_loss": d_loss, "g_loss": adversarial, "g_total_loss": total, "mse": mse, "total_loss": total}


class SrsfRecipe(_Adversarial):
    """SRSF-GAN: a discriminator of pixels; an auxiliary image helps the loss."""

    rate = 2e-4
    critic_rate = 2e-3

    def __init__(self, net: nn.Module, bands: int, published: bool = False) -> None:
        super().__init__(net, bands, published)
        self.critic = SrsfCritic(bands)

    def step(self, batch: StfBatch, optimisers: Sequence[Any], backward: Backward, pretraining: bool = False) -> Terms:
        generator, critic = optimisers
        net: SrsfGan = self.net
        generator.zero_grad()
        critic.zero_grad()
        prediction, auxiliary = net.with_auxiliary(batch.fine_ref, batch.coarse)
        made, target = batch.compared(prediction)
        d_loss = losses.critic_loss(self.critic(target), self.critic(made.detach()))
        backward(d_loss)
        critic.step()
        helper, _ = batch.compared(auxiliary)
        adversarial = 0.5 * losses.least_squares(self.critic(made), True)
        total = 0.01 * adversarial + losses.srsf_loss(made, helper, target, self.published)
        backward(total)
        generator.step()
        return {"d_loss": d_loss, "g_loss": total, "mse": F.mse_loss(made, target), "total_loss": total}


def _error(prediction: Tensor, batch: StfBatch) -> Tensor:
    return F.mse_loss(*batch.compared(prediction)).detach()


_RECIPES: dict[str, type[Recipe]] = {
    "edcstfn": EdcRecipe,
    "ecpwstfn": EcpwRecipe,
    "ganstfm": GanStfmRecipe,
    "mlffgan": MlffRecipe,
    "srsfgan": SrsfRecipe,
    "stfdiff": StfdiffRecipe,
    "swinstfm": SwinRecipe,
}


def recipe_of(model: str) -> type[Recipe]:
    """How a model is trained; one without a recipe of its own is trained the simplest way."""
    return _RECIPES.get(model, Recipe)


def register_recipe(model: str, recipe: type[Recipe]) -> None:
    """Give a model of one's own a recipe."""
    _RECIPES[model] = recipe
