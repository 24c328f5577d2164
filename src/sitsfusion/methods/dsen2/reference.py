"""DSen2 as the TAMRFSITS comparison ran it: a whole tile at once, the 20 m bands as they lie on the 10 m grid."""

from __future__ import annotations

import torch

from sitsfusion.nets.dsen2 import Dsen2Net
from sitsfusion.series import Series

# Positions in b2 b3 b4 b5 b6 b7 b8 b8a b11 b12.
FINE, COARSE = (0, 1, 2, 6), (3, 4, 5, 7, 8, 9)
_DN, _NETWORK = 10_000.0, 2_000.0


@torch.inference_mode()
def sharpen_series(net: Dsen2Net, series: Series) -> Series:
    """Ten Sentinel-2 bands, reflectance x 10000 on the 10 m grid -> reflectance, with the 20 m bands sharpened.

    The four 10 m bands are copied; days and mask are those of the input.
    """
    x = series.values.float() / _NETWORK  # [b t 10 h w]
    values = x.clone()
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            image = x[b, t : t + 1]
            values[b, t, list(COARSE)] = net(image[:, list(FINE)], image[:, list(COARSE)])[0]
    return Series(values * (_NETWORK / _DN), series.days, series.valid)
