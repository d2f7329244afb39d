"""Small human-parsing folders as LIP and CIHP are laid out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

STEMS = {"train": ("20_2", "10_1", "3_9"), "val": ("7_7", "100_1")}
SIZES = ((60, 100), (120, 90), (50, 50))


@dataclass
class ParsingTree:
    """Two splits of images and label maps; `folders` give images and labels of each split below the root."""

    root: Path
    folders: dict[str, tuple[str, str]]
    labels: dict[str, NDArray[np.uint8]] = field(default_factory=dict)

    def write(self) -> ParsingTree:
        """Write images, label maps with a palette that must not be looked at, and files of a Mac."""
        rng = np.random.default_rng(2)
        for split, stems in STEMS.items():
            for stem, (width, height) in zip(stems, SIZES, strict=False):
                pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
                labels = rng.integers(0, 20, (height, width), dtype=np.uint8)
                labels[0, 0] = 255
                self.labels[stem] = labels
                self.image(split, stem).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(self.image(split, stem))
                self.write_labels(split, stem, labels)
            (self.image(split, "").parent / f"._{stems[0]}.jpg").write_bytes(b"junk")
        return self

    def image(self, split: str, stem: str) -> Path:
        """Where an image lies."""
        return self.root / self.folders[split][0] / f"{stem}.jpg"

    def map(self, split: str, stem: str) -> Path:
        """Where a label map lies."""
        return self.root / self.folders[split][1] / f"{stem}.png"

    def write_labels(self, split: str, stem: str, labels: NDArray[np.uint8]) -> None:
        """Write a label map as indices into a palette."""
        picture = Image.fromarray(labels).convert("P")
        picture.putdata(labels.ravel().tolist())
        picture.putpalette([(7 * i) % 256 for i in range(768)])
        self.map(split, stem).parent.mkdir(parents=True, exist_ok=True)
        picture.save(self.map(split, stem))
