"""Fingerprints: what decides a cell's checkpoint and an evaluation's numbers, and nothing else.

Settings, data, versions of the libraries that compute, and the code that is used (`harness/planning/code_hash.py`).
Never worker counts, paths, or how often something is logged or saved. Same fingerprint and finished = reused.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from hcbench.benchmarks.card import TaskCard
from hcbench.data.catalogue import dataset_modules
from hcbench.harness.planning.cell import ACROSS, Cell, Evaluation
from hcbench.harness.planning.code_hash import closure
from hcbench.harness.planning.corpora import is_manifest
from hcbench.methods.card import MethodCard
from hcbench.methods.weight_layout import known_layouts

CELL_CODE = ("hcbench.harness.training.pretrain",)
"""What every cell runs beside its method: view, loop, checkpoint."""

EVALUATION_CODE = ("hcbench.harness.scoring.evaluate",)
"""What every evaluation runs beside its benchmark: splits, features."""

SCORING = ("hcbench.benchmarks",)
"""What no cell runs: names and settings that the plan shares with it lie here, and a score's code retrains nothing."""

PLUMBING = (
    "hcbench.harness.planning.registry", "hcbench.harness.planning.corpora", "hcbench.harness.jobs.job",
    "hcbench.harness.jobs.atomic_files", "hcbench.harness.training.figures", "hcbench.data.catalogue",
    "hcbench.data.dataset",
)  # fmt: skip
"""Modules that find, store and draw: what they find is in the fingerprint itself, so their code is not."""

MANIFEST = "manifest"
"""What every manifest is called here: its content counts, not its name."""

EMBEDDED_CODE = {
    "people": ("hcbench.data.people",),
    MANIFEST: ("hcbench.data.manifest.manifest", "hcbench.data.manifest.view"),
}
"""The code of each corpus that is no module of the catalogue; only that of the one in use counts."""

WITHOUT_EFFECT = frozenset({"log_every", "checkpoint_every_s"})
"""Training settings that change no number."""

DISTRIBUTIONS = {
    "torch": "torch", "torchvision": "torchvision", "timm": "timm", "numpy": "numpy", "scipy": "scipy",
    "sklearn": "scikit-learn", "PIL": "pillow", "pycocotools": "pycocotools", "transformers": "transformers",
    "tokenizers": "tokenizers", "diffusers": "diffusers", "accelerate": "accelerate",
}  # fmt: skip
"""Import name to distribution of the libraries whose version can change a number."""

_LENGTH = 16


Code = Mapping[str, Mapping[str, str]]
FindCode = Callable[[str, tuple[str, ...], str, tuple[str, ...]], Code]


def cell_fingerprint(cell: Cell, card: MethodCard, data: Sequence[str] = (), find_code: FindCode | None = None) -> str:
    """The fingerprint of a cell.

    Args:
        cell: All its settings; `fingerprint`, `skip` and `roots` are not looked at.
        card: The method's card.
        data: Fingerprints of data on disk that the cell reads; empty for the embedded corpus.
        find_code: `code`, or a version of it that remembers.
    """
    name = MANIFEST if is_manifest(cell.corpus.name) else cell.corpus.name
    pretrain = {key: value for key, value in asdict(cell.pretrain).items() if key not in WITHOUT_EFFECT}
    return digest(
        {
            "kind": "cell",
            "method": cell.method,
            "method_config": cell.method_config,
            "sampling": card.sampling,
            "backbone": cell.backbone,
            "corpus": {**asdict(cell.corpus), "name": name},
            "budget_images": cell.budget_images,
            "images_seen": cell.images_seen,
            "seed": cell.seed,
            "pretrain": pretrain,
            "data": list(data),
            "code": (find_code or code)(
                card.implementation, (*CELL_CODE, *_adapter(cell, card)), name if card.trains else "", SCORING
            ),
        }
    )


def _adapter(cell: Cell, card: MethodCard) -> tuple[str, ...]:
    """The module that reads a cell's given weights; its layout names it, so no import leads to it."""
    layout = known_layouts().get(str(cell.method_config[card.layout_setting])) if card.layout_setting else None
    return () if layout is None else (layout.adapter.partition(":")[0],)


def evaluation_fingerprint(
    evaluation: Evaluation, cell: str, card: TaskCard, data: Sequence[str] = (), find_code: FindCode | None = None
) -> str:
    """The fingerprint of an evaluation of the cell with the fingerprint `cell`; the rest as for cells."""
    return digest(
        {
            "kind": "evaluation",
            "cell": cell,
            "benchmark": evaluation.benchmark,
            "version": evaluation.version,
            "data_name": evaluation.data_label,
            "protocol": evaluation.protocol,
            "split": evaluation.split,
            "config": evaluation.config,
            "knobs": evaluation.knobs,
            "data": list(data),
            "code": (find_code or code)(card.implementation, EVALUATION_CODE, evaluation.data_label, ()),
        }
    )


def code(implementation: str, shared: tuple[str, ...], data: str, idle: tuple[str, ...]) -> Code:
    """What the numbers stand on: hashes of modules, versions of libraries.

    Args:
        implementation: "module:Class" of the method or benchmark.
        shared: Further modules.
        data: Name of the data set in use, or two with `ACROSS` between.
        idle: Modules and packages that are imported and decide nothing.
    """
    modules = {**EMBEDDED_CODE, **{name: (module,) for name, module in dataset_modules().items()}}
    used = data.split(ACROSS)
    # A data set's module is found by its name, so no import leads to it.
    own = [module for name in used for module in modules.get(name, ())]
    roots = [implementation.partition(":")[0], *shared, *own]
    # One plug-in file may hold several data sets, or a method beside them: what is in use counts all the same.
    others = [module for name, own in modules.items() if name not in used for module in own if module not in roots]
    found = closure(roots, without=[*PLUMBING, *others, *idle])
    libraries = sorted(DISTRIBUTIONS[name] for name in found.foreign if name in DISTRIBUTIONS)
    return {"modules": found.modules, "versions": {name: version(name) for name in libraries}}


def digest(record: Mapping[str, Any]) -> str:
    """16 hexadecimal digits for plain data; equal data give equal digits whatever the order of keys."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]


@functools.cache
def version(distribution: str) -> str:
    """The installed version, "absent" where there is none."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"A fingerprint cannot hold {value!r}.")
