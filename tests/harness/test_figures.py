from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from hcbench.harness.figures import draw_figures
from hcbench.harness.importing import cell_record
from hcbench.harness.jobs import Job
from hcbench.harness.pretrain import build_method, pretrain

pytestmark = pytest.mark.usefixtures("plugins")
CPU = torch.device("cpu")


@pytest.fixture
def painter(dummies, monkeypatch):
    """The plain dummy shows its first image, a little noise of each generator at hand, and spoils its own mode."""

    def figures(self, batch, generator):
        noise = [torch.randint(0, 256, (3, 4, 2), generator=source, dtype=torch.uint8) for source in (generator, None)]
        self.train()
        return {"first": batch.images[0], "noise": torch.cat(noise, dim=2)}

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
    assert pictures["a"][0].tobytes() in shown
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


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        (fails, "ValueError: a bug of the picture"),
        (lambda self, batch, generator: {"grey": torch.zeros(1, 4, 4, dtype=torch.uint8)}, "'grey' is uint8 (1, 4, 4)"),
        (lambda self, batch, generator: {"float": torch.zeros(3, 4, 4)}, "'float' is float32 (3, 4, 4)"),
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
