"""What the command line prints: look-ups, configuration and plans as tables; no computing here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hcbench.errors import HcbenchError
from hcbench.harness.planning.backbones import BackboneFacts
from hcbench.harness.planning.config import Resolved
from hcbench.harness.planning.registry import Registry
from hcbench.methods.card import SUPERVISION

if TYPE_CHECKING:
    from hcbench.reports.formats import Format


def plain_table(*columns: str, right: Iterable[str] = (), unbroken: Iterable[str] = ()) -> Table:
    """A table without lines; columns in `right` are aligned to the right, those in `unbroken` never wrapped."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold", no_wrap=name in unbroken)
    return table


def show_error(console: Console, error: HcbenchError) -> None:
    """What was found and expected, then what to do next."""
    console.print(Text("Error: ", style="bold red") + Text(error.message, style="default"), soft_wrap=True)
    if error.hint:
        console.print(Text(error.hint), soft_wrap=True)


def methods_table(registry: Registry) -> Table:
    """All methods, those that train first."""
    table = plain_table("method", "what it is")
    for name, card in registry.methods.items():
        title = f"{card.title} ({card.year})" if card.year else card.title
        facts = [title, f"learns from {SUPERVISION[card.supervision]}", f"layout {card.layout}"]
        first = " · ".join(facts if card.trains else [title, SUPERVISION[card.supervision]])
        table.add_row(name, Text(first) + Text(f"\n{card.summary}", style="dim"))
    return table


def benchmarks_table(registry: Registry) -> Table:
    """All benchmarks with their main metric."""
    table = plain_table("benchmark", "what it is")
    for name, card in registry.benchmarks.items():
        metrics = ", ".join(metric.title for metric in card.main_metrics)
        facts = [card.title, f"version {card.version}", f"main metric {metrics}"]
        facts += [f"on {', '.join(card.data)}", ", ".join(card.protocols)]
        table.add_row(name, Text(" · ".join(facts)) + Text(f"\n{card.summary}", style="dim"))
    return table


def backbones_table(presets: Mapping[str, BackboneFacts], timm_models: Mapping[str, str]) -> Table:
    """The presets, and a line on timm's."""
    table = plain_table("backbone", "what it is")
    for name, facts in presets.items():
        table.add_row(name, facts.note)
    for family in sorted(set(timm_models.values())):
        names = [name for name, own in timm_models.items() if own == family]
        table.add_row(f"timm: {family}", f"{len(names)} models, such as {names[0]}")
    return table


def corpora_table(registry: Registry) -> Table:
    """Corpora to pre-train on."""
    from hcbench.data.catalogue import built_in_modules, dataset
    from hcbench.data.people.spec import GROUP_SIZE, REFERENCE_GROUPS

    table = plain_table("corpus", "size at 100pct", "layouts", "what it is")
    images = REFERENCE_GROUPS * GROUP_SIZE
    table.add_row(
        "people",
        f"{images:,} images",
        "captions, poses, identities",
        "Rendered people with exact labels; needs nothing, is the default.",
    )
    for name in (*built_in_modules(), *registry.data):
        found = dataset(name)
        if found.person_crops is not None:
            title = f"{found.card.title}, from --data {name}=ROOT; images without groups."
            table.add_row(name, "its own", "none", title)
    table.add_row(
        "FILE.parquet", "its own", "as it knows", "A manifest of your own images; hcbench data prepare writes one."
    )
    return table


def layouts_table(registry: Registry) -> Table:
    """Layouts of weight files, and whose they are."""
    table = plain_table("layout", "method", "what it is")
    owners = {layout.name: card for card in registry.methods.values() for layout in card.weight_layouts}
    for name, layout in registry.weight_layouts.items():
        # A method that reads any layout carries those that are no method's own.
        owner = "" if owners[name].layout_setting else owners[name].name
        words = f"with {layout.vocabulary} beside it, the text tower, too" if layout.vocabulary else ""
        facts = [f"files of {layout.title}", f"published ones saw {layout.published_on}" if layout.published_on else ""]
        table.add_row(name, owner, " · ".join(filter(None, [*facts, words])))
    table.add_row("timm:NAME", "", "any model of timm; see hcbench list backbones")
    table.add_row("hcbench", "", "checkpoint folders of hcbench itself")
    return table


def executors_table(registry: Registry) -> Table:
    """What can run cells."""
    table = plain_table("executor", "what it is")
    for name, card in registry.executors.items():
        table.add_row(name, card.summary)
    return table


def formats_table(formats: Iterable[Format]) -> Table:
    """All report formats."""
    table = plain_table("format", "file", "what it is")
    for one in formats:
        file = f"figures/*.{one.suffix}" if one.pictures else f"report.{one.suffix}" if one.suffix else ""
        table.add_row(one.name, file, one.summary)
    return table


def config_table(resolved: Resolved, sections: Iterable[str]) -> Table:
    """Each setting of the named sections, its values and their origin."""
    table = plain_table("setting", "value", "from")
    for section in sections:
        for key, values in resolved.values.items():
            if key.partition(".")[0] == section:
                origin = resolved.origins[key]
                style = "dim" if origin == "default" else ""
                table.add_row(key, ", ".join(_value(value) or "(none)" for value in values), Text(origin, style=style))
    return table


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(str(item) for item in value)}]"
    return (
        {True: "true", False: "false", None: "none"}[value] if value is None or isinstance(value, bool) else str(value)
    )
