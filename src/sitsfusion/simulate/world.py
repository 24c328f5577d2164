"""What makes one simulated place differ from another, and random places on Earth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from sitsfusion.sensors import get
from sitsfusion.simulate.atmosphere import Atmosphere
from sitsfusion.simulate.clouds import Cloudscape
from sitsfusion.simulate.landscape import Cover, LandUse
from sitsfusion.simulate.noise import stream
from sitsfusion.simulate.orbits import Orbits
from sitsfusion.simulate.phenology import CROPS, LASTING, YEARLY, Farming
from sitsfusion.simulate.quality import Detector
from sitsfusion.simulate.sensing import Sensing
from sitsfusion.simulate.sensors import INSTRUMENTS, LANDSAT, Instrument, Response
from sitsfusion.simulate.spectra import MICRONS, Colours, Factors
from sitsfusion.simulate.temperature import Heating
from sitsfusion.simulate.weather import Climate

_UNCORRECTED = "sentinel-2-l1c"
_SHARE_TOA = 0.25
_TROPIC = 23.4
_SMOOTH = 0.4  # of random colours: correlation length in the logarithm of the wavelength
#                    B01  B02  B03  B04  B05  B06  B07  B08  B8A  B11  B12
_TURBID = np.array([1.0, 1.3, 2.2, 2.6, 2.4, 2.0, 1.8, 1.5, 1.2, 0.3, 0.2])


@dataclass(frozen=True)
class World:
    """Everything that makes one place differ from another, but for the seed. The defaults are `temperate`.

    Attributes:
        latitude: degrees north.
        land, farming, climate, colours, heating: the surface, that is, the truth.
        sky: clouds.
        fine, coarse: how the images of both roles come about.
        toa: whether Sentinel-2 is delivered as top-of-atmosphere reflectance (level 1C), seen through `atmosphere`.
    """

    latitude: float = 50.803733
    land: LandUse = field(default_factory=LandUse)
    farming: Farming = field(default_factory=Farming)
    climate: Climate = field(default_factory=Climate)
    colours: Colours = field(default_factory=Colours)
    heating: Heating = field(default_factory=Heating)
    sky: Cloudscape = field(default_factory=Cloudscape)
    fine: Sensing = field(default_factory=lambda: Sensing(Orbits(revisit=5), Detector()))
    coarse: Sensing = field(default_factory=lambda: Sensing(Orbits(revisit=8), Detector(margin=3)))
    toa: bool = False
    atmosphere: Atmosphere = field(default_factory=Atmosphere)

    @classmethod
    def temperate(cls) -> World:
        """Farmland of Belgium, with clean images."""
        return cls()

    @classmethod
    def draw(cls, seed: int) -> World:
        """A random place on Earth where something grows, and random flaws of its images.

        Ranges are wide on purpose: what is trained on such draws should take a real place for one more of them.

        Args:
            seed: 0 or more; the same seed gives the same world.
        """
        place = _Place.draw(seed)
        toa = bool(stream(seed, "world", "level").random() < _SHARE_TOA)
        fine = _fine(stream(seed, "world", "fine"))
        return cls(
            latitude=place.latitude, land=_land(stream(seed, "world", "land"), place),
            farming=_farming(stream(seed, "world", "farming"), place),
            climate=_climate(stream(seed, "world", "climate"), place),
            colours=_colours(stream(seed, "world", "colours"), place),
            heating=_heating(stream(seed, "world", "heating")),
            sky=_sky(stream(seed, "world", "sky"), place), fine=replace(fine, haze=0.0) if toa else fine,
            coarse=_coarse(stream(seed, "world", "coarse")), toa=toa,
            atmosphere=_atmosphere(stream(seed, "world", "atmosphere")),
        )  # fmt: skip

    def sensing(self, role: str) -> Sensing:
        """How the images of a role come about."""
        return self.fine if role == "fine" else self.coarse

    def instrument(self, role: str) -> Instrument:
        """The instrument of a role, with the level, the noise and the responses of this world."""
        usual = self.sensing(role).instrument(INSTRUMENTS[role])
        return replace(usual, sensor=get(_UNCORRECTED)) if self.toa and role == "fine" else usual


@dataclass(frozen=True)
class _Place:
    """What most else follows from: latitude, mean and range of temperature (Celsius, K), dryness in [0, 1]."""

    latitude: float
    mean: float
    season: float
    dryness: float

    @classmethod
    def draw(cls, seed: int) -> _Place:
        rng = stream(seed, "world", "place")
        zones = (rng.normal(45, 7), rng.uniform(52, 64), rng.uniform(15, 40), -rng.uniform(5, 42), rng.uniform(-15, 15))
        latitude = float(np.clip(zones[rng.choice(5, p=[0.5, 0.12, 0.2, 0.13, 0.05])], -64, 64))
        away, continental = abs(latitude), rng.random() ** 1.5
        season = min(1 + away * (0.22 + 0.45 * continental), 38.0)
        mean = 29 - 0.33 * away - rng.uniform(0, 5)
        mean = float(np.clip(mean, season / 2 - 20, 34 - season / 2))
        return cls(latitude, mean, float(season), float(rng.beta(1.2, 2.4)))

    @property
    def southern(self) -> bool:
        return self.latitude < 0


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """Uniform in the logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _at_times(rng: np.random.Generator, probability: float, low: float, high: float) -> float:
    """0, or with a probability uniform between two numbers."""
    value, happens = rng.uniform(low, high), rng.random() < probability
    return float(value) if happens else 0.0


