from __future__ import annotations

import pytest
import torch

from hcbench.methods.parts.masking import (
    BODY_PARTS,
    block_scores,
    mask_lowest,
    part_members,
    part_scores,
    random_scores,
    visible_count,
)

PAPER_GRID, SMALL_GRID = (16, 8), (8, 4)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def standing(batch, height, width):
    """Keypoints of a person who fills the image: arms at the sides, legs below."""
    share = torch.tensor(
        [
            (0.50, 0.08), (0.54, 0.06), (0.46, 0.06), (0.58, 0.07), (0.42, 0.07), (0.65, 0.2), (0.35, 0.2),
            (0.72, 0.35), (0.28, 0.35), (0.75, 0.5), (0.25, 0.5), (0.6, 0.52), (0.4, 0.52), (0.6, 0.72),
            (0.4, 0.72), (0.6, 0.93), (0.4, 0.93),
        ]
    )  # fmt: skip
    points = torch.cat([share * torch.tensor([width, height]), torch.full((17, 1), 2.0)], dim=1)
    return points.expand(batch, 17, 3).clone()


@pytest.mark.parametrize(("patches", "ratio", "kept"), [(128, 0.5, 64), (32, 0.75, 8), (33, 0.5, 16), (4, 0.9, 1)])
def test_mask_ratio_is_exact_for_every_image(patches, ratio, kept):
    assert visible_count(patches, ratio) == kept
    mask = mask_lowest(random_scores(50, patches, generator()), ratio)
    assert mask.keep.shape == (50, kept)
    assert (mask.hidden.sum(dim=1) == patches - kept).all()
    assert (mask.keep.diff(dim=1) > 0).all()
    assert not mask.hidden.gather(1, mask.keep).any()


def test_lowest_scores_stay_visible():
    mask = mask_lowest(torch.tensor([[3.0, 1.0, 2.0, 0.0]]), 0.5)
    assert mask.keep.tolist() == [[1, 3]]
    assert mask.hidden.tolist() == [[True, False, True, False]]


def test_random_masks_are_uniform_over_places():
    mask = mask_lowest(random_scores(4000, 32, generator()), 0.75)
    assert (mask.hidden.float().mean(dim=0) - 0.75).abs().max() < 0.04


@pytest.mark.parametrize("grid", [PAPER_GRID, SMALL_GRID])
def test_blocks_cover_at_most_half_and_mostly_nearly_half(grid):
    half = grid[0] * grid[1] // 2
    covered = (block_scores(500, grid, half, generator()) == 2).sum(dim=1)
    assert covered.max() <= half
    assert covered.min() >= 1
    assert covered.float().mean() > 0.8 * half


@pytest.mark.parametrize("grid", [PAPER_GRID, SMALL_GRID])
def test_blocks_lump(grid):
    """Neighbours agree more often under block masks than under random ones of the same ratio."""
    half = grid[0] * grid[1] // 2
    agree = []
    for scores in (block_scores(500, grid, half, generator()), torch.zeros(500, grid[0] * grid[1])):
        mask = mask_lowest(scores + random_scores(500, grid[0] * grid[1], generator()), 0.5)
        image = mask.hidden.view(-1, *grid)
        agree.append(float((image[:, 1:] == image[:, :-1]).float().mean()))
    assert agree[0] > agree[1] + 0.15


