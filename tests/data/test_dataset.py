"""The contract of a data set: what `Dataset` refuses, what the catalogue lists, and what plug-ins register."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

import hcbench.data
from hcbench.data import catalogue
from hcbench.data.card import DatasetCard, VerifyReport
from hcbench.data.catalogue import BUILT_IN, built_in_modules, dataset, dataset_modules, register
from hcbench.data.dataset import Dataset
from hcbench.data.fields import FIELDS
from hcbench.data.samples import Samples
from hcbench.data.task_splits import TaskSplits
from hcbench.errors import DataError

CARD = DatasetCard(
    name="staff", title="Staff", homepage="-", terms="-", obtain="-", tree="-", counts={"train": {}, "test": {}},
    fields=frozenset({"images", "identity"}),
)  # fmt: skip


def load(root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path) -> Samples:
    raise AssertionError("nothing is loaded")


def verify(root: Path) -> VerifyReport:
    raise AssertionError("nothing is looked at")


def count(root: Path, height: int, width: int) -> int:
    return 1


WHOLE: dict[str, Any] = {
    "card": CARD, "load": load, "verify": verify, "splits": ("train", "test"), "renumbered": (),
}  # fmt: skip


def test_a_whole_one_has_plain_defaults() -> None:
    found = Dataset(**WHOLE)
    assert (found.name, found.fields, found.training_split, found.scored_split) == (
        "staff", CARD.fields, "train", "test",
    )  # fmt: skip
    assert found.is_for_training
    assert found.person_crops is found.index is found.load_detected is found.annotation_files is None


@pytest.mark.parametrize("name", ["card", "load", "verify", "splits"])
def test_a_missing_member_is_named_with_what_it_is(name: str) -> None:
    with pytest.raises(DataError, match=f"it lacks {name}") as caught:
        Dataset(**{key: value for key, value in WHOLE.items() if key != name})
    assert f"{name}: " in caught.value.hint


@pytest.mark.parametrize("field", ["identity", "group"])
def test_what_is_renumbered_must_be_said_where_numbers_could_join_persons(field: str) -> None:
    card = replace(CARD, fields=frozenset({"images", field}))
    silent = {key: value for key, value in WHOLE.items() if key != "renumbered"} | {"card": card}
    with pytest.raises(DataError, match=f"it gives {field}, but does not say which splits are renumbered") as caught:
        Dataset(**silent)
    assert "renumbered=()" in caught.value.hint
    assert Dataset(**silent | {"card": replace(CARD, fields=frozenset({"images"}))}).renumbered == ()


@pytest.mark.parametrize(
    ("changed", "message", "hint"),
    [
        ({"card": replace(CARD, fields=frozenset({"images", "kamera"}))}, "card.fields names 'kamera'", "'camera'"),
        ({"card": replace(CARD, fields=frozenset({"identity"}))}, "does not name images", "add them"),
        ({"card": replace(CARD, counts={"query": {}})}, "card.counts names the split 'query'", "test, train"),
        ({"card": replace(CARD, counts={})}, "its card counts no split", "counts="),
        ({"card": "staff"}, "card is a str", ""),
        ({"load": None}, "load is None", "root, split"),
        ({"splits": ()}, "it has no split", "splits must be"),
        ({"splits": "train"}, "splits is the text 'train'", r"\('train',\)"),
        ({"renumbered": ("traim",)}, "renumbered names the split 'traim'", "'train'"),
        ({"sometimes": frozenset({"camera"})}, "sometimes names 'camera'", "identity"),
        ({"task_splits": TaskSplits(train="train", val=None, test="val")}, "task_splits names the split 'val'", ""),
        ({"benchmarks": ("reid",)}, "task_splits names the split 'val'", ""),
        ({"corpus_split": "all"}, "corpus_split names the split 'all'", ""),
        ({"person_crops": load}, "has person_crops, but no corpus_size", "add it"),
        ({"person_crops": load, "corpus_size": count, "corpus_fields": frozenset({"imges"})},
         "corpus_fields names 'imges'", "'images'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(changed: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        Dataset(**WHOLE | changed)
    assert not hint or re.search(hint, caught.value.hint), caught.value.hint


def test_the_table_of_fields_is_that_of_samples() -> None:
    always = {"name", "fingerprint", "ids", "slices", "attribute_names", "attribute_groups", "part_names", "skeleton",
              "left_out", "notes"}  # fmt: skip
    assert set(FIELDS) == {field.name for field in fields(Samples)} - always
    words = " ".join((Samples.__doc__ or "").split())
    for name, facts in FIELDS.items():
        if facts.dtype:
            shape = ", ".join(map(str, facts.shape)) + ("," if len(facts.shape) == 1 else "")
            assert f" {name}: {facts.dtype} ({shape})" in words, f"the docstring says the same of {name}"


def test_every_module_that_holds_a_data_set_is_listed() -> None:
    folder = Path(hcbench.data.__path__[0])
    holding = {path.stem for path in folder.glob("*.py")
               if "DATASET" in vars(importlib.import_module(f"hcbench.data.{path.stem}"))}  # fmt: skip
    assert set(BUILT_IN) == holding
    assert list(BUILT_IN) == sorted(BUILT_IN)
    assert {name: dataset(name).name for name in built_in_modules()} == {name: name for name in built_in_modules()}


@pytest.mark.parametrize("name", built_in_modules())
def test_a_built_in_one_names_the_options_of_its_loader(name: str) -> None:
    found = dataset(name)
    taken = set(inspect.signature(found.load).parameters) - {"root", "split", "height", "width", "cache"}
    assert taken == found.options


@pytest.mark.parametrize("name", built_in_modules())
def test_the_functions_of_a_built_in_module_are_its_members(name: str) -> None:
    """A function that is written but not handed over would be used by nobody."""
    module, found = vars(importlib.import_module(built_in_modules()[name])), dataset(name)
    assert (found.card, found.load, found.verify, found.splits) == tuple(
        module[one] for one in ("CARD", "load", "verify", "SPLITS")
    )
    for one in ("annotation_files", "load_detected", "index", "person_crops", "corpus_size"):
        assert vars(found)[one] == module.get(one), one
    for one in ("RENUMBERED", "TASK_SPLITS", "CORPUS_SPLIT", "CORPUS_FIELDS"):
        if one in module:
            assert vars(found)[one.lower()] == module[one], one


def test_the_catalogue_loads_no_torch_and_no_data_set_before_it_is_asked() -> None:
    text = (
        "import sys; from hcbench.data.catalogue import dataset, dataset_modules; dataset_modules();"
        "assert 'hcbench.data.coco' not in sys.modules; dataset('coco');"
        "assert 'hcbench.data.mpii' not in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-P", "-c", text], check=True, env=dict(os.environ))


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Callable[[Dataset], None]:
    """Register, until the test ends."""
    monkeypatch.setattr(catalogue, "_registered", {})
    return lambda one: register(one, "my_data")


def test_what_a_plug_in_registers_is_found_by_name(registered: Callable[[Dataset], None]) -> None:
    with pytest.raises(DataError, match="No data set is called 'staff'"):
        dataset("staff")
    mine = Dataset(**WHOLE)
    registered(mine)
    assert dataset("Staff") is mine
    assert dataset_modules()["staff"] == "my_data"
    assert "staff" not in built_in_modules()
    registered(again := Dataset(**WHOLE))
    assert dataset("staff") is again


def test_no_plug_in_takes_the_name_of_a_built_in_one(registered: Callable[[Dataset], None]) -> None:
    with pytest.raises(DataError, match="as the built-in coco is"):
        registered(Dataset(**WHOLE | {"card": replace(CARD, name="COCO")}))
