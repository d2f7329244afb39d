"""One cell from its settings to its checkpoint: view, method, training, diagnosis, files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import torch

from hcbench.data.samples import Samples
from hcbench.data.seeds import name_seed
from hcbench.harness.jobs.atomic_files import remove, replacing, write_json, write_table
from hcbench.harness.jobs.cell_folder import CHECKPOINT, DIAGNOSTICS, LEDGER, LOSSES, STATE
from hcbench.harness.planning.cell import Cell
from hcbench.harness.planning.parse import parse_value
from hcbench.harness.planning.registry import implementation, load_registry
from hcbench.harness.training.corpus_view import corpus_view, image_warnings, vocabulary
from hcbench.harness.training.figures import draw_figures
from hcbench.harness.training.health import Diagnosis, diagnose
from hcbench.harness.training.ledger import Ledger, count_encoder
from hcbench.harness.training.loss_log import LossLog
from hcbench.harness.training.prepare import rendering_seconds
from hcbench.harness.training.train import ProgressReport, train
from hcbench.methods.base import Context, Method
from hcbench.methods.parts.backbones import EncoderSpec, build_encoder
from hcbench.methods.parts.checkpoint import save_encoder
from hcbench.methods.parts.losses import positive_shares


def pretrain(
    cell: Cell,
    folder: Path,
    *,
    cache: Path,
    device: torch.device,
    workers: int = 1,
    report: ProgressReport = lambda done, total, rate, loss: None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[str, ...]:
    """Pre-train a cell into `folder`, going on where an interrupted one stood; gives warnings for the user.

    The checkpoint is written last: where it stands, everything else does.

    Raises:
        HcbenchError: What `train` raises, or the corpus or backbone does not fit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trains = load_registry().method(cell.method).trains
    view = corpus_view(cell, cache) if trains else None
    method = build_method(cell, view)
    diagnosis = Diagnosis({})
    ledger = Ledger(images_stored=0, encoder_parameters=count_encoder(method.encoder))
    if view is not None:
        losses = LossLog(cell.pretrain.log_every)
        try:
            trained = train(method, view, cell, folder=folder, device=device, losses=losses, report=report, stop=stop)
        finally:
            write_table(folder / LOSSES, losses.columns())
        diagnosis = diagnose(method, view, losses, cell.seed)
        undrawn = draw_figures(method, view, folder, seed=cell.seed, device=device)
        diagnosis = replace(diagnosis, warnings=(*diagnosis.warnings, *undrawn, *image_warnings(view)))
        ledger = replace(trained.ledger, generator_s=rendering_seconds(cell, cache))
    ledger = replace(
        ledger, threads=torch.get_num_threads(), workers=workers, tuning_trials=cell.tuning_trials if trains else 0
    )
    write_json(folder / LEDGER, asdict(ledger))
    write_json(folder / DIAGNOSTICS, {"values": diagnosis.values, "warnings": diagnosis.warnings})
    with replacing(folder / CHECKPOINT) as temporary:
        save_encoder(method.encoder, temporary)
    remove(folder / STATE)
    return diagnosis.warnings


def build_method(cell: Cell, view: Samples | None) -> Method:
    """The method of a cell around a fresh encoder; both are initialised from the cell's seed alone.

    Methods that share backbone and seed start from the same encoder.
    """
    card = load_registry().method(cell.method)
    cls = implementation(card)
    kinds = get_type_hints(card.config)
    config = card.config(
        **{name: parse_value(name, value, kinds[name], cell.title) for name, value in cell.settings.items()}
    )
    size = (cell.pretrain.height, cell.pretrain.width)
    single = card.sampling == "images" or view is None or view.group is None
    context = Context(
        input_size=size,
        vocabulary=vocabulary(cell),
        num_images=0 if view is None else len(view),
        num_groups=0 if view is None or view.group is None else len(set(view.group.tolist())),
        images_per_group=1 if single else cell.pretrain.images_per_group,
        ids=() if view is None else tuple(view.ids.tolist()),
        backbone=cell.backbone,
        files=cell.roots,
        **({} if view is None else label_facts(view, card.needs)),
    )
    encoder = cls.own_encoder(config, context)
    if encoder is None:
        spec = EncoderSpec(cell.backbone, *size, extra_tokens=cls.extra_tokens(config))
        encoder = build_encoder(spec, seed=name_seed("encoder", cell.backbone, cell.seed))
    torch.manual_seed(name_seed("method", cell.method, cell.seed))
    method: Method = cls(config, encoder, context)
    return method


def label_facts(view: Samples, needs: frozenset[str]) -> dict[str, Any]:
    """What a method that needs labels must know of all of them before it begins: classes, shares of positives."""
    facts: dict[str, Any] = {}
    if "identity" in needs and view.identity is not None:
        facts["identities"] = tuple(np.unique(view.identity[view.identity >= 0]).tolist())
    if "attributes" in needs and view.attributes is not None:
        facts["positive_shares"] = tuple(positive_shares(torch.from_numpy(view.attributes)).tolist())
    return facts
