"""`hcbench check` on a data set of a plug-in that is sound, and on one mistake at a time: the page, changed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hcbench.data import catalogue
from hcbench.harness.cli.main import app
from hcbench.harness.contract.dataset_contract import CHECKS

PAGE = (Path(__file__).parents[3] / "docs" / "add-a-dataset.md").read_text(encoding="utf-8")
MAKER, CODE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

REFUSED = {
    # name: what stands there, what is written instead, what the screen says; exit code 2, nothing is checked
    "lacks": ("    verify=verify,\n", "", r"cannot be used\. The data set 'staff' is not complete: it lacks verify"),
    "field": ('"identity", "camera"', '"identity", "kamera"', r"card\.fields names 'kamera', no field of Samples"),
    "renumbered": ("    renumbered=(),", "", "it gives identity, but does not say which splits are renumbered"),
    "member": ("    renumbered", "    person_crop=None,\n    renumbered", "unexpected keyword argument 'person_crop'"),
    "benchmark": ('("reid",)', '("ried",)', r"joins the benchmark 'ried', which is not there[^$]*Did you mean 'reid'"),
    "needs": ('"identity", "camera"', '"identity"', "joins the benchmark reid, but its card does not name camera"),
    "built-in": ('name="staff"', 'name="coco"', "calls its data set 'coco', as a built-in one is"),
    "other": ("DATASET = Dataset(", "DATASET = dict(", "holds a dict as a card"),
    "nothing": ("DATASET = Dataset(", "data_set = Dataset(", "holds no card"),
}  # fmt: skip

MISTAKES = {
    # name: what stands there, what is written instead, the check that fails, what the screen says
    "terms": ('terms="For use in our group alone."', 'terms=""', "card", "The card's terms is empty"),
    "size": ("*, height: int = 128, width: int = 64, cache: Path)", "*, height: int = 128, cache: Path, width2=1)",
             "card", "load takes no width"),
    "argument": ("width: int = 64, cache: Path)", "width: int = 64, cache: Path, kind: str)", "card",
                 "load cannot be called without kind"),
    "bug": ('Path(file).stem.split("_")', 'Path(file).stem.split("-")', "splits",
            r"IndexError: .*my_data\.py:\d+ in load"),
    "none": ("    return Samples(", "    return dict(", "splits", "load gives a dict for train; expected Samples"),
    "channels": ("images=images,", "images=images.transpose(0, 2, 3, 1),", "images",
                 r"are uint8 \(2, 32, 16, 3\); expected uint8 \(2, 3, 32, 16\)"),
    "type": ("images=images,", "images=images / np.float32(255),", "images", r"are float32 .*; expected uint8"),
    "rows": ("images=images,", "images=images[1:],", "images", "47 images, but 48 ids"),
    "fixed": ("whole_images(root, files, height, width)", "whole_images(root, files, 64, 32)", "images",
              r"at 32x16 are uint8 \(2, 3, 64, 32\)"),
    "twice": ("ids=np.array(files)", 'ids=np.array(["one"] * len(files))', "ids", "ids are there more than once: one"),
    "objects": ("ids=np.array(files)", "ids=np.array(files, object)", "ids", r"expected text \(N,\)"),
    "absent": ("        camera=numbers[:, 1],\n", "", "fields", "train does not know camera, which card.fields names"),
    "column": ("camera=numbers[:, 1]", "camera=numbers[:, 1:]", "shapes",
               r"camera is int64 \(48, 2\); expected int64 \(48,\)"),
    "narrow": ("camera=numbers[:, 1]", "camera=numbers[:, 1].astype(np.int32)", "shapes", r"camera is int32 \(48,\)"),
    "joints": ("camera=numbers[:, 1]",
               "camera=numbers[:, 1],\n        keypoints=np.zeros((len(files), 14, 3), np.float32)",
               "shapes", r"keypoints is float32 \(48, 14, 3\); expected float32 \(48, 17, 3\)"),
    "captions": ("camera=numbers[:, 1]", 'camera=numbers[:, 1],\n        captions=("a person",) * len(files)', "shapes",
                 "captions are no tuples of texts"),
    "persons": ("identity=numbers[:, 0]", "identity=numbers[:, 0] % 5", "apart",
                "train and val share 4 persons: 0, 1, 3"),
    "images": ('f"{split}/{file}" for file in list_files(root / split).files',
               'f"train/{file}" for file in list_files(root / "train").files', "apart",
               "train and val share 48 images"),
    "clock": ("fingerprint=digest(key, numbers)", "fingerprint=str(id(images))", "same",
              "the fingerprint is .* and then"),
    "writes": ("    files = {split:", '    (root / "seen.txt").write_text("x")\n    files = {split:', "verify",
               "verify changed 1 files of the data set: seen.txt"),
    "counted": ("    benchmarks=", "    person_crops=lambda root, split, height, width, cache: load(\n        root, "
                "split, height=height, width=width, cache=cache\n    ),\n    corpus_size=lambda root, *size: 7,\n"
                "    benchmarks=", "crops", "corpus_size counts 7 images, person_crops gives 48"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    """What a command sets for its workers, and what it registers, ends with the test."""
    monkeypatch.setenv("HCBENCH_PLUGINS", "")
    monkeypatch.delenv("HCBENCH_PLUGINS")
    monkeypatch.setattr(catalogue, "_registered", {})


@pytest.fixture(scope="session")
def staff(tmp_path_factory):
    """The pictures that the page makes."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "make_staff.py").write_text(MAKER, encoding="utf-8")
    subprocess.run([sys.executable, "-P", folder / "make_staff.py", folder / "staff"], check=True)
    return folder / "staff"


