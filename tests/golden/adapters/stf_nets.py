"""Networks and losses of deep spatiotemporal fusion. Crops, seeds and shapes of single entries are read from `how`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sitsfusion.losses import stf
from sitsfusion.losses.msssim import ms_ssim, ssim_terms
from sitsfusion.nets.diffusion import schedule_numbers
from sitsfusion.nets.stf.ecpwstfn import EcpwStfn, ecpw_auto_encoder
from sitsfusion.nets.stf.edcstfn import EdcAutoEncoder, Edcstfn
from sitsfusion.nets.stf.ganstfm import GanStfm, gan_auto_encoder
from sitsfusion.nets.stf.ganstfm_critic import GanStfmCritic
from sitsfusion.nets.stf.mlffgan import MlffCritic, MlffGan
from sitsfusion.nets.stf.srsfgan import SrsfCritic, SrsfGan, eighth
from sitsfusion.nets.stf.stfdiff import Stfdiff, ddim_times
from sitsfusion.nets.stf.swinstfm import SwinStfm
from sitsfusion.nets.wavelet import haar
from tests.golden import recipe
from tests.golden.goldens import Golden, adapter

Arrays = dict[str, np.ndarray]
Images = tuple[Tensor, Tensor, Tensor]
NAMES = ("LR_t1", "HR_t1", "LR_t2")


def drawn(net: nn.Module, seed: int) -> nn.Module:
    """The network in evaluation mode, its weights drawn on its own names."""
    shapes = {k: (tuple(v.shape), str(v.dtype).removeprefix("torch.")) for k, v in net.state_dict().items()}
    state = recipe.state_dict(shapes, seed)
    net.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in state.items()})
    return net.eval()


def image(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.from_numpy(recipe.array(name, shape, seed))


def images(golden: Golden, shape: tuple[int, ...] | None = None, seed: int | None = None) -> Images:
    """Coarse reference, fine reference, coarse wanted."""
    shape = shape or tuple(golden.meta["shape"])
    c1, f1, c2 = (image(name, shape, golden.seed if seed is None else seed) for name in NAMES)
    return c1, f1, c2


def target(golden: Golden) -> Tensor:
    return image("HR_t2", tuple(golden.meta["shape"]), golden.seed)


def sentence(golden: Golden, entry: str) -> str:
    """What `how` says about an entry."""
    return re.search(rf"{entry}\b(.*?)(?=[;.] |\.?$)", golden.meta["how"])[1]  # type: ignore[index]


def crop(golden: Golden, entry: str, x: Tensor) -> Tensor:
    first, last = (int(n) for n in re.search(r"rows and columns (\d+):(\d+)", sentence(golden, entry)).groups())  # type: ignore[union-attr]
    return x[..., first:last, first:last]


def numpy(outputs: dict[str, Tensor]) -> Arrays:
    return {k: v.detach().numpy() for k, v in outputs.items()}


@adapter("stf_ecpw")
@torch.inference_mode()
def ecpw(golden: Golden) -> Arrays:
    bands, pair = golden.meta["bands"], images(golden)
    auto = drawn(ecpw_auto_encoder(bands), golden.seed)
    made = {"ae": auto(pair[1]), "ae_enc": auto.encode(pair[1])}
    made |= {f"dwt_c{k}": band for k, band in zip("AHVD", haar(pair[1][:1, :1]), strict=True)}
    plain, published = (drawn(EcpwStfn(bands, detached=d), golden.seed)(*pair) for d in (False, True))
    assert torch.equal(plain, published)
    return numpy(made | {"pred": plain})


@adapter("stf_edc")
@torch.inference_mode()
def edc(golden: Golden) -> Arrays:
    bands, pair, how = golden.meta["bands"], images(golden), golden.meta["how"]
    net, auto = drawn(Edcstfn(bands), golden.seed), drawn(EdcAutoEncoder(bands), golden.seed)
    every = int(re.search(r"every (\d+)th channel", how)[1])  # type: ignore[index]
    made = {"pred": net(*pair), "ae": auto(pair[1])[:1], "ae_enc": auto.encode(pair[1])[:1, ::every]}
    size = {k: int(re.search(rf"{k}\w* of shape \[B,bands,(\d+),", how)[1]) for k in ("C_", "F_")}  # type: ignore[index]
    factor = float(re.search(r"upsampled x(\d+)", how)[1])  # type: ignore[index]
    coarse, fine = {}, {}
    for date in ("prev", "next", "pred"):
        drawing = image(f"C_{date}", (len(pair[0]), bands, *(size["C_"],) * 2), golden.seed)
        coarse[date] = F.interpolate(drawing, scale_factor=factor, mode="bilinear", align_corners=True)
        fine[date] = image(f"F_{date}", (len(pair[0]), bands, *(size["F_"],) * 2), golden.seed)
    pairs = [(coarse[date], fine[date]) for date in ("prev", "next")]
    made["two_ref_eval"] = net.from_two(pairs, coarse["pred"])
    for date, (c, f) in zip(("prev", "next"), pairs, strict=True):
        made[f"two_ref_train_{date}"] = net(c, f, coarse["pred"])
    return numpy(made)


@adapter("stf_ganstfm")
@torch.no_grad()
def ganstfm(golden: Golden) -> Arrays:
    bands, pair = golden.meta["bands"], images(golden)
    net = drawn(GanStfm(bands, published=True), golden.seed)
    other = drawn(GanStfm(bands), golden.seed)
    made = {"pred": net(*pair), "pred_target_wiring": crop(golden, "pred_target_wiring", other(*pair))}
    made["ae"] = drawn(gan_auto_encoder(bands), golden.seed)(pair[1])[:1]
    critic = drawn(GanStfmCritic(bands), golden.seed)
    scales = dict(zip(("d1", "d2", "d3"), critic.logits(target(golden), pair[0]), strict=True))
    critic = drawn(GanStfmCritic(bands), golden.seed)
    made |= scales | {"d_first": critic(target(golden), pair[0])}
    made["d_second"] = critic(target(golden), pair[0])
    made["pred_train"] = crop(golden, "pred_train", net.train()(*pair))
    norm = net.encoder[0].residual[0]
    made |= {f"running_{k}_after_train": getattr(norm, f"running_{k}").flatten() for k in ("mean", "var")}
    return numpy(made)


@adapter("stf_mlff")
@torch.inference_mode()
def mlff(golden: Golden) -> Arrays:
    bands, pair = golden.meta["bands"], images(golden)
    made, maps = drawn(MlffGan(bands), golden.seed).with_maps(*pair)
    features = drawn(MlffCritic(bands), golden.seed).features(target(golden), pair[2])
    every = int(re.search(r"every (\d+)th channel", golden.meta["how"])[1])  # type: ignore[index]
    features = [f[:, ::every] for f in features[:4]] + features[4:]
    outputs = {f"d_feat{k}": f for k, f in enumerate(features)} | {f"mask{k}": m for k, m in enumerate(maps)}
    return numpy(outputs | {"pred": made})


@adapter("stf_srsf")
@torch.inference_mode()
def srsf(golden: Golden) -> Arrays:
    bands, (_, fine, coarse) = golden.meta["bands"], images(golden)
    made, auxiliary = drawn(SrsfGan(bands), golden.seed).with_auxiliary(fine, coarse)
    probability = drawn(SrsfCritic(bands), golden.seed)(target(golden))
    return numpy({"pred": made, "outs": auxiliary, "d": probability, "lr_down": eighth(coarse)})


@adapter("stf_stfdiff")
@torch.inference_mode()
def stfdiff(golden: Golden) -> Arrays:
    bands, pair, how = golden.meta["bands"], images(golden), golden.meta["how"]
    shape = tuple(golden.meta["shape"])

    def noise(k: int) -> Tensor:
        name = "noise" + (str(k) if k else "")
        return torch.from_numpy(recipe.rng(f"input:{name}", golden.seed).standard_normal(shape).astype(np.float32))

    def steps_of(start: str) -> Tensor:
        numbers = re.search(start + r".*?t=\[([\d,]+)\]", how)[1].split(",")  # type: ignore[index]
        return torch.tensor([int(n) for n in numbers][: shape[0]])

    net = drawn(Stfdiff(bands), golden.seed)
    t = steps_of(r"net = PredNoiseNet")
    answer, meant = net.errors(pair, target(golden), t, noise(0))
    made = {"q_sample": net.diffusion.noisy(target(golden), t, noise(0)), "net": answer}
    made |= {"p_loss": stf.diffusion_loss(answer, meant), "ddim": net.sample(pair, 50, noise)}
    net.model.final_conv.weight *= 0.25
    made["ddim_quarter"] = net.sample(pair, 50, noise)
    small = drawn(Stfdiff(bands, 16, (1, 2), 40, "linear", "noise"), golden.seed)
    made["small_ddim"] = small.sample(pair, 8, noise, eta=1.0)
    found = small.errors(pair, target(golden), steps_of("small_loss"), noise(0))
    made["small_loss"] = stf.diffusion_loss(*found, objective="l2")
    ancestral = drawn(Stfdiff(bands, 16, (1, 2), 12), golden.seed)
    made["small_ddpm"] = ancestral.sample(pair, 12, noise)
    numbers = schedule_numbers(net.diffusion.get_buffer("betas").double()) | {"p2_loss_weight": torch.ones(100)}
    for name, values in numbers.items():
        buffers = dict(net.diffusion.named_buffers())
        made[f"sched_{name}"] = buffers.get(name, values)
    arrays = numpy(made)
    for name in golden.outputs:
        if name.startswith("ddim_times_"):
            total, steps = (int(n) for n in name.split("_")[2:])
            arrays[name] = np.array(ddim_times(total, steps))
    return arrays


@adapter("stf_swin")
@torch.inference_mode()
def swin(golden: Golden) -> Arrays:
    made: dict[str, Tensor] = {}
    plain = tuple(golden.meta["shape"])

    def given(entry: str) -> tuple[tuple[int, ...], int]:
        text = sentence(golden, entry)
        shape, seed = re.search(r"inputs (?:of shape )?\[([\d,]+)\]", text), re.search(r"seed (\d+)", text)
        numbers = tuple(int(n) for n in shape[1].split(",")) if shape else plain
        return numbers, int(seed[1]) if seed else golden.seed

    def net(size: int, attention: str = "published") -> SwinStfm:
        found = drawn(SwinStfm(golden.meta["bands"], size, attention), golden.seed)  # type: ignore[arg-type]
        assert isinstance(found, SwinStfm)
        return found.double()

    def pair_of(*where: Any) -> Images:
        # The tolerance is hardly more than the rounding of one float32 run: ours is taken out of the comparison.
        c1, f1, c2 = (x.double() for x in images(golden, *where))
        return c1, f1, c2

    small = net(plain[-1])
    pair = pair_of()
    made["pred64"] = small(*pair)
    for k, level in enumerate(small.coarse_down(pair[0])):
        made[f"feat64_{k}"] = level[:1, ::16, ::8] if k < 3 else level[:1, :, ::16]
    made["pred64_fixed"] = crop(golden, "pred64_fixed", net(plain[-1], "corrected")(*pair))
    made["pred64_batch2"] = crop(golden, "pred64_batch2", small(*pair_of(*given("pred64_batch2"))))
    for entry in ("pred256_crop", "pred512_crop"):
        if entry in golden.outputs:
            shape, seed = given(entry)
            made[entry] = crop(golden, entry, net(shape[-1])(*pair_of(shape, seed)))
    return numpy(made)


@adapter("stf_losses")
def losses(golden: Golden) -> Arrays:
    meta, seed = golden.meta, golden.seed
    shape = tuple(meta["shape"])
    bands = shape[1]

    def pair(share: float, size: tuple[int, ...] = shape, drawn_with: int = seed) -> tuple[Tensor, Tensor]:
        prediction = image("prediction", size, drawn_with)
        return prediction, (1 - share) * prediction + share * image("target", size, drawn_with)

    p, t = pair(0.2)
    far, other = pair(0.7)[1], pair(0.2, tuple(meta["shape_b"]), seed + 10)
    encoders = [
        drawn(net, seed).encode for net in (EdcAutoEncoder(bands), ecpw_auto_encoder(bands), gan_auto_encoder(bands))
    ]
    edc_encode, ecpw_encode, gan_encode = encoders

    def guessed(a: Tensor, b: Tensor, normalise: str = "shift") -> Tensor:
        return ms_ssim(a, b, data_range=None, normalise=normalise, published_exponent=True)  # type: ignore[arg-type]

    (ssim, cs), (ssim2, cs2) = ssim_terms(p, t, None), ssim_terms(p, t, 2.0)
    made = {"l1": F.l1_loss(p, t), "l2": F.mse_loss(p, t), "ssim": ssim, "ssim_cs": cs, "ssim_L2": ssim2}
    made |= {"ssim_cs_L2": cs2, "msssim_norm": guessed(p, t), "msssim_plain": guessed(p, t, "none")}
    made |= {"msssim_norm_b": guessed(*other), "msssim_norm_neg": guessed(p - 0.6, t - 0.6)}
    made |= {"msssim_norm_far": guessed(p, far), "swin_msssim_relu_b": stf.swin_similarity(*other)}
    for name, normalise in (("relu", "floor"), ("simple", "shift"), ("none", "none")):
        for suffix, meant in (("", t), ("_far", far)):
            made[f"swin_msssim_{name}{suffix}"] = stf.swin_similarity(p, meant, normalise)  # type: ignore[arg-type]
    made |= {"charbonnier": stf.charbonnier(p, t), "swin_loss_ds": stf.charbonnier(p, t)}
    made["edc_vision_far"] = stf.edc_auto_encoder_loss(p, far, published=True)
    made["ecpw_vision_far"] = stf.ecpw_auto_encoder_loss(p, far, published=True)
    with_gradient: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
        "swin_loss": ("swin_grad", lambda x: stf.swin_loss(x, t, published=True)),
        "swin_loss_far": ("swin_far", lambda x: stf.swin_loss(x, far, published=True)),
        "edc_vision": ("edc_vision", lambda x: stf.edc_auto_encoder_loss(x, t, published=True)),
        "edc_compound": ("edc_compound", lambda x: stf.edc_loss(x, t, edc_encode, published=True)),
        "ecpw_vision": ("ecpw_vision", lambda x: stf.ecpw_auto_encoder_loss(x, t, published=True)),
        "ecpw_compound": ("ecpw_compound", lambda x: stf.ecpw_loss(x, t, ecpw_encode, published=True)),
        "gan_recon": ("gan_recon", lambda x: stf.gan_stfm_loss(x, t, gan_encode, published=True)),
        "mlff_l1": ("mlff_l1", lambda x: stf.mlff_loss(x, t, published=True)),
        "srsf_recon": ("srsf_recon", lambda x: stf.dissimilarity(x, t, published=True)),
    }
    for name, (gradient, loss) in with_gradient.items():
        x = p.clone().requires_grad_()
        made[name] = loss(x)
        made[f"grad_{gradient}"] = torch.autograd.grad(made[name], x)[0][0, :2, 16:40, 16:40]
    made["mlff_l1_weighted"] = stf.mlff_loss(p, t, (2.0, 3.0, 0.5), published=True)
    made["lsgan_d"] = stf.critic_loss(torch.tensor(0.3), torch.tensor(-0.2))
    made["lsgan_g"] = 0.5 * stf.least_squares(torch.tensor(-0.2), True)
    logits = torch.from_numpy(recipe.array("logits", (shape[0], 1, 11, 11), seed, -1, 1))
    made |= {f"mlff_gan_{k}": stf.least_squares(logits, k == "real") for k in ("real", "fake")}
    made["srsf_adv"] = 0.5 * stf.least_squares(image("dmap", (shape[0], 1, *shape[2:]), seed), True)
    made |= {"srsf_regularization": stf.roughness(p), "srsf_gradient": stf.gradient_magnitude(p)[:1, :2, :32, :32]}
    a, h, v, d = haar(p[:1, :1])
    made |= {"ecpw_dwt_LL": a, "ecpw_dwt_HL": -v, "ecpw_dwt_LH": -h, "ecpw_dwt_HH": d}
    return numpy(made)
