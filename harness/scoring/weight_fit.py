"""How a file of weights fits the network that it was made for: looked at in a process of its own.

The parent never loads torch; the process is `python -P -m hcbench.harness.scoring.weight_fit`, which reads a request
from standard input and writes one line of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcbench.errors import HcbenchError, WeightsError
from hcbench.harness.jobs.outcomes import classify_exit
from hcbench.harness.jobs.worker_process import worker_environment
from hcbench.harness.planning.registry import load_registry

if TYPE_CHECKING:
    from hcbench.methods.parts.encoder import Encoder
    from hcbench.methods.parts.weights.fitting import LoadReport


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What is to be looked at.

    Attributes:
        path: A file, or one of hcbench's own checkpoint folders.
        layout: A name of `methods.weight_layout.known_layouts`, or `timm:NAME`; empty where the file is to tell.
        vocabulary: Word list for a text tower; empty where there is none.
        height: Of the input, pixels; `width` likewise.
        width: See height.
        allow_partial: Take a file that fits badly.
        weights_key: The part of the file to take; empty takes what the layout takes.
        weights_size: HEIGHTxWIDTH that the weights were trained at; empty where nobody says.
    """

    path: str
    layout: str = ""
    vocabulary: str = ""
    height: int
    width: int
    allow_partial: bool = False
    weights_key: str = ""
    weights_size: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """How it fits.

    Attributes:
        layout: That was asked for, or that the file's names made plain.
        backbone: The network's name.
        height: Of the input, pixels: as asked, but hcbench's own checkpoints have theirs.
        width: See height.
        text: The report, a few lines.
        matched: How many tensors of the network come from the file.
        expected: How many should.
        unknown: How many tensors of the file nobody knows.
        refused: Whether it was taken by `allow_partial` alone.
        knobs: Whether the file brings what the network's knobs drive.
    """

    layout: str
    backbone: str
    height: int
    width: int
    text: str
    matched: int = 0
    expected: int = 0
    unknown: int = 0
    refused: bool = False
    knobs: bool = True

    @property
    def partial(self) -> bool:
        """Whether a part of the network or of the file has no counterpart in the other."""
        return self.matched < self.expected or self.unknown > 0


def look(question: Question) -> Fit:
    """Look at a file, in a process of its own.

    Raises:
        WeightsError: The file cannot be read, does not say what it is, or fits too badly.
    """
    process = subprocess.run(
        [sys.executable, "-P", "-m", "hcbench.harness.scoring.weight_fit"], input=json.dumps(asdict(question)),
        text=True, capture_output=True, env=worker_environment(threads=1), check=False,
    )  # fmt: skip
    lines = process.stdout.splitlines()
    if process.returncode != 0 or not lines:
        ended = classify_exit(process.returncode)[1] if process.returncode < 0 else _last(process.stderr)
        raise WeightsError(f"Looking at {question.path} failed: {ended}.", "Run it again with --debug for the details.")
    answer: dict[str, Any] = json.loads(lines[-1])
    if "error" in answer:
        raise WeightsError(**answer["error"])
    return Fit(**answer)


def _last(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it ended without a word")


def opened(question: Question) -> tuple[str, Encoder, LoadReport | None]:
    """The encoder of a file, in this process: its layout, itself on the CPU, and how the file fits it.

    Raises:
        HcbenchError: See `look`.
    """
    from hcbench.methods.checkpoint.card import VOCABULARY, WEIGHTS, Config
    from hcbench.methods.checkpoint.layouts import guessed, named
    from hcbench.methods.checkpoint.method import load

    load_registry()  # layouts of plug-ins, too
    layout = question.layout or named(Path(question.path))
    files = {WEIGHTS: Path(question.path)}
    if question.vocabulary:
        files[VOCABULARY] = Path(question.vocabulary)
    config = Config(
        layout=layout,
        allow_partial=question.allow_partial,
        weights_key=question.weights_key,
        weights_size=question.weights_size,
    )
    try:
        return layout, *load(config, files, (question.height, question.width))
    except WeightsError as error:
        other = guessed(Path(question.path))
        if other in (None, layout):
            raise
        raise WeightsError(error.message, f"Its names are those of {other}: --as {other}. {error.hint}") from error


def answer(question: Question) -> Fit:
    """Look at a file, in this process.

    Raises:
        HcbenchError: See `look`.
    """
    from hcbench.methods.checkpoint.card import OWN

    layout, encoder, report = opened(question)
    spec = getattr(encoder, "spec", None)
    height, width = encoder.input_size
    facts = Fit(
        layout=layout,
        backbone=type(encoder).__name__ if spec is None else spec.backbone.removeprefix("timm:"),
        height=height,
        width=width,
        text=f"{question.path}: a checkpoint of hcbench, {height}x{width}",
    )
    if layout == OWN or report is None:
        return facts
    return replace(
        facts,
        text=report.text(),
        matched=len(report.matched),
        expected=report.expected,
        unknown=len(report.unexpected),
        refused=report.refused,
        knobs=not report.absent,
    )


def main() -> int:
    """Answer the question on standard input."""
    try:
        found: dict[str, Any] = asdict(answer(Question(**json.load(sys.stdin))))
    except HcbenchError as error:
        found = {"error": {"message": error.message, "hint": error.hint}}
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
