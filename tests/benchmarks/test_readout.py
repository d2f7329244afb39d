from dataclasses import replace

import pytest
import torch

from hcbench.benchmarks.base import FeatureTable
from hcbench.benchmarks.readout import candidates, joined, readout_parts
from hcbench.errors import ConfigError, UnfitError


def table(rows: int, columns: int = 4) -> FeatureTable:
    generator = torch.Generator().manual_seed(0)
    return FeatureTable(
        pooled=torch.randn(3, 5, generator=generator), grid=torch.randn(3, 5, rows, columns, generator=generator)
    )


def test_cls_is_the_pooled_vector_and_mean_the_mean_of_the_grid():
    features = table(8)
    assert torch.equal(joined(features, "cls"), features.pooled)
    torch.testing.assert_close(joined(features, "mean"), features.grid.flatten(2).mean(2))


def test_stripes_run_from_top_to_bottom():
    features = table(8)
    parts = readout_parts(features, "cls+stripes")
    assert [tuple(part.shape) for part in parts] == [(3, 5)] * 5
    for stripe in range(4):
        expected = features.grid[:, :, 2 * stripe : 2 * stripe + 2].mean(dim=(2, 3))
        torch.testing.assert_close(parts[1 + stripe], expected)
    assert joined(features, "cls+stripes").shape == (3, 25)


@pytest.mark.parametrize("rows", [1, 2, 3, 6, 7])
def test_stripes_work_on_any_number_of_rows(rows):
    parts = readout_parts(table(rows), "cls+stripes")
    assert all(torch.isfinite(part).all() for part in parts)
    torch.testing.assert_close(parts[1], table(rows).grid[:, :, : -(-rows // 4)].mean(dim=(2, 3)))


def test_auto_means_all_and_unknown_names_are_refused():
    assert candidates("auto") == ("cls", "mean", "cls+stripes")
    assert candidates("mean") == ("mean",)
    with pytest.raises(ConfigError, match="'men'"):
        candidates("men")
    with pytest.raises(ConfigError, match="'men'"):
        readout_parts(table(8), "men")


@pytest.mark.parametrize("name", ["pose", "cls+pose"])
def test_the_pose_token_is_read_where_it_is_named_and_there_is_one(name):
    plain = table(8)
    features = replace(plain, tokens={"pose": plain.pooled + 1})
    assert candidates(name) == (name,)
    expected = [features.pooled, features.tokens["pose"]][-len(name.split("+")) :]
    assert [part.tolist() for part in readout_parts(features, name)] == [part.tolist() for part in expected]
    with pytest.raises(UnfitError, match=r"takes a token \[POSE\], which the encoder does not have"):
        joined(plain, name)
