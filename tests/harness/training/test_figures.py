from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from hcbench.harness.jobs.job import Job
from hcbench.harness.store.import_cell import cell_record
from hcbench.harness.training.figures import draw_figures, sheet
from hcbench.harness.training.pretrain import build_method, pretrain
from hcbench.methods.base import Figure

pytestmark = pytest.mark.usefixtures("plugins")
CPU = torch.device("cpu")


@pytest.fixture
def painter(dummies, monkeypatch):
    """The plain dummy shows its first image, a little noise of each generator at hand, and spoils its own mode."""

    def figures(self, batch, generator):
        noise = [torch.randint(0, 256, (3, 4, 2), generator=source, dtype=torch.uint8) for source in (generator, None)]
        self.train()
        first = Figure(tiles=batch.images[None, :1], columns=("image",))
        return {"first": first, "noise": Figure(tiles=torch.stack(noise)[None], columns=("own", "torch"))}

    monkeypatch.setattr(dummies.Plain, "figures", figures)
    return dummies.Plain


def draw(cell, view, folder):
    method = build_method(cell, view)
    return draw_figures(method, view, folder, seed=cell.seed, device=CPU)


def test_pictures_lie_beside_the_checkpoint_and_go_to_the_store(painter, make_cell, tmp_path):
    cell = make_cell("dummy-plain", images_seen=20)
    warnings = pretrain(cell, tmp_path / "cell", cache=tmp_path, device=CPU)
    assert not any("figures" in warning for warning in warnings)
    found = sorted(path.name for path in (tmp_path / "cell" / "figures").iterdir())
    assert found == ["first.png", "noise.png"]
    record = cell_record(Job(cell=cell, evaluations=(), folder=tmp_path / "cell", cache=tmp_path), tmp_path / "cell")
    assert tmp_path / "cell" / "figures" in record.artifacts


def test_the_same_seed_gives_the_same_pictures_and_torch_draws_on_as_before(painter, make_cell, view, tmp_path):
    pictures = {}
    for name, seed, before in (("a", 0, 1), ("b", 0, 2), ("c", 1, 1)):
        torch.manual_seed(before)
        assert draw(make_cell("dummy-plain", seed=seed), view, tmp_path / name) == ()
        pictures[name] = [
            np.asarray(Image.open(tmp_path / name / "figures" / f"{one}.png")) for one in ("first", "noise")
        ]
    shown = {image.tobytes() for image in view.images.transpose(0, 2, 3, 1).copy()}
    tile = pictures["a"][0][18 : 18 + 128 : 4, 2 : 2 + 64 : 4]
    assert np.ascontiguousarray(tile).tobytes() in shown
    for one, other in zip(pictures["a"], pictures["b"], strict=True):
        assert np.array_equal(one, other)
    assert not np.array_equal(pictures["a"][1], pictures["c"][1])
    method = build_method(make_cell("dummy-plain"), view)
    torch.manual_seed(5)
    draw_figures(method, view, tmp_path / "d", seed=0, device=CPU)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(1))


def fails(self, batch, generator):
    raise ValueError("a bug of the picture")


def gives(tiles):
    return lambda self, batch, generator: {"wrong": Figure(tiles=tiles, columns=("one",))}


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        (fails, "ValueError: a bug of the picture"),
        (gives(torch.zeros(1, 1, 1, 4, 4, dtype=torch.uint8)), "has tiles uint8 (1, 1, 1, 4, 4)"),
        (gives(torch.zeros(1, 1, 3, 4, 4)), "has tiles float32"),
        (gives(torch.zeros(1, 2, 3, 4, 4, dtype=torch.uint8)), "and 1 titles"),
    ],
)
def test_a_failing_picture_is_told_of_and_loses_no_cell(
    dummies, make_cell, tmp_path, monkeypatch, caplog, figures, words
):
    monkeypatch.setattr(dummies.Plain, "figures", figures)
    warnings = pretrain(make_cell("dummy-plain", images_seen=20), tmp_path / "cell", cache=tmp_path, device=CPU)
    assert words in warnings[-1]
    assert "Traceback" in caplog.text
    assert (tmp_path / "cell" / "checkpoint").is_dir()
    assert words in (tmp_path / "cell" / "diagnostics.json").read_text()
    assert not (tmp_path / "cell" / "figures").exists()


def test_methods_without_pictures_have_no_folder(make_cell, view, tmp_path):
    assert draw(make_cell("dummy-plain"), view, tmp_path) == ()
    assert list(tmp_path.iterdir()) == []


def test_a_sheet_has_room_for_tiles_titles_and_note():
    tiles = torch.randint(0, 200, (2, 3, 3, 60, 30), dtype=torch.uint8)
    plain = np.asarray(sheet("a", Figure(tiles=tiles, columns=("", "", ""))))
    assert plain.shape == (16 + 2 * (180 + 2) + 4, 3 * (90 + 2) + 2, 3)
    for row in range(2):
        for column in range(3):
            top, left = 16 + 2 + row * 182, 2 + column * 92
            found = plain[top : top + 180 : 3, left : left + 90 : 3]
            assert np.array_equal(found, tiles[row, column].permute(1, 2, 0).numpy())
    assert (plain[:18] == 255).all()
    told = np.asarray(sheet("a", Figure(tiles=tiles, columns=("one", "two", "three"), note="What one sees. " * 5)))
    assert len(told) > len(plain)
    assert (told[:16] < 128).any(axis=(0, 2)).reshape(-1)[:92].any(), "the first title"
    assert (told[-30:] < 128).any(), "the note"


def test_a_figure_cannot_be_written_elsewhere(dummies, monkeypatch, make_cell, view, tmp_path):
    tiles = torch.zeros((1, 1, 3, 4, 2), dtype=torch.uint8)
    figures = {"../../mine": Figure(tiles=tiles, columns=("x",))}
    monkeypatch.setattr(dummies.Plain, "figures", lambda self, batch, generator: figures)
    (tmp_path / "a/b").mkdir(parents=True)
    (warning,) = draw(make_cell("dummy-plain"), view, tmp_path / "a/b")
    assert "'../../mine': that leads out of its folder" in warning
    assert not list(tmp_path.rglob("mine.png"))
