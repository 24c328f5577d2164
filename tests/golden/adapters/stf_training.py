"""The first training steps of the deep fusion models, as the survey's code makes them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sitsfusion.datasets.stf_batch import StfBatch
from sitsfusion.nets.stf import registry
from sitsfusion.training.stf import recipes
from tests.golden import recipe
from tests.golden.adapters.stf_nets import drawn, image
from tests.golden.goldens import Golden, adapter, captured

# Names of the models and of their parts in the file.
MODELS = {
    "ecpw": ("ecpwstfn", {"model": "net", "pretrained": "auto_encoder"}),
    "edc": ("edcstfn", {"model": "net", "pretrained": "auto_encoder"}),
    "ganstfm": ("ganstfm", {"generator": "net", "discriminator": "critic", "pretrained": "auto_encoder"}),
    "mlff": ("mlffgan", {"generator": "net", "nlayerdiscriminator": "critic"}),
    "srsf": ("srsfgan", {"generator": "net", "dnet": "critic"}),
    "stfdiff": ("stfdiff", {"model": "net"}),
    "swin": ("swinstfm", {"model": "net"}),
}


@adapter("stf_train")
def train(golden: Golden) -> None:
    how, shape = golden.meta["how"], tuple(golden.meta["shape"])
    many, kept = (int(captured(p, how)) for p in (r"ganstfm: batch of (\d+)", r"first (\d+) elements"))
    limits = golden.meta["tolerance"]
    share = float(captured(r"([\d.]*\d) percent", limits["grad"])) / 100
    assert {tuple(key.split(".")[:2]) for key in golden.outputs} <= {
        (short, kind) for short in golden.meta["info"] for kind in ("log", "grad")
    }
    for short, told in golden.meta["info"].items():
        _, parts = MODELS[short]
        logs, made = run(golden, short, (many, *shape[1:]) if short == "ganstfm" else shape)
        for key in (k for k in golden.outputs if k.startswith(f"{short}.log.")):
            found = np.array(logs[key.split(".")[-1]])
            np.testing.assert_allclose(found, golden.outputs[key], rtol=float(limits["log rtol"]), err_msg=key)
        for key in (k for k in golden.outputs if k.startswith(f"{short}.grad.")):
            part, parameter = key.removeprefix(f"{short}.grad.").split(".", 1)
            # `how` speaks of a difference; the numbers are the gradients of an optimiser's first step.
            gradient = getattr(made, parts[part]).first[parameter].flatten()[:kept].numpy()
            expected = golden.outputs[key]
            assert np.abs(gradient - expected).max() <= share * np.abs(expected).max(), key
        check_untouched(told["params_unchanged"], made, parts)


def check_untouched(listed: dict[str, list[str]], made: recipes.Recipe, parts: dict[str, str]) -> None:
    """Exactly the parameters listed were never changed, those of parts that some optimiser has."""
    for part, names in listed.items():
        net = getattr(made, parts[part])
        unchanged = [k for k, p in net.named_parameters() if torch.equal(p.detach(), net.before[k])]
        assert sorted(unchanged) == sorted(names), part


def phases_of(how: str, short: str) -> list[bool]:
    """Of each step, whether it is one of pretraining."""
    if short in captured(r"(\w+ and \w+): \d+ steps at epoch 0", how).split(" and "):
        first, second = re.findall(r"(\d+) steps at epoch \d+ \(", how)
        return [True] * int(first) + [False] * int(second)
    steps = r"ganstfm: .*?and (\d+) step only" if short == "ganstfm" else r"the others (\d+) steps"
    return [False] * int(captured(steps, how))


def run(golden: Golden, short: str, shape: tuple[int, ...]) -> tuple[dict[str, list[float]], recipes.Recipe]:
    """Logs of all steps, and the recipe after them."""
    name, how = MODELS[short][0], golden.meta["how"]
    between = int(captured(r"seed\+(\d+)\*s", how))
    model, seed = registry.get(name), golden.seed
    options = {**model.published, **({"size": shape[-1]} if model.whole_size else {})}
    if short == "mlff":
        options["dropout"] = float(captured(r"mlff: dropout probability set to ([\d.]*\d)", how))
    net = model.build(shape[1], options)
    made = recipes.recipe_of(name)(net, shape[1], published=True)
    for part in {*made.trained(), *made.children()}:
        drawn(part, seed).train()
        part.before = {k: p.detach().clone() for k, p in part.named_parameters()}  # type: ignore[assignment]
        part.first = {}  # type: ignore[assignment]
    optimisers = made.optimisers()
    for optimiser, part in zip(optimisers, made.trained(), strict=True):
        optimiser.register_step_pre_hook(lambda *_, part=part: remember(part))  # type: ignore[misc]
    logs: dict[str, list[float]] = {}
    for step, pretraining in enumerate(phases_of(how, short)):
        if isinstance(made, recipes.StfdiffRecipe):
            made.draw = drawing(golden, shape, golden.seed + between * step)  # type: ignore[method-assign]
        images = {k: image(k, shape, seed + between * step) for k in ("LR_t1", "HR_t1", "LR_t2", "HR_t2")}
        batch = StfBatch(images["LR_t1"], images["HR_t1"], images["LR_t2"], images["HR_t2"])
        terms: dict[str, Any] = dict(made.step(batch, optimisers, Tensor.backward, pretraining))
        terms["lr"] = optimisers[0].param_groups[0]["lr"]
        for key, value in terms.items():
            logs.setdefault(key, []).append(float(torch.as_tensor(value).detach()))
    return logs, made


def remember(part: nn.Module) -> None:
    """Keep the gradients of the first step of an optimiser."""
    for k, p in part.named_parameters():
        if p.grad is not None:
            part.first.setdefault(k, p.grad.clone())  # type: ignore[operator, union-attr]


def drawing(golden: Golden, shape: tuple[int, ...], seed: int) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    numbers = captured(r"t = \[([\d,]+)\]", golden.meta["how"]).split(",")
    t = torch.tensor([int(n) for n in numbers][: shape[0]])
    noise = recipe.rng("input:noise", seed).standard_normal(shape).astype(np.float32)
    return lambda _: (t, torch.from_numpy(noise))
