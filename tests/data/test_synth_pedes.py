"""SYNTH-PEDES on a small tree: a json read in pieces, parts that are not there, damage."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from image_tree import colours, expected_colours, write_images, write_junk

from hcbench.data import synth_pedes
from hcbench.errors import DataError


def entry(file, person, captions=("A man, in a “red” coat [sic].", "A woman {with} a bag \\ 2.")):
    return {
        "id": person, "file_path": file, "captions": list(captions), "prompt_caption": ["one"],
        "attributes": ["man,short hair,red,unknown,shoes,bag"],
    }  # fmt: skip


ENTRIES = [
    entry("Part2/31/1.jpg", 31),
    entry("Part1/9/0.jpg", 9, ("a", "b", " c ")),
    entry("Part2/31/0.jpg", 31),
    entry("Part7/80/0.jpg", 80),
]


@pytest.fixture
def root(tmp_path):
    base = tmp_path / "x" / "SYNTH-PEDES"
    write_images(base, [one["file_path"] for one in ENTRIES if not one["file_path"].startswith("Part7")])
    write_junk(base / "Part1" / "9")
    (base / "synthpedes_dataset.json").write_text(json.dumps(ENTRIES, ensure_ascii=False), encoding="utf-8")
    return base.parent


def load(root, tmp_path):
    return synth_pedes.load(root, "train", height=16, width=8, cache=tmp_path / "cache")


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_samples(root, tmp_path, chunk, monkeypatch, caplog):
    monkeypatch.setattr(synth_pedes, "_CHUNK", chunk)
    samples = load(root, tmp_path)
    assert samples.ids.tolist() == ["Part1/9/0.jpg", "Part2/31/0.jpg", "Part2/31/1.jpg"]
    assert samples.identity.tolist() == samples.group.tolist() == [0, 1, 1]
    assert samples.captions[0] == ("a", "b", "c")
    assert samples.captions[1] == tuple(ENTRIES[0]["captions"])
    np.testing.assert_allclose(colours(samples.images[:]), expected_colours(samples.ids), atol=4)
    assert "Part7 are not there" in caplog.text


def test_rows_of_a_manifest_are_below_the_root(root):
    (batch,) = synth_pedes.index(root, "train")
    assert batch["image_path"] == [f"SYNTH-PEDES/{one['file_path']}" for one in ENTRIES[:3]]
    assert batch["identity"] == batch["group_id"] == [31, 9, 31]
    assert batch["captions"][1] == ["a", "b", "c"]


def test_the_json_is_what_decides(root):
    assert synth_pedes.annotation_files(root) == (root / "SYNTH-PEDES" / "synthpedes_dataset.json",)


def test_verify(root, monkeypatch):
    report = synth_pedes.verify(root)
    assert report.level == "subset"
    assert "images 3/4,791,711, identities 2/312,321, captions 7/12,138,157" in report.text()
    monkeypatch.setattr(synth_pedes, "CARD", replace(synth_pedes.CARD, counts=report.found))
    assert synth_pedes.verify(root).level == "exact"
    (root / "SYNTH-PEDES" / "Part1/9/0.jpg").unlink()
    report = synth_pedes.verify(root)
    assert report.level == "mismatch"
    assert report.problems[0].startswith("1 of 3 images cannot be decoded: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}', "does not hold a list"),
        ("", "does not hold a list"),
        (json.dumps(ENTRIES)[:-9], "cannot be read after"),
        ("[" + json.dumps(ENTRIES[0]) + ", oops]", "cannot be read after '.*oops"),
        (
            json.dumps([{"id": 1, "path": "x", "captions": ["a"]}]),
            "entry 0 has no file_path; it has captions, id, path",
        ),
        (json.dumps([ENTRIES[0], 3]), "entry 1 has no id, file_path, captions; it has int"),
        (json.dumps([ENTRIES[0] | {"captions": []}]), r"entry 0 has the captions \[\]"),
        (json.dumps([ENTRIES[0] | {"captions": "a man"}]), "entry 0 has the captions 'a man'"),
        (json.dumps([ENTRIES[0] | {"id": "x1"}]), "entry 0 has the id 'x1'"),
        (json.dumps([ENTRIES[3]]), "holds no folder that synthpedes_dataset.json names"),
        (json.dumps([ENTRIES[0]] * 2), "names an image twice"),
    ],
)
def test_another_json_is_refused(root, tmp_path, text, message):
    (root / "SYNTH-PEDES" / "synthpedes_dataset.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load(root, tmp_path)
    assert synth_pedes.verify(root).level == "mismatch"
