"""The settings of a run: types, defaults and what each one means.

Yaml files and `--set` only override what stands here (`harness/planning/config.py`). Runtime objects stay out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusConfig:
    """Where pre-training images come from (`corpus.*`).

    Attributes:
        name: `people`, `coco` or another registered corpus.
        layout: captions, poses or identities; None takes each method's own.
        style: Style of the embedded corpus, A or B; benchmarks are style B.
        noise: Factor on label noise: wrong identities and caption words, keypoint jitter. 0 is an oracle.
        caption_detail: How much the layouts that hold a caption fixed (captions, poses) let it name: action,
            garments, everything, or a mixture of the three in the shares of real captions. The layout identities
            describes each picture in full, whatever this says.
    """

    name: str = "people"
    layout: str | None = None
    style: str = "A"
    noise: float = 1.0
    caption_detail: str = "mixture"


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainConfig:
    """How every method of a comparison is trained (`pretrain.*`).

    Attributes:
        min_images_seen: Images seen at the least; small budgets pass over their images more often.
        passes: Passes over the budget at the least: images seen = max(min_images_seen, passes x budget).
        groups_per_batch: Groups in a batch.
        images_per_group: Images of each group in a batch; a batch is the product.
        height: Input height, pixels.
        width: Input width, pixels.
        lr: Learning rate at this batch size; a method's own `lr` goes first.
        weight_decay: Decoupled weight decay, none on 1-D parameters.
        beta1: First AdamW momentum.
        beta2: Second AdamW momentum.
        warmup: Share of the steps with linear warm-up; cosine to 0 after it.
        clip_norm: Gradient norm that is clipped to; 0 leaves gradients alone.
        precision: fp32, bf16, or auto: bf16 where the processor or GPU has it, else fp32.
        deterministic: Ask torch for deterministic algorithms.
        log_every: Steps between logged losses.
        checkpoint_every_s: Seconds between saved states to resume from; 0 = none.
    """

    min_images_seen: int = 36_000
    passes: float = 3.0
    groups_per_batch: int = 20
    images_per_group: int = 5
    height: int = 128
    width: int = 64
    lr: float = 1e-3
    weight_decay: float = 0.05
    beta1: float = 0.9
    beta2: float = 0.95
    warmup: float = 0.1
    clip_norm: float = 1.0
    precision: str = "auto"
    deterministic: bool = False
    log_every: int = 10
    checkpoint_every_s: float = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """Everything that `hcbench run` needs to know.

    Attributes:
        methods: Methods to compare; controls are added unless `controls` is False.
        controls: Whether `random`, `pixels` and `histogram` join the table.
        budgets: Data budgets as written (`1pct`, `5000`).
        seeds: Seeds; each draws a subset, an initialisation and a data order.
        benchmarks: Benchmarks, on all data at hand or on one set alone (`reid:market1501`); empty means all.
        backbones: Backbones by name.
        protocols: Protocols of the benchmarks; empty means each benchmark's first one, and zero-shot beside it for
            methods with a text tower.
        profile: cpu, gpu or paper.
        recipe: Which yaml of `configs/recipes` holds the tuned settings.
        data: Roots of real data sets by name.
        test_on: Data set that heads are scored on, whatever they were trained and chosen on; empty = the same one.
        effort: What every method of a comparison is given in equal measure: "images" seen, or "compute" in FLOPs
            (`harness/forecast/effort.py`).
        effort_reference: The method whose FLOPs at equal images seen are everybody's FLOPs at equal compute.
        tuning_trials: Trials that the settings of each method were chosen from, by method; for the ledger.
    """

    methods: tuple[str, ...] = ()
    controls: bool = True
    budgets: tuple[str, ...] = ("1pct",)
    seeds: tuple[int, ...] = (0,)
    benchmarks: tuple[str, ...] = ()
    backbones: tuple[str, ...] = ("vit-mini16-res",)
    protocols: tuple[str, ...] = ()
    profile: str = "cpu"
    recipe: str = "cpu"
    data: Mapping[str, str] = field(default_factory=dict)
    test_on: str = ""
    effort: str = "images"
    effort_reference: str = "stablerep"
    tuning_trials: Mapping[str, int] = field(default_factory=dict)
