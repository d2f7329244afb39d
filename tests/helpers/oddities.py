"""What people's copies of data sets really hold: changes of files on disk, for any data set.

Each change takes a folder and a generator of random numbers, changes something that it finds there, and gives a line
that says what, or None where the folder has nothing of the kind.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import io

Change = Callable[[Path, np.random.Generator], str | None]

VALUES: tuple[Any, ...] = (
    None, "", "text", "7", " 7 ", "7.5", 0, 1, 2, -1, -7, 0.5, 7.0, 1e-6, 1e-300, 255, 2**60, 10**25, 1e300,
    float("nan"), float("inf"), True, False, [], {}, [None], ["a"], [0, 0, 0, 0], [10, 10, -5, 20], "img-1",
    "a\\b.jpg", "../x.jpg", "/x.jpg", "a\0b", "\ud800", "ä ö", "train", "val", "test", "nan", "1e3",
)  # fmt: skip
"""What stands where something else is expected."""
NUMBERS = (np.nan, np.inf, -1.0, 0.0, 2.0, 3.0, 255.0, 0.5, 1e-6, 1e30)
IMAGES = (".jpg", ".png")


def pick(rng: np.random.Generator, several: Any) -> Any:
    return several[int(rng.integers(len(several)))]


def files(root: Path, *endings: str) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.suffix.lower() in endings and not path.name.startswith("._"))


def nodes(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, Any, tuple[Any, ...]]]:
    """Every place below a json value: its container, its key, and the way to it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key, (*path, key)
        yield from nodes(inner, (*path, key))


def in_json(edit: Callable[[Any, np.random.Generator], str | None]) -> Change:
    """A change of what a json file holds."""

    def change(root: Path, rng: np.random.Generator) -> str | None:
        found = files(root, ".json")
        if not found:
            return None
        path = pick(rng, found)
        content = json.loads(path.read_text())
        told = edit(content, rng)
        path.write_text(json.dumps(content))
        return f"{path.name}: {told}" if told else None

    return change


def a_value(content: Any, rng: np.random.Generator) -> str:
    # By the name of the field, so that the many numbers of keypoints do not hide the few others.
    by_name: dict[str, list[Any]] = {}
    for node in nodes(content):
        by_name.setdefault(str(next((key for key in reversed(node[2]) if isinstance(key, str)), "")), []).append(node)
    container, key, way = pick(rng, by_name[pick(rng, sorted(by_name))])
    container[key] = pick(rng, VALUES)
    return f"{way} = {container[key]!r}"


def records(content: Any) -> list[list[dict[str, Any]]]:
    """The lists of objects in a json value."""
    lists = [content] if isinstance(content, list) else [one for one in content.values() if isinstance(one, list)]
    return [one for one in lists if one and all(isinstance(entry, dict) for entry in one)]


def a_field_of_all(content: Any, rng: np.random.Generator) -> str | None:
    lists = records(content)
    if not lists:
        return None
    several = pick(rng, lists)
    key, value = pick(rng, sorted(several[0])), pick(rng, VALUES)
    part = several if rng.random() < 0.5 else several[::2]
    for entry in part:
        entry[key] = value
    return f"{key} = {value!r} in {len(part)} entries"


def a_missing_field(content: Any, rng: np.random.Generator) -> str | None:
    lists = records(content)
    if not lists:
        return None
    entry = pick(rng, pick(rng, lists))
    key = pick(rng, sorted(entry) or [""])
    entry.pop(key, None)
    return f"no {key}"


def an_entry_twice(content: Any, rng: np.random.Generator) -> str | None:
    lists = records(content)
    if not lists:
        return None
    several = pick(rng, lists)
    several.append(dict(pick(rng, several)))
    return "an entry twice"


def fewer_entries(content: Any, rng: np.random.Generator) -> str | None:
    lists = records(content)
    if not lists:
        return None
    several = pick(rng, lists)
    del several[int(rng.integers(len(several))) :: int(rng.integers(1, 4))]
    return f"{len(several)} entries are left"


def ids_of_another_kind(content: Any, rng: np.random.Generator) -> str | None:
    kind: Callable[[Any], Any] = pick(rng, (str, lambda one: f"id-{one}", lambda one: one + 2**60, float))
    keys = ("id", "image_id") if isinstance(content, dict) else ("id",)
    for several in records(content):
        for entry in several:
            for key in keys:
                if isinstance(entry.get(key), int) and "supercategory" not in entry:
                    entry[key] = kind(entry[key])
    return "ids of another kind"


