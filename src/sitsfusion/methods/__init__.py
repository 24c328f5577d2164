"""Methods by name. The table holds module paths: a method's module is imported when it is asked for.

Add a method: write `methods/<name>.py` with a class derived from `base.Method`, add its line to `_TABLE` (or, outside
this library, decorate the class with `register`, or declare an entry point of the group `sitsfusion.methods`), and
the battery in `tests/battery.py` runs on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, TypeVar

from sitsfusion.errors import InputError
from sitsfusion.methods.base import Method

_TABLE = {
    "closest": "sitsfusion.methods.closest:Closest",
    "coarse-change": "sitsfusion.methods.stf_deep.baselines:CoarseChange",
    "copy-fine": "sitsfusion.methods.stf_deep.baselines:CopyFine",
    "deepharmo-ensemble": "sitsfusion.methods.deepharmo.method:DeepHarmoEnsemble",
    "deepharmo-unet": "sitsfusion.methods.deepharmo.method:DeepHarmoUnet",
    "dms": "sitsfusion.methods.dms.method:DMS",
    "double-logistic": "sitsfusion.methods.temporal.double_logistic:DoubleLogistic",
    "dsen2": "sitsfusion.methods.dsen2.method:Dsen2",
    "dstfn": "sitsfusion.methods.dstfn.method:Dstfn",
    "ecpwstfn": "sitsfusion.methods.stf_deep.methods:EcpwStfn",
    "edcstfn": "sitsfusion.methods.stf_deep.methods:Edcstfn",
    "efast": "sitsfusion.methods.stf_classical.efast:Efast",
    "estarfm": "sitsfusion.methods.stf_classical.estarfm:Estarfm",
    "fit-fc": "sitsfusion.methods.stf_classical.fitfc:FitFc",
    "fsdaf": "sitsfusion.methods.stf_classical.fsdaf:Fsdaf",
    "ganstfm": "sitsfusion.methods.stf_deep.methods:GanStfm",
    "harmonic": "sitsfusion.methods.temporal.harmonic:Harmonic",
    "joint-gp": "sitsfusion.methods.temporal.joint_gp:JointGP",
    "linear": "sitsfusion.methods.temporal.linear:Linear",
    "misr-bicubic": "sitsfusion.methods.misr.bicubic:MisrBicubic",
    "misr-highresnet": "sitsfusion.methods.misr.learned:MisrHighRes",
    "misr-highresnet-ltae": "sitsfusion.methods.misr.learned:MisrHighResLtae",
    "misr-rrdb": "sitsfusion.methods.misr.learned:MisrRrdb",
    "misr-rrdb-highresnet": "sitsfusion.methods.misr.learned:MisrRrdbHighRes",
    "misr-rrdb-ltae": "sitsfusion.methods.misr.learned:MisrRrdbLtae",
    "misr-srdiff": "sitsfusion.methods.misr.diffusion:MisrSrDiff",
    "mlffgan": "sitsfusion.methods.stf_deep.methods:MlffGan",
    "naive": "sitsfusion.methods.naive:Naive",
    "savgol": "sitsfusion.methods.temporal.savgol:Savgol",
    "sen2like": "sitsfusion.methods.sen2like.method:Sen2Like",
    "spline": "sitsfusion.methods.temporal.spline:Spline",
    "spstfm": "sitsfusion.methods.stf_classical.spstfm:Spstfm",
    "srsfgan": "sitsfusion.methods.stf_deep.methods:SrsfGan",
    "stair": "sitsfusion.methods.stair.method:Stair",
    "starfm": "sitsfusion.methods.stf_classical.starfm:Starfm",
    "stfdiff": "sitsfusion.methods.stf_deep.methods:Stfdiff",
    "swinstfm": "sitsfusion.methods.stf_deep.methods:SwinStfm",
    "tamrfsits": "sitsfusion.methods.tamrfsits.method:Tamrfsits",
    "utilise": "sitsfusion.methods.utilise.method:Utilise",
    "whittaker": "sitsfusion.methods.temporal.whittaker:Whittaker",
}
_REGISTERED: dict[str, type[Method]] = {}
_M = TypeVar("_M", bound=type[Method])


def register(method: _M) -> _M:
    """Class decorator: make a user's own method known under its card's name."""
    name = method.card.name
    if name in names() and _REGISTERED.get(name) is not method:
        raise InputError(f"a method called {name!r} exists already; choose another name in the card")
    _REGISTERED[name] = method
    return method


def names() -> tuple[str, ...]:
    """All known method names, sorted."""
    return tuple(sorted({*_TABLE, *_REGISTERED, *(e.name for e in _entry_points())}))


def get(name: str) -> type[Method]:
    """The class of a method.

    Raises:
        InputError: no such method.
    """
    if name in _REGISTERED:
        return _REGISTERED[name]
    if name in _TABLE:
        module, _, attribute = _TABLE[name].partition(":")
        return getattr(import_module(module), attribute)  # type: ignore[no-any-return]
    for entry in _entry_points():
        if entry.name == name:
            return entry.load()  # type: ignore[no-any-return]
    raise InputError(f"unknown method {name!r}; known: {', '.join(names())}")


def make(name: str | Method, options: Mapping[str, Any] | None = None) -> Method:
    """A method with its options validated; an instance is returned as it is."""
    if isinstance(name, Method):
        return name
    return get(name)(**(options or {}))


def _entry_points() -> Any:
    return entry_points(group="sitsfusion.methods")
