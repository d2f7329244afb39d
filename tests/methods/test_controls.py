from __future__ import annotations

import numpy as np
import pytest
import torch

from hcbench.data.augment import normalise
from hcbench.errors import ConfigError, MethodError
from hcbench.methods.base import Batch, Context, Step
from hcbench.methods.histogram.card import Config as HistogramConfig
from hcbench.methods.histogram.method import Histogram
from hcbench.methods.oracle.card import Config as OracleConfig
from hcbench.methods.oracle.method import Oracle
from hcbench.methods.parts.backbones import EncoderSpec, build_encoder
from hcbench.methods.parts.checkpoint import load_encoder, save_encoder
from hcbench.methods.parts.encoder import encode_all
from hcbench.methods.pixels.card import Config as PixelsConfig
from hcbench.methods.pixels.method import Pixels
from hcbench.methods.random.card import Config as RandomConfig
from hcbench.methods.random.method import Random

SIZE = (64, 32)
CONTEXT = Context(input_size=SIZE)


def control(kind, config):
    return kind(config, build_encoder(EncoderSpec("vit-mini16", *SIZE), 0), CONTEXT)


CONTROLS = {
    "random": lambda: control(Random, RandomConfig()),
    "pixels": lambda: control(Pixels, PixelsConfig()),
    "histogram": lambda: control(Histogram, HistogramConfig()),
}


def pixels(batch=3):
    return np.random.default_rng(0).integers(0, 256, (batch, 3, *SIZE), dtype=np.uint8)


@pytest.mark.parametrize("name", CONTROLS)
def test_controls_have_no_stages_and_refuse_to_train(name):
    method = CONTROLS[name]()
    assert method.stages() == ()
    assert method.card.trains is False
    batch = Batch(images=torch.from_numpy(pixels()), indices=torch.arange(3))
    step = Step(index=0, total=1, stage="pretrain", stage_index=0, stage_total=1, images_seen=0, epoch=0)
    with pytest.raises(MethodError, match=name):
        method.views(batch, torch.Generator())
    with pytest.raises(MethodError, match=name):
        method.objectives({}, step)


@pytest.mark.parametrize("name", CONTROLS)
def test_controls_encode_and_come_back_from_disk(name, tmp_path):
    method = CONTROLS[name]()
    out = encode_all(method.encoder, pixels(), batch_size=2)
    assert out.pooled.shape == (3, method.encoder.dim)
    assert out.grid.shape == (3, method.encoder.dim, *method.encoder.grid_size)
    save_encoder(method.encoder, tmp_path)
    again = encode_all(load_encoder(tmp_path), pixels(), batch_size=3)
    torch.testing.assert_close(again.pooled, out.pooled)
    torch.testing.assert_close(again.grid, out.grid)


def test_random_is_the_untrained_backbone():
    method = CONTROLS["random"]()
    fresh = build_encoder(EncoderSpec("vit-mini16", *SIZE), 0)
    torch.testing.assert_close(encode_all(method.encoder, pixels()).pooled, encode_all(fresh, pixels()).pooled)


def test_pixels_are_means_of_pixels():
    out = encode_all(CONTROLS["pixels"]().encoder, pixels())
    image = normalise(torch.from_numpy(pixels()))
    # 64x32 shrunk to 16x8: means of 4x4 pixels, channel by channel; a cell is 16x16 shrunk to 8x8.
    assert out.pooled.shape == (3, 3 * 16 * 8)
    torch.testing.assert_close(out.pooled[1, 0], image[1, 0, :4, :4].mean())
    torch.testing.assert_close(out.pooled[1, 128 + 8], image[1, 1, 4:8, :4].mean())
    cell = out.grid[2, :, 1, 1]
    torch.testing.assert_close(cell[0], image[2, 0, 16:18, 16:18].mean())
    torch.testing.assert_close(cell[64 + 8 + 1], image[2, 1, 18:20, 18:20].mean())
    assert not cell[192:].any()


def test_histograms_literally():
    out = encode_all(CONTROLS["histogram"]().encoder, pixels())
    image = pixels()[1]
    expected = np.zeros((8, 64))
    cell = np.zeros(64)
    for row in range(64):
        for column in range(32):
            red, green, blue = (int(image[c, row, column]) // 64 for c in range(3))
            expected[row // 8, red * 16 + green * 4 + blue] += 1 / (8 * 32)
            if 16 <= row < 32 and column >= 16:
                cell[red * 16 + green * 4 + blue] += 1 / 256
    np.testing.assert_allclose(out.pooled[1], np.sqrt(expected).reshape(-1), atol=1e-6)
    np.testing.assert_allclose(out.grid[1, :64, 1, 1], np.sqrt(cell), atol=1e-6)
    assert not out.grid[:, 64:].any()


@pytest.mark.parametrize("level", [0, 63, 64, 127, 128, 191, 192, 255])
def test_rounding_moves_no_colour_over_an_edge(level):
    image = np.full((1, 3, *SIZE), level, dtype=np.uint8)
    pooled = encode_all(CONTROLS["histogram"]().encoder, image).pooled.view(8, 64)
    assert (pooled.argmax(dim=1) == level // 64 * 21).all()
    assert (pooled.max(dim=1).values == 1).all()


@pytest.mark.parametrize(("kind", "config"), [(Pixels, PixelsConfig()), (Histogram, HistogramConfig())])
def test_any_input_size_has_a_grid(kind, config):
    """Networks with patches of 14 pixels are compared with controls at their sizes."""
    encoder = kind(config, None, Context(input_size=(126, 70))).encoder
    white = torch.from_numpy(np.full((2, 3, 126, 70), 255, np.uint8))
    white[1, :, 63:] = 0
    found = encoder(normalise(white))
    assert encoder.grid_size == (8, 4)
    assert found.grid.shape == (2, encoder.dim, 8, 4)
    assert torch.isfinite(found.grid).all()
    torch.testing.assert_close(found.grid[0, :, :1, :1].expand(-1, 8, 4), found.grid[0])  # white has no place
    torch.testing.assert_close(found.grid[1, :, :3], found.grid[0, :, :3])
    assert (found.grid[1, :, 5:] - found.grid[0, :, 5:]).abs().amax(dim=0).min() > 0.5


def test_settings_that_cut_no_cells_are_errors_that_name_some_that_do():
    with pytest.raises(ConfigError, match="9 pixels cannot be shrunk to 8") as caught:
        Pixels(PixelsConfig(patch=9), None, Context(input_size=(128, 64)))
    assert "the nearest is 8" in caught.value.hint
    with pytest.raises(ConfigError, match="4x32 has no 8 stripes"):
        Histogram(HistogramConfig(), None, Context(input_size=(4, 32)))


def test_the_oracle_has_no_features_and_comes_back_from_disk(tmp_path):
    method = control(Oracle, OracleConfig())
    assert method.stages() == ()
    save_encoder(method.encoder, tmp_path)
    again = load_encoder(tmp_path)
    assert (again.oracle, again.input_size) == (True, SIZE)
    assert not CONTROLS["random"]().encoder.oracle
    with pytest.raises(MethodError, match="no features"):
        encode_all(again, pixels())


def test_controls_have_no_knobs():
    for name in ("pixels", "histogram"):
        with pytest.raises(ConfigError, match="semantic"):
            CONTROLS[name]().encoder(torch.zeros(1, 3, *SIZE), semantic=1.0)
