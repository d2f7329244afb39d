"""From configuration to matrix: which cells and evaluations a run has, in which order, and which are skipped and why.

Pure: reads cards, sources and annotation files, loads no torch, writes nothing. Whatever can be found wrong with a
run is found here, before anything is computed.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from hcbench.benchmarks.card import FINETUNE, ZERO_SHOT, TaskCard
from hcbench.benchmarks.recipes import recipe_facts
from hcbench.benchmarks.settings import EvaluateConfig
from hcbench.data.budget import parse_budget
from hcbench.data.catalogue import dataset_modules
from hcbench.data.files.contents import described, fingerprints
from hcbench.errors import BudgetError, ConfigError, DataError, did_you_mean
from hcbench.harness.planning import checks, fingerprint
from hcbench.harness.planning.backbones import backbone_family
from hcbench.harness.planning.cell import Cell, Evaluation, Matrix
from hcbench.harness.planning.config import Resolved
from hcbench.harness.planning.content_hashes import with_content_hashes
from hcbench.harness.planning.corpora import (
    PEOPLE,
    CorpusFacts,
    corpus_facts,
    corpus_names,
    data_root,
    is_manifest,
    located,
    stem,
)
from hcbench.harness.planning.fingerprint import FindCode
from hcbench.harness.planning.imagenet_weights import IMAGENET, with_weights
from hcbench.harness.planning.knobs import check_knobs, encoder_card, knob_points
from hcbench.harness.planning.leaks import trained_on
from hcbench.harness.planning.machine import Machine
from hcbench.harness.planning.overrides import overrides_of
from hcbench.harness.planning.registry import Registry
from hcbench.harness.planning.scored_data import ScoredData, scored_data
from hcbench.harness.planning.settings import CorpusConfig, PretrainConfig
from hcbench.methods.card import MethodCard
from hcbench.methods.checkpoint.card import TIMM

NO_BUDGET = "-"
"""Budget label of controls: they look at no image, so every budget shares them."""

Effort = Callable[[Cell], Cell]
"""Gets a cell, not fingerprinted yet, with the images seen of the equal-images rule; gives it with its own."""


def make_plan(
    resolved: Resolved, registry: Registry, machine: Machine, *, effort: Effort | None = None, split: str = "test"
) -> Matrix:
    """The matrix of a configuration.

    Cells come in the order seed, budget (small first), backbone, variant, method, with the controls of a seed
    first, so that rows that can be compared are there early.

    Args:
        resolved: The configuration.
        registry: Where its names come from.
        machine: What precision `auto` means.
        effort: Changes the images seen of trained cells, for a configuration that asks for equal compute.
        split: Of the benchmarks, that is scored: test, or val while settings are being chosen.

    Raises:
        HcbenchError: Something does not exist, is out of range, or does not fit.
    """
    return _Planner(resolved, registry, machine, effort, split).matrix()


def plan_given(resolved: Resolved, registry: Registry, machine: Machine, cells: Iterable[Cell]) -> Matrix:
    """The matrix of cells that were drawn up elsewhere (weights of a file); precision and fingerprints are filled in.

    Raises:
        HcbenchError: As `make_plan`.
    """
    planner = _Planner(resolved, registry, machine)
    return planner.given(list(cells))


@dataclass
class _Planner:
    resolved: Resolved
    registry: Registry
    machine: Machine
    effort: Effort | None = None
    split: str = "test"
    _facts: dict[Any, CorpusFacts] = field(default_factory=dict)
    _code: FindCode = field(default_factory=lambda: functools.cache(fingerprint.code))

    def matrix(self) -> Matrix:
        methods, controls = self._methods()
        self._check()
        check_knobs(self.resolved.knobs, (*methods, *controls), self.registry)
        scores = scored_data(self.resolved.run, self.registry)
        cells: dict[str, Cell] = {}
        for seed in dict.fromkeys(self.resolved.run.seeds):
            for cell in (*self._control_cells(controls, seed), *self._method_cells(methods, seed)):
                cells.setdefault(cell.fingerprint, cell)
        evaluations = {name: () if cell.skip else self._evaluations(cell, scores) for name, cell in cells.items()}
        return Matrix(cells=tuple(cells.values()), evaluations=evaluations)

    def given(self, cells: list[Cell]) -> Matrix:
        """See `plan_given`."""
        self._check()
        check_knobs(self.resolved.knobs, (encoder_card(cell, self.registry)[0] for cell in cells), self.registry)
        scores = scored_data(self.resolved.run, self.registry)
        cells = [self._finished(self._precise(cell), self.registry.method(cell.method), ()) for cell in cells]
        return Matrix(
            cells=tuple(cells), evaluations={cell.fingerprint: self._evaluations(cell, scores) for cell in cells}
        )

    def _precise(self, cell: Cell) -> Cell:
        """The cell with the precision that `auto` means here; what it costs depends on it."""
        precision = self.machine.precision(cell.pretrain.precision)
        return replace(cell, pretrain=replace(cell.pretrain, precision=precision))

    def _finished(self, cell: Cell, card: MethodCard, data: tuple[str, ...]) -> Cell:
        """The cell with its fingerprint."""
        return replace(cell, fingerprint=fingerprint.cell_fingerprint(cell, card, data, self._code))

    def _methods(self) -> tuple[list[MethodCard], list[MethodCard]]:
        """Trained methods and controls, in the order in which they were asked for."""
        run = self.resolved.run
        if not run.methods:
            trained = [name for name, card in self.registry.methods.items() if card.trains]
            raise ConfigError(
                "No method was named.", f"For example: --methods genpoccl,stablerep. There are: {', '.join(trained)}."
            )
        chosen = list(dict.fromkeys(self.registry.method(name).name for name in run.methods))
        if run.controls:
            controls = [*self.registry.controls(), *([IMAGENET] if IMAGENET in run.data else [])]
            chosen += [name for name in controls if name not in chosen]
        cards = [self.registry.methods[name] for name in chosen]
        return [card for card in cards if card.trains], [card for card in cards if not card.trains]

    def _check(self) -> None:
        run, resolved = self.resolved.run, self.resolved
        checks.check_effort(run.effort)
        if run.effort == "compute" and self.effort is None:
            raise ConfigError(
                "Equal compute is planned from measured costs, and none are at hand.",
                "Plan with `hcbench.harness.forecast.effort.plan`, or set run.effort=images.",
            )
        for name in ("seeds", "budgets", "backbones"):
            if not getattr(run, name):
                raise ConfigError(f"The list of {name} is empty.", f"Leave out --{name} for the default.")
        for seed in run.seeds:
            if seed < 0:
                raise ConfigError(f"Seed {seed} is below 0.", "For example: --seeds 0,1,2.")
        for backbone in run.backbones:
            backbone_family(backbone)
        for pretrain in resolved.pretrains:
            checks.check_pretrain(pretrain)
        for evaluate in resolved.evaluates:
            checks.check_evaluate(evaluate)
        for corpus in resolved.corpora:
            checks.check_layout(corpus.layout)
        for text in run.budgets:
            parse_budget(text)
        for name in run.tuning_trials:
            self.registry.method(name)
        self._check_data()

    def _check_data(self) -> None:
        known = {name for card in self.registry.benchmarks.values() for name in card.data}
        known |= {stem(corpus.name) for corpus in self.resolved.corpora if is_manifest(corpus.name)}
        known = (known | set(corpus_names()) | set(dataset_modules()) | {IMAGENET}) - {PEOPLE}
        for name in self.resolved.run.data:
            if name not in known:
                raise DataError(f"--data names {name!r}, which nothing here can read.", did_you_mean(name, known))
            if name != IMAGENET:
                data_root(name, self.resolved.run.data)

    def _protocols(self, task: TaskCard, cell: Cell) -> tuple[str, ...]:
        """The protocols under which a cell is scored on a benchmark."""
        if asked := self.resolved.run.protocols:
            return tuple(name for name in dict.fromkeys(asked) if name in task.protocols)
        tower = self.registry.methods[cell.method].has_text_tower(cell.method_config)
        further = task.text_tower and ZERO_SHOT in task.protocols[1:] and tower
        return (task.protocols[0], ZERO_SHOT) if further else task.protocols[:1]

    def _control_cells(self, cards: list[MethodCard], seed: int) -> list[Cell]:
        """Cells of methods that do not train: of all settings only those that an untrained encoder depends on."""
        sizes = dict.fromkeys(
            PretrainConfig(
                height=item.height, width=item.width, precision=item.precision, deterministic=item.deterministic
            )
            for item in self.resolved.pretrains
        )
        names = dict.fromkeys(item.name for item in self.resolved.corpora)
        return [
            self._cell(card, NO_BUDGET, seed, backbone, CorpusConfig(name=name), pretrain, config)
            for backbone in dict.fromkeys(self.resolved.run.backbones)
            for name in names
            for pretrain in sizes
            for card in cards
            for config in self.resolved.methods[card.name]
        ]

    def _method_cells(self, cards: list[MethodCard], seed: int) -> list[Cell]:
        run, resolved = self.resolved.run, self.resolved
        cells = [
            self._cell(card, budget, seed, backbone, corpus, pretrain, config)
            for backbone in dict.fromkeys(run.backbones)
            for corpus, pretrain in itertools.product(resolved.corpora, resolved.pretrains)
            for card in cards
            for config in resolved.methods[card.name]
            for budget in run.budgets
        ]
        return sorted(cells, key=lambda cell: cell.budget_images)

    def _cell(
        self,
        card: MethodCard,
        budget: str,
        seed: int,
        backbone: str,
        corpus: CorpusConfig,
        pretrain: PretrainConfig,
        config: Mapping[str, Any],
    ) -> Cell:
        roots = self.resolved.run.data
        corpus = replace(corpus, layout=corpus.layout or card.layout)
        facts = self._corpus(corpus, pretrain)
        corpus, places = located(corpus, roots)
        label, images = (NO_BUDGET, 0) if budget == NO_BUDGET else self._budget(budget, facts, card, pretrain)
        cell = Cell(
            method=card.name,
            budget=label,
            budget_images=images,
            images_seen=max(pretrain.min_images_seen, round(pretrain.passes * images)) if images else 0,
            seed=seed,
            backbone=backbone.removeprefix(TIMM),  # one network, one name: rows and fingerprints must meet
            corpus=corpus,
            pretrain=pretrain,
            method_config=config,
            skip=skip_reason(card, config, backbone, corpus, facts),
            roots=places,
            profile=self.resolved.run.profile,
            tuning_trials=self.resolved.run.tuning_trials.get(card.name, 0),
            facts=trained_on(facts.sources) if card.trains else {},
            contents=described(facts.data) if card.trains else {},
        )
        cell = replace(cell, overrides=overrides_of(cell, self.resolved))
        cell = self._precise(with_weights(with_content_hashes(cell, card.rules), roots))
        if self.effort is not None and cell.images_seen:
            cell = self.effort(cell)
        return self._finished(cell, card, fingerprints(facts.data) if card.trains else ())

    def _corpus(self, corpus: CorpusConfig, pretrain: PretrainConfig) -> CorpusFacts:
        key = (corpus, pretrain.height, pretrain.width)
        if key not in self._facts:
            self._facts[key] = corpus_facts(corpus, pretrain, self.resolved.run.data)
        return self._facts[key]

    def _budget(self, text: str, facts: CorpusFacts, card: MethodCard, pretrain: PretrainConfig) -> tuple[str, int]:
        """Canonical label and stored images, in whole groups that fill at least one batch."""
        if pretrain.images_per_group < card.least_per_group:
            raise ConfigError(
                f"pretrain.images_per_group is {pretrain.images_per_group}, but {card.name} learns from images of one "
                "group that meet in a batch.",
                f"Use at least {card.least_per_group}.",
            )
        budget = parse_budget(text)
        images = budget.groups(facts.reference_groups, facts.group_size) * facts.group_size
        batch = pretrain.groups_per_batch * pretrain.images_per_group
        if images < batch:
            raise BudgetError(
                f"Budget {budget.label} holds {images} images, fewer than one batch of {batch} "
                f"({pretrain.groups_per_batch} groups x {pretrain.images_per_group}).",
                "Take a larger budget, or a smaller batch: --set pretrain.groups_per_batch="
                f"{max(1, images // pretrain.images_per_group)}",
            )
        whole_groups = card.sampling == "groups" and facts.group_size > 1
        if whole_groups and pretrain.images_per_group > facts.group_size:
            raise ConfigError(
                f"pretrain.images_per_group is {pretrain.images_per_group}, but a group has {facts.group_size} images.",
                f"--set pretrain.images_per_group={facts.group_size} or less.",
            )
        return budget.label, images

    def _evaluations(self, cell: Cell, scores: list[ScoredData]) -> tuple[Evaluation, ...]:
        evaluations: dict[str, Evaluation] = {}
        for scored, config in itertools.product(scores, self.resolved.evaluates):
            card = scored.card
            points = knob_points(cell, self.registry, card.name, self.resolved.knobs)
            for protocol, knobs in itertools.product(self._protocols(card, cell), points):
                evaluation = Evaluation(
                    benchmark=card.name,
                    version=card.version,
                    data=scored.data,
                    protocol=protocol,
                    config=asdict(card.effective(protocol, config)),
                    knobs=knobs,
                    root=self._root(scored.data),
                    split=self.split,
                    test_on=scored.test_on,
                    test_root=self._root(scored.test_on),
                    contents=described(scored.contents),
                )
                hashes = (*fingerprints(scored.contents), *self._recipe(card, protocol, config))
                name = fingerprint.evaluation_fingerprint(
                    evaluation, cell.fingerprint, card.under(protocol), hashes, self._code
                )
                # Settings that change nothing somewhere are not swept there.
                evaluations.setdefault(name, replace(evaluation, fingerprint=name))
        return tuple(evaluations.values())

    def _root(self, data: str) -> str:
        return "" if data in ("", PEOPLE) else str(data_root(data, self.resolved.run.data))

    @staticmethod
    def _recipe(card: TaskCard, protocol: str, config: EvaluateConfig) -> tuple[str, ...]:
        """The hash of what fine-tuning reads beside its settings."""
        return (fingerprint.digest(recipe_facts(card.name, config.recipe)),) if protocol == FINETUNE else ()


def skip_reason(
    card: MethodCard, config: Mapping[str, Any], backbone: str, corpus: CorpusConfig, facts: CorpusFacts
) -> str:
    """Why a method cannot run with its settings on a corpus and a backbone; empty where it can."""
    family = backbone_family(backbone)
    if "any" not in card.backbones and family not in card.backbones:
        return f"{card.name} works on {', '.join(card.backbones)}; {backbone} is a {family}"
    missing = sorted(card.required(config) - facts.provides) if card.trains else []
    if not missing:
        return ""
    more = {what: "; ".join([*filter(None, [facts.why.get(what)]), *_ways_out(card, config, what)]) for what in missing}
    told = [f"{what} ({more[what]})" if more[what] else what for what in missing]
    reason = f"{corpus.name} does not know {', '.join(told)}"
    if "group" in missing:
        reason += "; images that share a caption or a pose must be generated first (`hcbench generate`)"
    return reason


def _ways_out(card: MethodCard, config: Mapping[str, Any], what: str) -> Iterator[str]:
    """The settings with which a method needs a field, and those with which it does not."""
    for setting, forms in card.optional.get(what, {}).items():
        now, *others = (str(one).lower() if isinstance(one, bool) else str(one) for one in (config[setting], *forms))
        yield f"needed with {card.name}.{setting}={now}, not with {', '.join(others)}"
