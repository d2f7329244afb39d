"""Contact sheets of the embedded corpus and of both regimes of its benchmarks, in a process for torch.

`python -P -m hcbench.harness.cli.preview OUT`
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hcbench.data.people.dataset import BENCHMARK, benchmark_split, pretraining_view
from hcbench.data.people.preview import contact_sheet
from hcbench.data.people.spec import GROUP_SIZE, LAYOUTS, REGIMES, PeopleSpec
from hcbench.errors import HcbenchError

GROUPS = 16
"""Groups of each layout that are shown, two in a row."""
SHOWN = 24
"""Test persons of each regime that are shown, two in a row."""
PERSONS, IMAGES = BENCHMARK["test"]
SCALE = SHOWN / PERSONS


def draw(out: Path, groups: int = GROUPS) -> Iterator[Path]:
    """Write a sheet of the test persons of each regime; for every layout plain images, labelled ones and captions."""
    for regime in REGIMES:
        samples = benchmark_split("test", regime=regime, scale=SCALE, cache=None)
        yield contact_sheet(samples, out / f"test_{regime}.png", columns=2 * IMAGES, limit=SHOWN * IMAGES)
    for layout in LAYOUTS:
        samples = pretraining_view(PeopleSpec(layout=layout), np.arange(groups), cache=None)
        columns, labelled = 2 * GROUP_SIZE, samples.parts is not None
        yield contact_sheet(samples, out / f"{layout}.png", columns=columns, limit=len(samples))
        yield contact_sheet(
            samples, out / f"{layout}_labels.png", columns=columns, limit=len(samples), overlay=True, parts=labelled
        )
        text = "\n".join(
            f"{name}\t{' | '.join(captions)}"
            for name, captions in zip(samples.ids, samples.captions or (), strict=True)
        )
        path = out / f"{layout}_captions.txt"
        path.write_text(text + "\n", encoding="utf-8")
        yield path


def main(out: Path) -> int:
    """Draw the sheets into `out` and say where they are."""
    try:
        for path in draw(out):
            sys.stdout.write(f"wrote {path}\n")
            sys.stdout.flush()
    except (HcbenchError, OSError) as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