def _climate(rng: np.random.Generator, place: _Place) -> Climate:
    coldest, season = place.mean - place.season / 2, place.season
    water = max(coldest, 1.0)
    return Climate(
        warmest=float(rng.normal(199, 8) - (182.6 if place.southern else 0)), coldest=coldest, season=season,
        spells=float(rng.uniform(2.0, 4.5)), water=(water, max(0.9 * (coldest + season) - water, 1.0)),
        rain=float(0.05 + 1.5 * (1 - place.dryness) * rng.uniform(0.6, 1.2)),
        damp=float(3.0 * (1 - place.dryness) * rng.random()), wettest=float(rng.uniform(0, 365)),
        rain_season=float(0.9 * rng.random() ** 2), snowfall=float(rng.uniform(0.3, 1.5)) if coldest < 7 else 0.0,
    )  # fmt: skip


def _land(rng: np.random.Generator, place: _Place) -> LandUse:
    dry = place.dryness
    weights = {
        None: 5.0, Cover.GARDEN: 0.6, Cover.WATER: 0.25, Cover.SAND: 0.04 + 2.5 * dry**3,
        Cover.BROADLEAF: 1.6 - 0.9 * dry, Cover.CONIFER: 0.2 + 0.02 * abs(place.latitude), Cover.MEADOW: 1.8,
    }  # fmt: skip
    drawn = {cover: rng.gamma(0.6, weight) for cover, weight in weights.items()}
    total, field_size = sum(drawn.values()), _between(rng, 0.3, 15)
    return LandUse(
        shares={cover: float(weight / total) for cover, weight in drawn.items() if cover is not None},
        field_size=field_size, elongation=max(1.0, _between(rng, 0.4, 8)),
        hedges=float(rng.uniform(0, 0.25) * min(1.0, 3 / field_size)), relief=_between(rng, 0.05, 6),
        soil=_between(rng, 0.3, 1.8), vigour=_between(rng, 0.4, 1.6), texture=_between(rng, 0.3, 1.2),
        leaves=float(rng.uniform(0.02, 0.12)), river=0.35,
    )  # fmt: skip


def _farming(rng: np.random.Generator, place: _Place) -> Farming:
    dry, warm = place.dryness, float(np.clip((place.mean - 13) / 13, 0, 1))
    crops = {
        name: replace(
            crop.moved(
                float(rng.normal(0, 10)), float(np.exp(rng.normal(0, 0.07))), float(np.exp(rng.normal(0, 0.15)))
            ),
            share=float(crop.share * rng.gamma(0.7) + 1e-3),
        )
        for name, crop in CROPS.items()
    }
    usual = Farming()
    evergreen = warm * rng.uniform(0.3, 1)
    yearly, lasting = dict(YEARLY), dict(LASTING)
    yearly[Cover.BROADLEAF] = replace(YEARLY[Cover.BROADLEAF], peak=4.0 * (1 - 0.8 * evergreen) * (1 - 0.5 * dry))
    lasting[Cover.BROADLEAF] += 3.0 * evergreen * (1 - 0.5 * dry)
    lasting[Cover.CONIFER] *= 1 - 0.5 * dry
    lasting[Cover.MEADOW] *= float((1 - 0.85 * dry) * rng.uniform(0.5, 1.1))
    here = replace(
        usual, crops=crops, catch=replace(usual.catch, share=float(rng.uniform(0, 0.8))),
        yearly=yearly, lasting=lasting, mown=float(rng.uniform(0, 0.9)),
        fallow=replace(usual.fallow, share=float(0.12 * rng.random() + 0.4 * dry * rng.random())),
        perennial=replace(usual.perennial, share=float(rng.beta(0.6, 4 - 2 * warm))),
        double=warm * _at_times(rng, 0.5, 0.1, 0.9),
    )  # fmt: skip
    shift = rng.uniform(-100, 170) if abs(place.latitude) < _TROPIC else rng.normal(182 if place.southern else 0, 8)
    length = rng.uniform(0.88, 1.12) - 0.012 * max(abs(place.latitude) - 50, 0)
    return here.moved(float(shift), float(length), float(np.exp(rng.normal(0, 0.18)) * (1 - 0.3 * dry)))


