from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from manifest_files import HEIGHT, WIDTH, columns, picture, write
from PIL import Image, PngImagePlugin

from hcbench.data.manifest import view as manifest_view
from hcbench.data.manifest import write as manifest_write
from hcbench.data.manifest.images import ManifestImages, TooManyBroken, from_bytes, from_files
from hcbench.data.manifest.manifest import check_images, open_manifest
from hcbench.data.manifest.schema import COLUMNS, VERSION_KEY, schema
from hcbench.data.manifest.view import budget_rows, view, words
from hcbench.data.manifest.write import ManifestWriter
from hcbench.data.samples import Samples
from hcbench.errors import DataError

EVERYTHING = {"images", "group", "identity", "camera", "pose_id", "captions", "keypoints"}


def seen(
    path: Path, cache: Path, layout: str = "captions", rows: Any = None, height: int = 10, width: int = 5
) -> Samples:
    manifest = open_manifest(path)
    rows = np.arange(len(manifest)) if rows is None else rows
    return view(manifest, layout, rows, height=height, width=width, cache=cache)


@pytest.mark.parametrize("packed", [False, True])
def test_a_view_gives_what_was_written(tmp_path: Path, packed: bool) -> None:
    manifest = open_manifest(write(tmp_path, packed=packed))
    assert len(manifest) == 60
    assert manifest.packed == packed
    assert manifest.known("captions") == EVERYTHING
    rows = np.array([0, 7, 8, 59])
    samples = view(manifest, "poses", rows, height=HEIGHT, width=WIDTH, cache=tmp_path / "cache")
    assert samples.known() == EVERYTHING
    assert samples.ids.tolist() == [f"images/{row:04d}.png" for row in rows]
    assert samples.group is not None
    assert samples.group.tolist() == (rows // 2).tolist()
    assert samples.identity is not None
    assert samples.identity.tolist() == (rows // 3).tolist()
    assert samples.captions is not None
    assert samples.captions[1] == ("A person, number 1.", "walks")
    assert list(samples.captions)[3][0] == "A person, number 11."
    pixels = samples.images[np.array([3, 0])]
    assert pixels.shape == (2, 3, HEIGHT, WIDTH)
    assert pixels[0, 0, 0, 0] == 59
    assert np.all(pixels[1, 2] == 77)
    assert samples.keypoints is not None
    assert samples.keypoints[0, 0].tolist() == [10, 30, 2], "at the stored size keypoints stay where they are"
    part = samples.subset(np.array([2, 1]))
    assert part.captions == (samples.captions[2], samples.captions[1])
    assert part.images[np.array([0])][0, 0, 0, 0] == 8


def test_keypoints_go_with_the_pixels(tmp_path: Path) -> None:
    """A white dot at a keypoint is where the keypoint says, at every size of the input."""
    from PIL import Image

    picture_of_dot = np.zeros((64, 32, 3), np.uint8)
    picture_of_dot[40:44, 20:24] = 255  # centre at 21.5, 41.5
    Image.fromarray(picture_of_dot).save(tmp_path / "dot.png")
    point = np.tile([21.5, 41.5, 2.0], 17).tolist()
    with ManifestWriter(tmp_path / "dot.parquet") as writer:
        writer.add({"image_path": ["dot.png"], "keypoints": [point], "width": [32], "height": [64]})
    for height, width in ((64, 32), (32, 16), (128, 64), (32, 32)):
        samples = seen(tmp_path / "dot.parquet", tmp_path, height=height, width=width)
        bright = samples.images[np.array([0])][0, 0].astype(np.float64)
        y, x = np.indices(bright.shape)
        centre = [(bright * x).sum() / bright.sum(), (bright * y).sum() / bright.sum()]
        assert samples.keypoints is not None
        # Resampling keeps the centre of mass but for the rounding of pixel values.
        assert np.allclose(samples.keypoints[0, 0, :2], centre, atol=0.02)


def test_layouts_are_grouped_by_their_own_columns(tmp_path: Path) -> None:
    manifest = open_manifest(write(tmp_path))
    assert manifest.group_sizes("captions") == (12, 5)
    assert manifest.group_sizes("poses") == (30, 2)
    assert manifest.group_sizes("identities") == (20, 3)
    odd = columns(60)["identity"].copy()
    odd[:4] = -1
    manifest = open_manifest(write(tmp_path / "odd", identity=odd, pose_id=None, group_id=[None, *range(59)]))
    units = manifest.units("identities")
    assert units is not None
    assert len(set(units[:4].tolist())) == 4, "who is nobody's makes a group with nobody"
    assert manifest.group_sizes("identities") == (4 + 19, 0)
    assert "group" not in manifest.known("poses")
    assert manifest.why_unknown("group", "poses") == "the layout poses needs pose_id"
    assert manifest.why_unknown("group", "captions") == "1 of 60 rows have no group_id"


@pytest.mark.parametrize("layout", ["captions", "poses", "identities"])
def test_budgets_are_nested_and_of_equal_size(tmp_path: Path, layout: str) -> None:
    sizes = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 15])
    uneven = np.repeat(np.arange(10), sizes)
    manifest = open_manifest(write(tmp_path, group_id=uneven, pose_id=uneven, identity=uneven))
    before: set[int] = set()
    for count in (5, 17, 33, 60):
        rows = budget_rows(manifest, layout, count, seed=3)
        assert len(rows) == count
        assert np.all(np.diff(rows) > 0)
        assert before <= set(rows.tolist())
        before = set(rows.tolist())
        whole = [group for group in range(10) if 0 < (uneven[rows] == group).sum() < sizes[group]]
        assert len(whole) <= 1, "one group at most is cut"
    assert set(budget_rows(manifest, layout, 17, seed=4).tolist()) != set(budget_rows(manifest, layout, 17, 3).tolist())