def another_class(content: Any, rng: np.random.Generator) -> str | None:
    if not isinstance(content, dict) or "categories" not in content:
        return None
    content["categories"] = [*content["categories"], {"id": 18, "name": pick(rng, ("dog", "person", "Person ", ""))}]
    for entry in content["annotations"][:: int(rng.integers(2, 5))]:
        entry["category_id"] = 18
    return "a second class"


def another_text(root: Path, rng: np.random.Generator) -> str | None:
    """BOM, line ends of Windows, backslashes in the names of files, another encoding."""
    found = files(root, ".json", ".txt")
    if not found:
        return None
    path, kind = pick(rng, found), pick(rng, ("bom", "crlf", "backslash", "utf-16", "cut", "empty"))
    raw = path.read_bytes()
    path.write_bytes({
        "bom": b"\xef\xbb\xbf" + raw,
        "crlf": raw.replace(b"\n", b"\r\n"),
        "backslash": raw.replace(b"/", b"\\\\" if path.suffix == ".json" else b"\\"),
        "utf-16": raw.decode().encode("utf-16"),
        "cut": raw[: len(raw) // 2],
        "empty": b"",
    }[kind])  # fmt: skip
    return f"{path.name}: {kind}"


def a_line(root: Path, rng: np.random.Generator) -> str | None:
    found = files(root, ".txt")
    if not found:
        return None
    path = pick(rng, found)
    lines = path.read_text(errors="replace").splitlines() or [""]
    place, words = int(rng.integers(len(lines))), pick(rng, lines).split() or [""]
    odd = (
        None, "", "  ", lines[0], "\0", "a b c d", words[0], f"{words[0]} -1", f"{words[0]} x", f"{words[0]} {2**70}",
        f"{words[0]}  {words[-1]}", f"./{lines[place]}", f"../{lines[place]}", words[0].upper(), f"{words[0]} ²",
    )  # fmt: skip
    new = pick(rng, odd)
    lines[place : place + 1] = [] if new is None else [new]
    path.write_text("\n".join(lines) + "\n")
    return f"{path.name}: line {place} is {new!r}"


def arrays(value: Any) -> Iterator[tuple[Any, Any]]:
    """Places of arrays inside the nesting of a mat, as scipy reads it: container and key."""
    if isinstance(value, dict):
        for key in sorted(value):
            if not key.startswith("__"):
                yield value, key
                yield from arrays(value[key])
    elif isinstance(value, np.ndarray) and value.dtype.names:
        for index in np.ndindex(value.shape):
            for name in value.dtype.names:
                yield value[index], name
                yield from arrays(value[index][name])
    elif isinstance(value, np.ndarray) and value.dtype == object:
        for index in np.ndindex(value.shape):
            yield value, index
            yield from arrays(value[index])


def in_mat(edit: Callable[[Any, np.random.Generator], Any]) -> Change:
    """A change of one array of a mat file."""

    def change(root: Path, rng: np.random.Generator) -> str | None:
        found = files(root, ".mat")
        if not found:
            return None
        path = pick(rng, found)
        content = {key: value for key, value in io.loadmat(path).items() if not key.startswith("__")}
        places = [(holder, key) for holder, key in arrays(content)
                  if isinstance(holder[key], np.ndarray) and holder[key].dtype.names is None]  # fmt: skip
        large = [place for place in places if place[0][place[1]].size > 1 and place[0][place[1]].dtype.kind in "biuf"]
        holder, key = pick(rng, large if large and rng.random() < 0.7 else places)
        before = holder[key]
        holder[key] = edit(before.copy(), rng)
        io.savemat(path, content)
        return f"{path.name}: {key} {before.dtype}{before.shape} -> {holder[key].dtype}{holder[key].shape}"

    return change


def a_cell(value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if value.dtype == object or not value.size or value.dtype.kind not in "biuf":
        return np.array(pick(rng, ["", "text", "a\\b.jpg", "../x.jpg", "000001.jpg"]))
    value = value.astype(np.float64)
    value.flat[rng.integers(value.size)] = pick(rng, NUMBERS)
    return value


def a_column(value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if value.dtype.kind not in "biuf" or value.ndim != 2:
        return value
    value = value.astype(np.float64)
    value[:, rng.integers(value.shape[1]) if value.shape[1] else 0 :] = pick(rng, NUMBERS)
    return value


def another_shape(value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    how = pick(rng, ("row", "column", "none", "flip", "twice"))
    if how == "row" or value.ndim < 2:
        return value[1:]
    if how == "column":
        return value[:, 1:]
    if how == "flip":
        return value.T
    return np.concatenate([value, value]) if how == "twice" else np.zeros((0, 0))


def an_image(root: Path, rng: np.random.Generator) -> str | None:
    path = pick(rng, files(root, *IMAGES))
    kind = pick(
        rng, ("gone", "empty", "cut", "capitals", "another name", "larger", "grey", "sixteen", "colours", "twice")
    )
    if kind == "gone":
        path.unlink()
    elif kind in ("empty", "cut"):
        path.write_bytes(path.read_bytes()[: 0 if kind == "empty" else 60])
    elif kind == "capitals":
        path.rename(path.with_suffix(path.suffix.upper()))
    elif kind == "another name":
        path.rename(path.with_name(f"x {path.name}"))
    elif kind == "twice":
        shutil.copy(path, path.with_name(f"copy{path.name}"))
    else:
        image = Image.open(path)
        image.load()
        modes = {"larger": image.resize((image.width * 2, image.height)), "grey": image.convert("L"),
                 "sixteen": image.convert("L").convert("I"), "colours": image.convert("RGB")}  # fmt: skip
        modes[kind].save(path, format="PNG")
    return f"{path.relative_to(root)}: {kind}"


def a_label_map(root: Path, rng: np.random.Generator) -> str | None:
    found = [path for path in files(root, ".png") if path.parent.name.endswith(("segmentations", "labels"))]
    if not found:
        return None
    part = found if rng.random() < 0.4 else [pick(rng, found)]
    value = int(pick(rng, (0, 5, 19, 20, 200, 255)))
    for path in part:
        labels = np.asarray(Image.open(path)).copy()
        labels[: int(rng.integers(1, labels.shape[0] + 1))] = value
        Image.fromarray(labels.astype(np.uint8)).save(path)
    return f"{len(part)} label maps with {value}"


def a_person(root: Path, rng: np.random.Generator) -> str | None:
    """Another person or camera in the names of files that tell them."""
    found = [path for path in files(root, *IMAGES) if path.name[:4].isdecimal() and "_c" in path.name]
    if not found:
        return None
    part = [pick(rng, found)] if rng.random() < 0.6 else pick(rng, (found, found[::2], found[-6:]))
    person = pick(rng, (None, "-1", "0000", "0101", "0002", "9999", "00001", "abc"))
    camera = pick(rng, (None, "c1", "c6", "c9", "c0", "c12"))
    count = 0
    for path in part:
        old_person, _, rest = path.name.partition("_")
        old_camera, tail = (rest[:2], rest[2:]) if rest[1:2].isdecimal() else (rest, "")
        new = path.with_name(f"{person or old_person}_{camera or old_camera}{tail}")
        if not new.exists():
            path.rename(new)
            count += 1
    return f"{count} files of person {person}, camera {camera}"


def a_folder(root: Path, rng: np.random.Generator) -> str | None:
    found = sorted(path for path in root.rglob("*") if path.is_dir())
    path = pick(rng, found)
    kind = pick(rng, ("gone", "empty", "hidden", "junk"))
    if kind == "junk":
        (path / ".ipynb_checkpoints").mkdir(exist_ok=True)
        (path / "notes.txt").write_text("x")
        (path / "._x.jpg").write_bytes(b"x")
    elif kind == "hidden":
        shutil.copytree(path, path.with_name("__MACOSX"), dirs_exist_ok=True)
    else:
        shutil.rmtree(path)
        if kind == "empty":
            path.mkdir()
    return f"{path.relative_to(root)}: {kind}"


CHANGES: dict[str, Change] = {
    "value": in_json(a_value),
    "value again": in_json(a_value),
    "field of all": in_json(a_field_of_all),
    "missing field": in_json(a_missing_field),
    "entry twice": in_json(an_entry_twice),
    "fewer entries": in_json(fewer_entries),
    "ids": in_json(ids_of_another_kind),
    "class": in_json(another_class),
    "text": another_text,
    "line": a_line,
    "cell": in_mat(a_cell),
    "column": in_mat(a_column),
    "shape": in_mat(another_shape),
    "image": an_image,
    "label map": a_label_map,
    "person": a_person,
    "folder": a_folder,
}
"""All kinds of changes by name."""
