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
from tests.golden.goldens import Golden, adapter, captured, index

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
    size = {}
    for kind in ("C_", "F_"):
        sides = captured(rf"{kind}\w* of shape \[B,bands,(\d+,\d+)\]", how).split(",")
        size[kind] = (len(pair[0]), bands, *map(int, sides))
    factor = float(re.search(r"upsampled x(\d+)", how)[1])  # type: ignore[index]
    coarse, fine = {}, {}
    for date in ("prev", "next", "pred"):
        drawing = image(f"C_{date}", size["C_"], golden.seed)
        coarse[date] = F.interpolate(drawing, scale_factor=factor, mode="bilinear", align_corners=True)
        fine[date] = image(f"F_{date}", size["F_"], golden.seed)
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
    block, layer = (int(n) for n in re.findall(r"encoder\[(\d+)\]\.residual\[(\d+)\]", golden.meta["how"])[0])
    norm = net.encoder[block].residual[layer]
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


def denoiser(golden: Golden, size: str, process: str) -> Stfdiff:
    """`dim=64, ..., dim_mults=(1,2,4)`; `cosine schedule, 100 steps, pred_x0`."""
    multipliers = tuple(int(n) for n in captured(r"dim_mults=\(([\d,]+)\)", size).split(","))
    objective = {"x0": "clean", "noise": "noise"}[captured(r"pred_(\w+)", process)]
    net = drawn(
        Stfdiff(
            golden.meta["bands"],
            int(captured(r"\bdim=(\d+)", size)),
            multipliers,
            int(captured(r"(\d+) steps", process)),
            captured(r"(cosine|linear)", process),  # type: ignore[arg-type]
            objective,  # type: ignore[arg-type]
        ),
        golden.seed,
    )
    assert isinstance(net, Stfdiff)
    return net


def small_outputs(golden: Golden, pair: Images, t: Tensor, noise: Callable[[int], Tensor]) -> dict[str, Tensor]:
    """Of the small nets: `small_ddim: net dim=..., ...; small_loss: its l2 loss ... small_ddpm: ...`."""
    how = golden.meta["how"]
    given, after = captured(r"small_ddim: (.*?);", how), captured(r"small_ddpm: (.*?), ancestral", how)
    steps = int(captured(r"(\d+) DDIM steps", given))
    small, ancestral = denoiser(golden, given, given), denoiser(golden, given, after)
    found = small.errors(pair, target(golden), t, noise(0))
    kind = captured(r"small_loss: its (l\d) loss", how)
    return {
        "small_ddim": small.sample(pair, steps, noise, eta=float(captured(r"eta ([\d.]*\d)", given))),
        "small_loss": stf.diffusion_loss(*found, objective=kind),  # type: ignore[arg-type]
        "small_ddpm": ancestral.sample(pair, ancestral.steps, noise),
    }


