"""The pose that the specification of skeleton drawings gives."""

from __future__ import annotations

import numpy as np

HEIGHT, WIDTH = 512, 256
POSE = np.array(
    [(128, 60), (136, 52), (120, 52), (146, 58), (110, 58), (165, 115), (91, 115), (185, 190), (70, 190), (195, 260),
     (60, 260), (152, 265), (104, 265), (156, 365), (98, 365), (158, 460), (94, 460)], np.float64,
)  # fmt: skip
POSE = np.column_stack([POSE, np.full(17, 2.0)])
"""float64 (17, 3) on a canvas of HEIGHT x WIDTH; a person who faces the camera."""
