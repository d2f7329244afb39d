"""The job: resumed at any moment to the same bytes, one manifest, a ledger, and nobody else's folder touched."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from hcbench.data.files.under_root import OutsideError
from hcbench.data.manifest.schema import schema
from hcbench.errors import CacheError, ConfigError, DataError
from hcbench.harness.generation.job import LEDGER, MANIFEST, Made, Picture, image_path, read_rows, run_job

IMAGES = [4, 4, 2]
SETTINGS = {"backend": "noise", "steps": 3, "models": {"model": "a@1"}, "canvas": (8, 4)}


class Noise:
    """Makes noise from seeds; `fails_at` is the unit in which the power goes."""

    def __init__(self, fails_at: int = -1, reject: int = -1) -> None:
        self.fails_at, self.reject, self.units = fails_at, reject, []

    def flops_per_image(self) -> float:
        return 25.0

    def make(self, unit: int) -> Made:
        if unit == self.fails_at:
            raise KeyboardInterrupt
        self.units.append(unit)
        pictures = []
        for place in range(4 * unit, 4 * unit + IMAGES[unit]):
            pixels = np.random.default_rng(place).integers(0, 256, (8, 4, 3), dtype=np.uint8)
            row = {"group_id": place // 2, "variant": place % 2, "seed": place, "captions": ["x"], "joints": [1.0]}
            pictures.append(Picture(row, pixels, "too dark" if place == self.reject else ""))
        return Made(pictures, {"backend": "noise", "batch": IMAGES[unit]})


class Black(Noise):
    """Everything is rejected."""

    def make(self, unit: int) -> Made:
        made = super().make(unit)
        return Made([Picture(one.row, one.pixels, "too dark") for one in made.pictures], made.generator)


def run(folder: Path, maker: Noise | None = None, settings=SETTINGS, **more):
    made = maker or Noise()
    return run_job(folder, settings, lambda: made, IMAGES, {"backend": "noise"}, **more)


def content(folder: Path) -> dict[str, bytes]:
    """Everything that must not depend on interruptions."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if path.name != LEDGER and "units" not in path.parts
    }


def test_rows_are_complete_and_in_order(tmp_path):
    outcome = run(tmp_path)
    table = pq.read_table(outcome.manifest)
    assert table.schema.equals(schema())
    assert table.schema.metadata == schema().metadata
    rows = table.to_pylist()
    assert [row["seed"] for row in rows] == list(range(10))
    assert [row["image_path"] for row in rows] == [image_path(i // 2, i % 2) for i in range(10)]
    assert {(row["height"], row["width"]) for row in rows} == {(8, 4)}
    assert json.loads(rows[-1]["generator"]) == {"backend": "noise", "batch": 2}
    assert rows[0]["identity"] is None
    assert all((tmp_path / row["image_path"]).is_file() for row in rows)
    assert [row["joints"] for row in read_rows(tmp_path)] == [[1.0]] * 10  # kept beside, no column has room for it


@pytest.mark.parametrize("unit", [0, 1, 2])
def test_an_interrupted_job_ends_in_the_same_bytes(tmp_path, unit):
    run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", Noise(fails_at=unit))
    assert not (tmp_path / "cut" / MANIFEST).exists()
    (tmp_path / "cut" / "images" / "0000").mkdir(parents=True, exist_ok=True)
    (tmp_path / "cut" / "images" / "0000" / ".000009-0.png.77.tmp").write_bytes(b"half a file of a killed process")
    rest = Noise()
    outcome = run(tmp_path / "cut", rest)
    assert rest.units == list(range(unit, 3))
    assert outcome.skipped == 4 * unit
    assert content(tmp_path / "cut") == content(tmp_path / "whole")


@pytest.mark.parametrize("harm", ["lost", "cut short"])
def test_a_harmed_image_is_made_again(tmp_path, harm):
    run(tmp_path)
    before = content(tmp_path)
    victim = tmp_path / image_path(2, 1)
    if harm == "lost":
        victim.unlink()
    else:
        victim.write_bytes(victim.read_bytes()[:20])
    maker = Noise()
    run(tmp_path, maker)
    assert maker.units == [1]
    assert content(tmp_path) == before


def test_nothing_is_loaded_where_nothing_is_left_to_do(tmp_path):
    run(tmp_path)

    def never():
        raise AssertionError("the generator was loaded")

    assert run_job(tmp_path, SETTINGS, never, IMAGES, {}).made == 0


def test_other_settings_are_refused_with_what_differs(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Noise(fails_at=1))
    with pytest.raises(ConfigError) as caught:
        run(tmp_path, settings={**SETTINGS, "steps": 4, "models": {"model": "b@2"}})
    assert "models.model a@1, now b@2; steps 3, now 4" in caught.value.message
    assert "canvas" not in caught.value.message
    assert run(tmp_path).made == 6


def test_settings_may_change_while_nothing_was_made(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Noise(fails_at=0))
    assert run(tmp_path, settings={**SETTINGS, "steps": 4}).made == 10


def test_the_ledger_sums_all_runs(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Noise(fails_at=1))
    ledger = run(tmp_path, Noise(reject=6)).ledger
    assert (ledger["images"], ledger["images_rejected"], ledger["flops_per_image"]) == (9, {"too dark": 1}, 25.0)
    assert ledger["flops"] == 250.0
    assert ledger["generator_s"] > 0
    assert json.loads((tmp_path / LEDGER).read_text()) == ledger
    assert len(pq.read_table(tmp_path / MANIFEST)) == 9
    assert not (tmp_path / image_path(3, 0)).exists()


def test_progress_is_told_per_unit(tmp_path):
    heard = []
    run(tmp_path, report_progress=lambda progress: heard.append((progress.done, progress.total, progress.made)))
    assert heard == [(4, 10, 4), (8, 10, 8), (10, 10, 10)]


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"not empty.*photo.jpg"):
        run(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.jpg"]
    with pytest.raises(CacheError, match="cannot be written"):
        run(tmp_path / "photo.jpg")


def test_two_processes_do_not_share_a_folder(tmp_path):
    class Second(Noise):
        def make(self, unit):
            with pytest.raises(CacheError, match="Another process"):
                run(tmp_path)
            return super().make(unit)

    assert run(tmp_path, Second()).made == 10


def test_a_manifest_of_nothing_is_not_written(tmp_path):
    with pytest.raises(DataError, match="Every image was left out: 10 x too dark"):
        run(tmp_path, Black())
    assert not (tmp_path / MANIFEST).exists()
    assert run(tmp_path / "whole").ledger["images"] == 10


def test_a_record_that_names_files_elsewhere_is_not_followed(tmp_path):
    run(tmp_path / "out")
    record = next((tmp_path / "out").glob("units/*/*1.json"))
    changed = json.loads(record.read_text())
    changed["rows"][0]["image_path"] = "../../mine.png"
    record.write_text(json.dumps(changed))
    with pytest.raises(OutsideError, match=r"names '\.\./\.\./mine\.png', which leads out of its folder"):
        list(read_rows(tmp_path / "out"))
    maker = Noise()
    run(tmp_path / "out", maker)
    assert maker.units == [1], "its images are made again"
    assert len(list(read_rows(tmp_path / "out"))) == sum(IMAGES)