def test_a_view_is_told_by_its_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, rows = write(tmp_path, 10), np.arange(4)
    one = seen(path, tmp_path, rows=rows).fingerprint
    assert seen(path, tmp_path, rows=rows).fingerprint == one
    others = [
        seen(path, tmp_path, rows=rows + 1),
        seen(path, tmp_path, "poses", rows),
        seen(path, tmp_path, rows=rows, width=6),
    ]
    monkeypatch.setattr(manifest_view, "decoder", lambda: "pillow of tomorrow")
    others.append(seen(path, tmp_path, rows=rows))
    assert len({one, *(samples.fingerprint for samples in others)}) == 5


def test_shards_count_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_write, "ROWS_PER_SHARD", 25)
    whole = open_manifest(write(tmp_path))
    shards = open_manifest(write(tmp_path, name="shards"))
    assert [path.name for path in sorted((tmp_path / "shards").iterdir())] == [
        f"part-0000{i}.parquet" for i in range(3)
    ]
    assert len(shards) == 60
    assert shards.fingerprint == whole.fingerprint
    rows = np.array([3, 24, 25, 49, 50, 59])
    assert shards.take(["group_id"], rows) == whole.take(["group_id"], rows)


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown columns"), ManifestWriter(tmp_path / "x.parquet") as writer:
        list(map(writer.add, ({"image_path": ["a"]}, {"b": ["b"]})))
    with pytest.raises(DataError, match="there is no row"), ManifestWriter(tmp_path / "x.parquet"):
        pass
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "x.parquet").touch()
    with pytest.raises(DataError, match="is there already"):
        ManifestWriter(tmp_path / "x.parquet")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"image": ["a"]}, "unknown columns image"),
        ({"image_path": ["a", "b"], "camera": [1]}, r"columns of lengths \[1, 2\]"),
        ({"image_path": ["a"], "camera": ["left"]}, "camera cannot hold"),
    ],
)
def test_rows_that_do_not_fit_are_refused(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message), ManifestWriter(tmp_path / "x.parquet") as writer:
        writer.add(given)


