from __future__ import annotations

import io

import pytest
from rich.console import Console

from hcbench.harness.cli.progress import Board, Lines, clock, watching
from hcbench.harness.jobs import events
from hcbench.harness.planning.cell import Cell, Matrix
from hcbench.harness.planning.settings import CorpusConfig, PretrainConfig


def matrix(count: int = 3) -> Matrix:
    cells = tuple(
        Cell(
            method=f"m{index}", budget="1pct", budget_images=10, images_seen=30, seed=index, backbone="vit-mini16",
            corpus=CorpusConfig(), pretrain=PretrainConfig(), method_config={}, fingerprint=f"f{index}",
        )
        for index in range(count)
    )  # fmt: skip
    return Matrix(cells=cells, evaluations={cell.fingerprint: () for cell in cells})


def picture(board: Board) -> str:
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    console.print(board.render())
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


STARTED = events.RunStarted(cells=3, cached_cells=1, evaluations=12, cached_evaluations=4, workers=2, threads=1)
PROGRESS = events.CellProgress(cell="f0", phase="train", done=300, total=900, images_per_s=100.0, loss=1.25)


def test_durations_read_well() -> None:
    assert [clock(s) for s in (0.4, 59.6, 3599, 3600, 86400)] == [
        "0 s", "1 min 00 s", "59 min 59 s", "1 h 00 min", "24 h 00 min",
    ]  # fmt: skip


def test_the_board_shows_each_cell_as_it_stands() -> None:
    board = Board(matrix())
    for event in (
        STARTED,
        events.CellStarted(cell="f0", title="m0", images=900),
        PROGRESS,
        events.CellFinished(cell="f1", title="m1", status="done", cached=True),
        events.CellFinished(cell="f2", title="m2", status="failed", reason="no luck"),
        events.Note(text="look out", level="warning"),
    ):
        board.hear(event)
    lines = picture(board).splitlines()
    rows = {line.split()[0]: line for line in lines if line.split()}
    assert "3 cells (1 cached)" in lines[0]
    assert all(part in rows["m0"] for part in ("train", "100", "1.25", "6 s", "━"))
    assert "cached" in rows["m1"]
    assert "failed" in rows["m2"]
    assert "no luck" in rows["m2"]
    assert "look out" in picture(board)


def test_the_board_shows_preparation_until_it_is_done() -> None:
    board = Board(matrix())
    board.hear(events.Preparing(name="people/poses", done=50, total=100, images_per_s=20))
    assert "people/poses" in picture(board)
    assert "20 images/s" in picture(board)
    board.hear(events.Prepared(images=100, seconds=5))
    assert "people/poses" not in picture(board)


def test_large_boards_keep_what_runs_and_what_failed() -> None:
    board = Board(matrix(100), max_rows=5)
    board.hear(events.CellStarted(cell="f50", title="", images=1))
    board.hear(events.CellFinished(cell="f60", title="", status="failed", reason="x"))
    text = picture(board)
    assert "m50" in text
    assert "m60" in text
    assert "and 95 more" in text


def test_lines_are_written_without_a_terminal() -> None:
    console = Console(file=io.StringIO(), width=60)
    with watching(matrix(), console) as listener:
        listener(STARTED)
        listener(events.CellFinished(cell="f2", title="m2 [b] 1pct", status="failed", reason="[x] y", log="w/log.txt"))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "3 cells (1 cached), 12 evaluations (4 cached); 2 workers x 1 threads" in text
    assert "m2 [b] 1pct: failed: [x] y; log: w/log.txt" in text
    assert len(text.splitlines()) == 2
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            events.CellStarted(cell="f0", title="m0", images=900, resumed=300),
            "m0: started (900 images, 300 of them before)",
        ),
        (PROGRESS, "f0: train 300/900 100 images/s 6 s left loss 1.25"),
        (
            events.EvaluationFinished(
                cell="f0", title="m0", evaluation="e", benchmark="reid", status="done", cached=True
            ),
            "m0: reid cached",
        ),
        (events.CellFinished(cell="f0", title="m0", status="done", seconds=61), "m0: done after 1 min 01 s"),
        (events.Note(text="hm", level="warning"), "warning: hm"),
        (events.RunFinished(cells={}, evaluations={}, seconds=3), "finished after 3 s"),
        (events.Prepared(images=1000, seconds=2), "1,000 images are ready (2 s)"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_each_event_says(event: events.Event, expected: str) -> None:
    told: list[str] = []
    Lines(told.append).hear(event)
    assert [line.partition(" ")[2] for line in told] == [expected]


def test_progress_is_told_at_intervals_and_at_new_phases() -> None:
    told: list[str] = []
    now = [0.0]
    lines = Lines(told.append, now=lambda: now[0])
    for second, phase in ((0, "train"), (1, "train"), (14, "train"), (16, "train"), (17, "reid"), (18, "reid")):
        now[0] = float(second)
        lines.hear(events.CellProgress(cell="f0", phase=phase, done=second, total=100))
    assert [line.split(": ")[1] for line in told] == ["train 0/100", "train 16/100", "reid 17/100"]
