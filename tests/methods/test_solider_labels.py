from __future__ import annotations

import pytest
import torch
from sklearn.cluster import KMeans

from hcbench.methods.solider.figures import label_figure
from hcbench.methods.solider.labels import cluster, foreground, part_labels


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def figure(noise=0.05, seed=0):
    """Tokens (1, 6, 8, 4) of a person: weak background left, three bands of their own direction on the right."""
    tokens = noise * torch.randn(1, 6, 8, 4, generator=generator(seed))
    for band, rows in enumerate((slice(0, 2), slice(2, 5), slice(5, 8))):
        tokens[0, band, rows, 1:] += 3.0
    tokens[0, 5, :, :1] += 0.5
    return tokens


def truth():
    maps = torch.zeros(8, 4, dtype=torch.int64)
    for band, rows in enumerate((slice(0, 2), slice(2, 5), slice(5, 8))):
        maps[rows, 1:] = band + 1
    return maps


def test_three_bands_are_one_two_three_and_background_zero():
    tokens = torch.cat([figure(seed=seed) for seed in range(6)])
    # Directions say nothing of the order; only height does.
    tokens[3:] = tokens[3:].flip(1)
    labels = part_labels(tokens, 3, generator())
    assert labels.kept.all()
    assert torch.equal(labels.maps, truth().expand(6, -1, -1))
    torch.testing.assert_close(labels.foreground, torch.full((6,), 0.75))


def test_half_or_less_foreground_is_dropped():
    exactly_half = figure()
    exactly_half[0, :3, :, 1] = 0
    labels = part_labels(torch.cat([figure(), exactly_half]), 3, generator())
    assert labels.foreground.tolist() == [0.75, 0.5]
    assert labels.kept.tolist() == [True, False]
    assert not labels.maps[1].any()


def test_equal_tokens_show_nothing():
    labels = part_labels(torch.ones(2, 6, 4, 2), 3, generator())
    assert not labels.kept.any()
    assert not labels.maps.any()
    two_kinds = figure(noise=0)
    two_kinds[0, 2, 5:], two_kinds[0, 1, 5:, 1:] = 0, 3.0  # the third band equals the second
    assert part_labels(two_kinds, 3, generator()).kept.tolist() == [False]
    assert part_labels(two_kinds, 2, generator()).kept.tolist() == [True]


def test_small_grids_need_as_many_foreground_tokens_as_parts():
    tokens = torch.randn(1, 6, 3, 1, generator=generator())
    tokens[0, :, 0] *= 0.01
    assert part_labels(tokens, 2, generator()).kept.tolist() == [True]
    assert part_labels(tokens, 3, generator()).kept.tolist() == [False]


def test_no_image_kept():
    labels = part_labels(torch.ones(3, 4, 2, 2), 3, generator())
    assert labels.maps.shape == (3, 2, 2)
    assert labels.maps.dtype == torch.int64


@pytest.mark.parametrize("shift", [0.0, 27.7])
def test_foreground_is_the_best_of_all_cuts(shift):
    norms = torch.rand(200, 32, generator=generator()) ** 2 + shift
    found = foreground(norms)
    for row, got in zip(norms.double(), found, strict=True):
        ordered = row.sort().values
        spreads = [
            float((ordered[:c] - ordered[:c].mean()).square().sum() + (ordered[c:] - ordered[c:].mean()).square().sum())
            for c in range(1, 32)
        ]
        low, high = row[~got], row[got]
        assert low.max() < high.min()
        ours = float((low - low.mean()).square().sum() + (high - high.mean()).square().sum())
        assert ours == pytest.approx(min(spreads), rel=1e-6)


def spread(x, labels, clusters):
    return sum(float((x[labels == k] - x[labels == k].mean(dim=0)).square().sum()) for k in range(clusters))


def test_clusters_are_about_as_tight_as_scikit_learns():
    torch.manual_seed(0)
    x = torch.randn(40, 32, 8) + 2 * torch.randn(40, 3, 8)[:, torch.randint(0, 3, (32,))]
    member = torch.rand(40, 32) < 0.7
    found = cluster(x, member, 3, generator(), steps=10)
    assert torch.equal(found.any(dim=2), member)
    assert int(found.sum(dim=2).max()) == 1
    ours, theirs = [], []
    for tokens, inside, assigned in zip(x, member, found, strict=True):
        points = tokens[inside]
        ours.append(spread(points, assigned[inside].int().argmax(dim=1), 3))
        theirs.append(KMeans(3, n_init=1, random_state=0).fit(points.numpy()).inertia_)
    # Without real groups single starts end in local minima; scikit-learn's are the best of several candidates.
    assert sum(ours) < 1.1 * sum(theirs)


def test_a_cluster_that_loses_its_tokens_gets_the_farthest_one(monkeypatch):
    """Three starts on one place leave two clusters empty; the Lloyd steps must still find the three groups."""
    x = torch.tensor([[[0.0], [0.1], [5.0], [5.1], [9.0], [9.1]]])
    member = torch.ones(1, 6, dtype=torch.bool)
    monkeypatch.setattr("hcbench.methods.solider.labels._starts", lambda x, *_: x[:, :1].expand(-1, 3, -1))
    found = cluster(x, member, 3, generator(), steps=5)
    groups = found[0].int().argmax(dim=1).tolist()
    assert groups[0] == groups[1]
    assert groups[2] == groups[3]
    assert groups[4] == groups[5]
    assert len(set(groups)) == 3


def test_labels_come_from_their_generator_alone():
    tokens = torch.randn(20, 16, 8, 4, generator=generator())
    tokens[:, :, :, 0] *= 0.1
    torch.manual_seed(1)
    first = part_labels(tokens, 3, generator(5))
    torch.manual_seed(2)
    again, other = (part_labels(tokens, 3, generator(seed)) for seed in (5, 6))
    assert torch.equal(first.maps, again.maps)
    assert not torch.equal(first.maps, other.maps)


def test_figure_shows_pairs_in_a_grid():
    images = torch.full((3, 3, 16, 8), 200, dtype=torch.uint8)
    maps = truth()[None].repeat(3, 1, 1)
    figure = label_figure(images, maps, torch.tensor([True, False, True]), pairs=2, opacity=1.0)
    assert figure.columns == ("image", "parts", "image", "parts")
    assert "red, yellow, blue;" in figure.note
    assert "2 of 3 images" in figure.note
    tiles = figure.tiles
    assert tiles.dtype == torch.uint8
    assert tiles.shape == (2, 4, 3, 16, 8)
    assert (tiles[0, 0] == 200).all()
    # Background, three bands: four colours; the image that was not kept is black.
    assert len(torch.unique(tiles[0, 1].flatten(1), dim=1).T) == 4
    assert not tiles[0, 3].any()
    assert (tiles[1, 2:] == 255).all()