def _table(**changes: Any) -> pa.Table:
    table = pa.table({name: pa.array([None, None], kind) for name, kind in COLUMNS.items()}, schema=schema())
    for name, values in {"image_path": ["a.png", "b.png"], **changes}.items():
        column = values if isinstance(values, pa.Array) else pa.array(values, COLUMNS[name])
        table = table.set_column(table.column_names.index(name), pa.field(name, column.type), column)
    return table


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (_table().drop_columns(["camera"]), "the column camera is missing"),
        (_table(group_id=pa.array(["x", "y"])), "group_id is string, expected int64"),
        (_table().replace_schema_metadata({}), "does not name a version"),
        (_table().replace_schema_metadata({VERSION_KEY: b"7"}), "version 7; this hcbench reads up to 1"),
        (_table(image_path=["a.png", None]), "1 of 2 rows have no image_path, and 2 no image_bytes"),
        (_table(keypoints=[[1.0] * 34, None], width=[1, 1], height=[1, 1]), r"another length: 34 numbers in 1 rows"),
        (_table(keypoints=[[1.0] * 51, None], width=[1, None]), "not the width and height of every image"),
        (_table().slice(0, 0), "holds no row"),
    ],
)
def test_what_is_no_manifest_is_told_why(tmp_path: Path, table: pa.Table, message: str) -> None:
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(DataError, match=message):
        open_manifest(tmp_path / "x.parquet")


def test_other_spellings_of_a_type_are_as_good(tmp_path: Path) -> None:
    table = _table(
        image_path=pa.array(["a.png", "b.png"], pa.large_string()),
        source=pa.array(["x", "x"]).dictionary_encode(),
        keypoints=pa.array([[1.0] * 51] * 2, pa.list_(pa.float32(), 51)),
        width=[4, 4],
        height=[4, 4],
    )
    pq.write_table(table, tmp_path / "x.parquet", write_statistics=False)
    manifest = open_manifest(tmp_path / "x.parquet")
    assert "keypoints" in manifest.known("captions")
    assert manifest.values("source") == ("x",)
    assert seen(tmp_path / "x.parquet", tmp_path).keypoints is not None


def test_keypoints_of_two_wrong_lengths_do_not_make_a_right_one(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(_table(keypoints=[[1.0] * 50, [1.0] * 52], width=[4, 4], height=[4, 4]), path)
    with pytest.raises(DataError, match=r"a.png has 50 keypoint numbers, as have 1 other"):
        seen(path, tmp_path)


def test_files_that_are_no_parquet(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"no")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        open_manifest(tmp_path / "x.parquet")
    with pytest.raises(DataError, match="There is no manifest"):
        open_manifest(tmp_path / "y.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no .parquet file"):
        open_manifest(tmp_path / "empty")


def test_a_wrong_root_is_found_before_anything_else(tmp_path: Path) -> None:
    path = write(tmp_path)
    check_images(open_manifest(path))
    with pytest.raises(DataError, match=r"(?s)none of 60 looked up lies below .*images/0000.png.*--data some=ROOT"):
        check_images(open_manifest(path, tmp_path / "images"))


@pytest.mark.parametrize("small", [True, False])
def test_broken_images_are_black_told_once_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, small: bool
) -> None:
    if not small:
        monkeypatch.setattr("hcbench.data.manifest.images.KEPT_BYTES", 0)
    path = write(tmp_path, 300)
    (tmp_path / "images/0005.png").unlink()
    (tmp_path / "images/0007.png").write_bytes(picture(7)[:40])
    (tmp_path / "images/0009.png").write_bytes((tmp_path / "images/0009.png").read_bytes()[:-20])
    samples = seen(path, tmp_path)
    for _ in range(2):
        pixels = samples.images[np.array([4, 5, 7])]
        assert pixels[0].any()
        assert not pixels[1:].any()
    assert len(caplog.records) == 2
    assert isinstance(samples.images, ManifestImages)
    (told,) = samples.images.warnings
    assert "2 of 300 images could not be read and were black: images/0005.png: it is missing" in told
    for row in (20, 21):
        (tmp_path / f"images/{row:04d}.png").unlink()
    with pytest.raises(TooManyBroken, match=r"4 of 300 images cannot be read, more than 1%"):
        _ = samples.images[np.arange(30)]


def test_what_pillow_calls_a_wrong_value_is_a_broken_image_too() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x" * 2_000_000, zip=True)  # more than Pillow reads: a ValueError, not an OSError
    with io.BytesIO() as file:
        Image.new("RGB", (2, 4)).save(file, "PNG", pnginfo=text)
        read = from_bytes(lambda row: file.getvalue())
        with pytest.raises(DataError, match="it cannot be decoded: Decompressed data too large"):
            read(0)