def _colour(rng: np.random.Generator, brightness: float, colour: float, mean: float = 0.0) -> Factors:
    """Factors that change smoothly with the wavelength; standard deviations (log) of their level and around it."""
    apart = np.subtract.outer(np.log(MICRONS), np.log(MICRONS)) / _SMOOTH
    smooth = np.linalg.cholesky(np.exp(-0.5 * apart**2) + 1e-6 * np.eye(len(MICRONS)))
    level = mean + brightness * np.clip(rng.standard_normal(), -2, 2)
    drawn = np.exp(level + colour * np.clip(smooth @ rng.standard_normal(len(MICRONS)), -2.5, 2.5))
    return tuple(float(factor) for factor in drawn)


def _colours(rng: np.random.Generator, place: _Place) -> Colours:
    turbid = 1 + rng.exponential(0.6) * _TURBID
    return Colours(
        soil=_colour(rng, 0.22, 0.10, 0.25 * place.dryness - 0.12),
        water=tuple(float(f * t) for f, t in zip(_colour(rng, 0.15, 0.12), np.minimum(turbid, 2.0), strict=True)),
        litter=_colour(rng, 0.2, 0.10), sealed=_colour(rng, 0.2, 0.08), leaves=_colour(rng, 0.10, 0.07, 0.10),
        straw=_colour(rng, 0.12, 0.07, -0.1), bare_woods=float(place.dryness * rng.random()),
        slopes=float(rng.uniform(0.15, 0.6)),
    )  # fmt: skip


def _heating(rng: np.random.Generator) -> Heating:
    return Heating(float(rng.uniform(13, 19)), float(rng.uniform(0.6, 1.6)), float(rng.uniform(0.45, 0.75)))


def _sky(rng: np.random.Generator, place: _Place) -> Cloudscape:
    cloudiness = float(np.clip(rng.normal(0.55 - 0.35 * place.dryness, 0.08), 0.15, 0.75))
    return Cloudscape(cloudiness, _between(rng, 0.2, 1.2), float(rng.uniform(0.05, 0.35)))


def _fine(rng: np.random.Generator) -> Sensing:
    satellites, overlap = ((2, 0), (1, 0), (2, int(rng.choice([2, 3]))))[rng.choice(3, p=[0.55, 0.15, 0.3])]
    orbits = _orbits(rng, 5 if satellites == 2 else 10, satellites, overlap)
    detector = _detector(rng, int(rng.choice([0, 1, 2, 3], p=[0.6, 0.2, 0.15, 0.05])))
    return _sensing(rng, orbits, detector, view=0.14, shift=3.0)


def _coarse(rng: np.random.Generator) -> Sensing:
    satellites, overlap = ((2, 0), (1, 0), (2, 1))[rng.choice(3, p=[0.55, 0.2, 0.25])]
    orbits = _orbits(rng, 8 if satellites == 2 else 16, satellites, 7 * overlap)
    sensing = _sensing(rng, orbits, _detector(rng, int(rng.choice([2, 3, 4]))), view=0.06, shift=8.0)
    return replace(sensing, responses=_responses(rng, LANDSAT.responses), kelvin=float(rng.uniform(0.5, 2.0)))


def _responses(rng: np.random.Generator, usual: Mapping[str, Response]) -> dict[str, Response]:
    """Gains and offsets around the published ones."""
    return {
        key: Response(r.source, float(r.gain * np.exp(rng.normal(0, 0.02))), float(r.offset + rng.normal(0, 0.002)))
        for key, r in usual.items()
    }


def _orbits(rng: np.random.Generator, revisit: int, satellites: int, overlap: int) -> Orbits:
    return Orbits(
        revisit, satellites, overlap, missing=_at_times(rng, 0.5, 0.02, 0.4), edge=0.35 if overlap else 0.0,
        torn=_at_times(rng, 0.3, 0.02, 0.08),
    )  # fmt: skip


def _detector(rng: np.random.Generator, margin: int) -> Detector:
    suspicion = float(np.clip(rng.normal(-0.02, 0.03), -0.08, 0.06))
    return Detector(suspicion, _at_times(rng, 0.5, 0, 0.03), _at_times(rng, 0.3, 0, 0.003), margin)


def _sensing(rng: np.random.Generator, orbits: Orbits, detector: Detector, *, view: float, shift: float) -> Sensing:
    return Sensing(
        orbits, detector, haze=_between(rng, 0.003, 0.012), haze_patches=float(rng.uniform(0, 0.6)),
        gain=_between(rng, 0.006, 0.03), view=float(rng.uniform(0, view)), shift=float(rng.uniform(0, shift)),
        noise=_between(rng, 0.5, 2.5),
    )  # fmt: skip


def _atmosphere(rng: np.random.Generator) -> Atmosphere:
    return Atmosphere(
        _between(rng, 0.04, 0.35),
        float(rng.uniform(0.8, 1.6)),
        float(rng.uniform(0.8, 1.25)),
        float(rng.uniform(0.2, 0.6)),
    )
