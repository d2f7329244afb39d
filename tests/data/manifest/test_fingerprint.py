"""What stands for a manifest: its columns, and the contents of its images."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from manifest_files import write

from hcbench.data.manifest import manifest as manifest_module
from hcbench.data.manifest.manifest import open_manifest
from hcbench.data.manifest.schema import COLUMNS


def test_the_fingerprint_is_of_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = open_manifest(write(tmp_path / "a")).fingerprint
    assert open_manifest(write(tmp_path / "b", name="other.parquet")).fingerprint == one
    rewritten = tmp_path / "a/c.parquet"
    table = pq.read_table(tmp_path / "a/some.parquet")
    pq.write_table(table, rewritten, row_group_size=13, compression="gzip", use_dictionary=False)
    assert open_manifest(rewritten).fingerprint == one, "neither row groups nor compression are content"
    for column in ("group_id", "captions", "keypoints", "image_path", "source"):
        values = table[column].to_pylist()
        values[17] = values[18] if column == "image_path" else None
        changed = table.set_column(table.column_names.index(column), column, pa.array(values, COLUMNS[column]))
        pq.write_table(changed, tmp_path / f"a/{column}.parquet")
        assert open_manifest(tmp_path / f"a/{column}.parquet").fingerprint != one, column


def test_images_that_are_named_count_by_content(tmp_path: Path) -> None:
    path = write(tmp_path, 12)
    one = open_manifest(path).fingerprint
    first, second = tmp_path / "images/0003.png", tmp_path / "images/0004.png"
    first.write_bytes(second.read_bytes())
    changed = open_manifest(path).fingerprint
    assert changed != one
    first.unlink()
    assert open_manifest(path).fingerprint not in (one, changed), "a missing image, too"
    first.symlink_to(second)
    assert open_manifest(path).fingerprint == changed, "wherever the content lies"


def test_packed_images_count_by_their_files(tmp_path: Path) -> None:
    one = open_manifest(write(tmp_path / "a", packed=True)).fingerprint
    assert open_manifest(write(tmp_path / "b", packed=True, name="other.parquet")).fingerprint == one
    table = pq.read_table(tmp_path / "a/some.parquet")  # with all that a writer has noted in the file
    values = table["image_bytes"].to_pylist()
    values[17] = values[18]
    column = table.column_names.index("image_bytes")
    pq.write_table(
        table.set_column(column, "image_bytes", pa.array(values, COLUMNS["image_bytes"])), tmp_path / "c.parquet"
    )
    assert open_manifest(tmp_path / "c.parquet").fingerprint != one


def test_of_too_many_rows_a_sample_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, 12)
    whole = open_manifest(path)
    assert (whole.image_contents.files, whole.image_contents.read) == (12, 12)
    before = whole.fingerprint
    monkeypatch.setattr(manifest_module, "MOST_FILES", 11)
    monkeypatch.setattr(manifest_module, "SAMPLE", 3)
    sampled = open_manifest(path)
    assert sampled.fingerprint != before
    assert str(sampled.image_contents).endswith("(12 files; too many to read: names and the contents of 3)")