def test_an_image_of_another_size_than_promised_is_broken(tmp_path: Path) -> None:
    path = write(tmp_path, 200, width=[WIDTH] * 199 + [WIDTH + 1])
    samples = seen(path, tmp_path)
    assert not samples.images[np.array([199])].any()
    assert "it is 20 x 40, the manifest says 21 x 40" in samples.images.warnings[0]  # type: ignore[attr-defined]


def test_images_are_indexed_like_arrays(tmp_path: Path) -> None:
    write(tmp_path, 12)
    names = [f"images/{row:04d}.png" for row in range(12)]
    images = ManifestImages(from_files(tmp_path, names), np.zeros((12, 2), np.int64), str, height=4, width=2)
    assert images[3].shape == (3, 4, 2)
    assert [one[0, 0, 0] for one in images[2:5]] == [2, 3, 4]
    assert images[np.array([], np.int64)].shape == (0, 3, 4, 2)
    assert images[-1][0, 0, 0] == 11


def test_packed_images_are_unpacked_once_per_view(tmp_path: Path) -> None:
    path, cache = write(tmp_path, packed=True), tmp_path / "cache"
    first = seen(path, cache, rows=np.array([1, 5, 58]))
    assert first.images[np.array([2])][0, 0, 0, 0] == 58
    files = {file.name: file.stat().st_mtime_ns for file in cache.iterdir()}
    assert len(files) == 2
    again = seen(path, cache, rows=np.array([1, 5, 58]))
    assert again.fingerprint == first.fingerprint
    assert again.images[np.array([0])][0, 0, 0, 0] == 1
    assert {file.name: file.stat().st_mtime_ns for file in cache.iterdir()} == files


def test_words_of_captions(tmp_path: Path) -> None:
    manifest = open_manifest(write(tmp_path, 10))
    assert words(manifest) == ("0", "1", "a", "number", "person", "walks")
    assert words(manifest, 3) == ("a", "number", "person")


_FIVE_MILLION = """
import sys, time
import pyarrow.parquet
from pathlib import Path
start = time.process_time()
from hcbench.data.manifest.manifest import open_manifest
manifest = open_manifest(Path(sys.argv[1]))
sizes = manifest.group_sizes("captions")
opened = time.process_time() - start
from hcbench.data.manifest.view import budget_rows, view
start = time.process_time()
manifest.fingerprint
hashed = time.process_time() - start
start = time.process_time()
rows = budget_rows(manifest, "captions", len(manifest) // 100, 0)
view(manifest, "captions", rows, height=128, width=64, cache=Path(sys.argv[1]).parent)
drawn = time.process_time() - start
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(len(manifest), *sizes, opened, drawn, hashed, int(status["VmHWM"].split()[0]) / 1024)
"""
# VmHWM is of this program alone; ru_maxrss would begin with what the tests held when they started it.


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_five_million_rows_open_fast_and_flat(tmp_path: Path) -> None:
    count, path = 5_000_000, tmp_path / "big.parquet"
    with ManifestWriter(path) as writer:
        for start in range(0, count, 100_000):
            rows = np.arange(start, start + 100_000)
            writer.add({
                "image_path": [f"images/{row // 1000:05d}/{row:08d}.jpg" for row in rows.tolist()],
                "group_id": rows // 5, "identity": rows * 7919 % 400_000, "camera": rows % 7,
                "source": ["lupersonnl"] * len(rows), "captions": [["a person walks"]] * len(rows),
            })  # fmt: skip
    ran = subprocess.run([sys.executable, "-c", _FIVE_MILLION, str(path)], capture_output=True, text=True, check=True)
    rows_found, groups, size, opened, drawn, hashed, peak_mib = map(float, ran.stdout.split())
    print(
        f"open with groups {opened:.2f} s, 1pct view {drawn:.2f} s, fingerprint {hashed:.2f} s, peak {peak_mib:.0f} MiB"
    )
    assert (rows_found, groups, size) == (count, 1_000_000, 5)
    assert opened < 2  # processor seconds: a busy machine is no reason to fail
    assert peak_mib < 500
