"""Simulated scenes: a landscape seen by Sentinel-2 and Landsat for a year, with the truth known at every date.

`simulate_scene` makes one in seconds from a seed. It is for demonstrations and tests, and the place where training
data are to be grown: `landscape` (parcels, relief), `phenology` and `spectra` (what grows and how it looks),
`weather`, `temperature`, `surface` (the truth), `clouds`, `atmosphere`, `sensors`, `sensing`, `orbits`, `quality`
(what spoils it), `acquire`; `world` has what makes places differ.
"""

from sitsfusion.simulate.scene import Simulated, simulate_place, simulate_scene
from sitsfusion.simulate.site import write_ls2s2
from sitsfusion.simulate.world import World
from sitsfusion.simulate.write import write_geotiffs

__all__ = ["Simulated", "World", "simulate_place", "simulate_scene", "write_geotiffs", "write_ls2s2"]