def slow_members(keypoints, grid, patch):
    """Patch by patch, for one image."""
    members = torch.zeros(6, grid[0] * grid[1], dtype=torch.bool)
    for part, limbs in enumerate(BODY_PARTS):
        for a, b in limbs:
            if min(keypoints[a, 2], keypoints[b, 2]) <= 0:
                continue
            columns = sorted(int((float(keypoints[k, 0]) + 0.5) // patch[1]) for k in (a, b))
            rows = sorted(int((float(keypoints[k, 1]) + 0.5) // patch[0]) for k in (a, b))
            for row in range(rows[0], rows[1] + 1):
                for column in range(columns[0], columns[1] + 1):
                    members[part, row * grid[1] + column] = True
    return members


def test_part_members_equal_a_slow_reference():
    keypoints = torch.rand(20, 17, 3, generator=generator()) * torch.tensor([64.0, 128.0, 1.0]) - 0.49
    keypoints[..., 2] = torch.randint(0, 3, (20, 17), generator=generator(1))
    members = part_members(keypoints, (16, 8), (8, 8))
    for image, points in zip(members, keypoints, strict=True):
        assert torch.equal(image, slow_members(points, (16, 8), (8, 8)))


def test_part_scores_take_a_limited_share_of_visible_parts_only():
    members = part_members(standing(400, 256, 128), PAPER_GRID, (16, 16))
    scores = part_scores(members, generator())
    body = members.any(dim=1)
    assert (scores[~body] == 0).all()
    chosen = (scores > 0).sum(dim=1)
    limit = (members.sum(dim=2) * 0.3).int().sum(dim=1)
    assert (chosen <= limit).all()
    assert set(scores.unique().int().tolist()) <= {0, 95, 96, 97, 98, 99, 100}
    unseen = standing(400, 256, 128)
    unseen[..., 2] = 0
    assert not part_scores(part_members(unseen, PAPER_GRID, (16, 16)), generator()).any()


def test_the_number_of_parts_is_uniform_and_drawn_for_every_image():
    members = torch.ones(3000, 6, 128, dtype=torch.bool)
    # With 128 patches a part gives at least one with probability near 1, so distinct scores count parts.
    scores = part_scores(members, generator())
    used = torch.tensor([len(row.unique()) - 1 for row in scores])
    assert (torch.bincount(used, minlength=7) / 3000 - 1 / 7).abs().max() < 0.05
    assert (scores[-1000:] > 0).any(dim=1).float().mean() > 0.8


def test_shrinking_parts_reproduce_the_official_slip():
    """On average H_6 = 2.45 images of a batch are part-masked, whatever its size, and they come first."""
    members = torch.ones(40, 6, 128, dtype=torch.bool)
    masked = []
    for seed in range(200):
        some = (part_scores(members, generator(seed), count="shrinking") > 0).any(dim=1)
        masked.append(int(some.sum()))
        assert not some[int(some.sum()) + 3 :].any()
    assert 2.1 < sum(masked) / 200 < 2.7


def test_body_parts_are_hidden_more_often_than_without_keypoints():
    batch = 600
    members = part_members(standing(batch, 256, 128), PAPER_GRID, (16, 16))
    body = members.any(dim=1)
    shares = []
    for guided in (True, False):
        g = generator()
        scores = random_scores(batch, 128, g) + block_scores(batch, PAPER_GRID, 64, g)
        if guided:
            scores += part_scores(members, g)
        hidden = mask_lowest(scores, 0.5).hidden
        assert (hidden.sum(dim=1) == 64).all()
        shares.append(float((hidden & body).sum() / body.sum()))
    # Blocks favour the middle, where the body is; the guided part adds about 0.5 * 0.15 of what they leave.
    assert shares[0] > shares[1] + 0.006


def test_parts_are_hidden_before_blocks():
    members = part_members(standing(100, 256, 128), PAPER_GRID, (16, 16))
    parts = part_scores(members, generator())
    scores = random_scores(100, 128, generator()) + block_scores(100, PAPER_GRID, 64, generator()) + parts
    assert mask_lowest(scores, 0.5).hidden[parts > 0].all()


def test_same_generator_same_masks():
    members = part_members(standing(5, 128, 64), SMALL_GRID, (16, 16))
    for make in (
        lambda g: block_scores(5, SMALL_GRID, 16, g),
        lambda g: part_scores(members, g),
        lambda g: random_scores(5, 32, g),
    ):
        assert torch.equal(make(generator(3)), make(generator(3)))
        assert not torch.equal(make(generator(3)), make(generator(4)))