def write(folder: Path, text: str) -> Path:
    path = folder / "my_data.py"
    path.write_text(text, encoding="utf-8")
    return path


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def replaced(before: str, after: str) -> str:
    assert CODE.count(before) == 1, before
    return CODE.replace(before, after)


def test_the_data_set_of_the_page_keeps_the_contract(tmp_path, staff):
    answer = run("check", "--plugin", write(tmp_path, CODE), "--data", f"staff={staff}")
    assert answer.exit_code == 0, answer.output
    assert "10 ok, 1 skipped" in answer.output
    for line in answer.output.splitlines()[1:-1]:
        promise = next(one.promise for one in CHECKS if one.promise in line)
        assert promise in PAGE, "the page shows what the command says"


@pytest.mark.parametrize("mistake", REFUSED)
def test_what_is_no_data_set_is_a_usage_error(mistake, tmp_path, staff):
    before, after, message = REFUSED[mistake]
    answer = run("check", "--plugin", write(tmp_path, replaced(before, after)), "--data", f"staff={staff}")
    assert answer.exit_code == 2, answer.output
    assert re.search(message, answer.output), answer.output


@pytest.mark.parametrize("mistake", MISTAKES)
def test_every_mistake_is_told_by_the_check_of_its_kind(mistake, tmp_path, staff):
    before, after, name, message = MISTAKES[mistake]
    answer = run("check", "--plugin", write(tmp_path, replaced(before, after)), "--data", f"staff={staff}")
    (staff / "seen.txt").unlink(missing_ok=True)
    assert answer.exit_code == 1, answer.output
    promises = {one.promise: one.name for one in CHECKS}
    lines = [line for line in answer.output.splitlines() if line.startswith("  failed")]
    failed = [next(known for promise, known in promises.items() if promise in line) for line in lines]
    assert failed[0] == name, answer.output
    assert re.search(message, answer.output), answer.output
    assert "The contract is broken by staff." in answer.output


def test_a_loader_that_gives_nothing_for_an_empty_folder_is_told(tmp_path, staff):
    given = "names_of(root, split) if (root / split).is_dir() else ['train/0001_0_0.jpg']"
    lenient = replaced("    files = names_of(root, split)\n", f"    files = {given}\n")
    lenient = lenient.replace("whole_images(root, files, height, width)", "whole_images(STAFF, files, height, width)")
    lenient += f"\n\nSTAFF = Path({str(staff)!r})\n"
    answer = run("check", "--plugin", write(tmp_path, lenient), "--data", f"staff={staff}")
    assert answer.exit_code == 1, answer.output
    assert "load of an empty folder gives 1 images; expected a DataError" in answer.output


def test_a_split_of_no_images_is_told(tmp_path, staff):
    few = replaced("    return Samples(", "    empty = split == 'val'\n    found = Samples(").replace(
        "        camera=numbers[:, 1],\n    )\n",
        "        camera=numbers[:, 1],\n    )\n    return found.subset(np.arange(0)) if empty else found\n",
    )
    answer = run("check", "--plugin", write(tmp_path, few), "--data", f"staff={staff}")
    assert answer.exit_code == 1, answer.output
    assert "val holds 0 images" in answer.output


def test_without_files_the_card_alone_is_checked(tmp_path):
    answer = run("check", "--plugin", write(tmp_path, CODE))
    assert answer.exit_code == 0, answer.output
    assert "1 ok, 10 skipped" in answer.output
    assert "needs its files: --data staff=ROOT" in answer.output


def test_a_built_in_data_set_is_checked_by_its_name(tmp_path):
    answer = run("check", "market1501", "--workspace", tmp_path)
    assert answer.exit_code == 0, answer.output
    assert "market1501" in answer.output
    assert "Checks: 1 ok, 10 skipped" in answer.output


def test_a_root_of_what_is_not_checked_is_a_usage_error(tmp_path, staff):
    answer = run("check", "--plugin", write(tmp_path, CODE), "--data", f"staf={staff}")
    assert answer.exit_code == 2, answer.output
    assert "Did you mean 'staff'" in answer.output


def test_a_method_beside_the_data_set_is_another_name(tmp_path):
    """Names choose: no method is checked where only a data set is named."""
    answer = run("check", "staff", "--plugin", write(tmp_path, CODE))
    assert answer.exit_code == 0, answer.output
    assert "Checks: 1 ok, 10 skipped" in answer.output
    answer = run("check", "staf", "--plugin", tmp_path / "my_data.py")
    assert answer.exit_code == 2
    assert "No method is called 'staf'" in answer.output


def test_the_run_of_the_page_can_be_planned(tmp_path, staff, monkeypatch):
    monkeypatch.chdir(staff.parent)
    write(staff.parent, CODE)
    command = re.search(r"\$ hcbench run (.*?[^\\])\n", PAGE, re.DOTALL)
    assert command is not None
    answer = run("plan", *command[1].replace("\\\n", " ").split(), "--workspace", tmp_path)
    assert answer.exit_code == 0, answer.output
    assert "4 cells: 4 missing" in answer.output
    assert "4 evaluations" in answer.output