@adapter("stf_stfdiff")
@torch.inference_mode()
def stfdiff(golden: Golden) -> Arrays:
    pair, how = images(golden), golden.meta["how"]
    shape = tuple(golden.meta["shape"])

    def noise(k: int) -> Tensor:
        name = "noise" + (str(k) if k else "")
        return torch.from_numpy(recipe.rng(f"input:{name}", golden.seed).standard_normal(shape).astype(np.float32))

    def steps_of(start: str) -> Tensor:
        numbers = re.search(start + r".*?t=\[([\d,]+)\]", how)[1].split(",")  # type: ignore[index]
        return torch.tensor([int(n) for n in numbers][: shape[0]])

    size, process = captured(r"PredNoiseNet\((.*?\))\)", how), captured(r"\(((?:cosine|linear) schedule.*?)\)", how)
    net = denoiser(golden, size, process)
    t = steps_of(r"net = PredNoiseNet")
    answer, meant = net.errors(pair, target(golden), t, noise(0))
    made = {"q_sample": net.diffusion.noisy(target(golden), t, noise(0)), "net": answer}
    drawn_steps, eta = (float(captured(p, how)) for p in (r"with (\d+) steps, eta", r"steps, eta ([\d.]*\d)"))
    made["p_loss"] = stf.diffusion_loss(answer, meant, objective=captured(r"pred_\w+, (l\d)\)", how))  # type: ignore[arg-type]
    made["ddim"] = net.sample(pair, int(drawn_steps), noise, eta=eta)
    net.model.final_conv.weight *= float(captured(r"its bias\) by ([\d.]*\d)", how))
    made["ddim_quarter"] = net.sample(pair, int(drawn_steps), noise, eta=eta)
    made |= small_outputs(golden, pair, steps_of("small_loss"), noise)
    numbers = schedule_numbers(net.diffusion.get_buffer("betas").double())
    numbers["p2_loss_weight"] = torch.ones(net.steps)
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
    first = int(captured(r"for k<(\d+) kept", golden.meta["how"]))
    shown = [index(captured(rf"for k{sign}{first} kept \[(.*?)\]", golden.meta["how"])) for sign in ("<", ">=")]
    levels = small.coarse_down(pair[0])
    for entry in golden.outputs:
        kind, _, what = entry.partition("_")
        if kind.startswith("feat"):
            made[entry] = levels[int(what)][shown[int(what) >= first]]
        elif what == "":
            made[entry] = small(*pair)
        elif what == "fixed":
            made[entry] = crop(golden, entry, net(plain[-1], "corrected")(*pair))
        elif what.startswith(("batch", "crop")):
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

    how = meta["how"]

    def number(pattern: str) -> float:
        return float(captured(pattern, how))

    share, far_share = (
        number(p) for p in (r"T = [\d.]+\*P \+ ([\d.]*\d)\*", r"_far: target [\d.]+\*P \+ ([\d.]*\d)\*")
    )
    p, t = pair(share)
    far, other = pair(far_share)[1], pair(share, tuple(meta["shape_b"]), seed + int(number(r"seed\+(\d+)")))
    less = number(r"both images minus ([\d.]*\d)")
    shown, shown_gradient = (
        index(captured(p, how)) for p in (r"with respect to P, \[(.*?)\]", r"gradient magnitude of P, \[(.*?)\]")
    )
    encoders = [
        drawn(net, seed).encode for net in (EdcAutoEncoder(bands), ecpw_auto_encoder(bands), gan_auto_encoder(bands))
    ]
    edc_encode, ecpw_encode, gan_encode = encoders

    def guessed(a: Tensor, b: Tensor, normalise: str = "shift") -> Tensor:
        return ms_ssim(a, b, data_range=None, normalise=normalise, published_exponent=True)  # type: ignore[arg-type]

    (ssim, cs), (ssim2, cs2) = ssim_terms(p, t, None), ssim_terms(p, t, 2.0)
    made = {"l1": F.l1_loss(p, t), "l2": F.mse_loss(p, t), "ssim": ssim, "ssim_cs": cs, "ssim_L2": ssim2}
    made |= {"ssim_cs_L2": cs2, "msssim_norm": guessed(p, t), "msssim_plain": guessed(p, t, "none")}
    made |= {"msssim_norm_b": guessed(*other), "msssim_norm_neg": guessed(p - less, t - less)}
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
        made[f"grad_{gradient}"] = torch.autograd.grad(made[name], x)[0][shown]
    b, c, d = (number(rf"\b{name}=([\d.]*\d)") for name in "bcd")
    made["mlff_l1_weighted"] = stf.mlff_loss(p, t, (b, c, d), published=True)
    real, fake, made_up = (
        torch.tensor(number(rf"{words} (-?[\d.]*\d)")) for words in ("real logit", "fake logit", "lsgan_g: logit")
    )
    made |= {"lsgan_d": stf.critic_loss(real, fake), "lsgan_g": 0.5 * stf.least_squares(made_up, True)}
    sides = [int(n) for n in captured(r"'logits',\[B,([\d,]+)\]", how).split(",")]
    limits = [float(n) for n in captured(r"'logits',.*?,seed,(-?[\d.]+,-?[\d.]+)\)", how).split(",")]
    logits = torch.from_numpy(recipe.array("logits", (shape[0], *sides), seed, *limits))
    made |= {f"mlff_gan_{k}": stf.least_squares(logits, k == "real") for k in ("real", "fake")}
    made["srsf_adv"] = 0.5 * stf.least_squares(image("dmap", (shape[0], 1, *shape[2:]), seed), True)
    made |= {"srsf_regularization": stf.roughness(p), "srsf_gradient": stf.gradient_magnitude(p)[shown_gradient]}
    approximate, h, v, diagonal = haar(p[:1, :1])
    made |= {"ecpw_dwt_LL": approximate, "ecpw_dwt_HL": -v, "ecpw_dwt_LH": -h, "ecpw_dwt_HH": diagonal}
    return numpy(made)
