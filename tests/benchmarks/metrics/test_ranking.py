"""Rank counting against a stable argsort, and the laws that person ReID and text retrieval obey."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hcbench.benchmarks.metrics import reid, text_reid
from hcbench.errors import TaskError


def brute_force(distance, query_pids, gallery_pids, query_camids, gallery_camids, *, max_rank, ap, same_camera):
    """The definition, literally: a stable argsort per query."""
    values = {"ap": [], "inp": [], "first": [], "best": [], "worst": [], "cmc": []}
    length = min(max_rank, len(gallery_pids))
    for row, pid, camid in zip(distance, query_pids, query_camids, strict=True):
        match = gallery_pids == pid
        kept = ~(match & (gallery_camids == camid)) if same_camera == "remove" else np.ones(len(row), dtype=bool)
        orders = {
            "stable": np.argsort(row, kind="stable"),
            "best": np.lexsort((~match, row)),
            "worst": np.lexsort((match, row)),
        }
        ranks = {name: np.flatnonzero(match[order][kept[order]]) + 1 for name, order in orders.items()}
        found = ranks["stable"].tolist()
        if not found:
            for name in ("ap", "inp", "first", "best", "worst"):
                values[name].append(np.nan)
            continue
        precisions = []
        for k, rank in enumerate(found, start=1):
            before = 1.0 if rank == 1 else (k - 1) / (rank - 1)
            precisions.append(k / rank if ap == "step" else (before + k / rank) / 2)
        values["ap"].append(sum(precisions) / len(found))
        values["inp"].append(len(found) / found[-1])
        values["first"].append(found[0])
        values["best"].append(ranks["best"][0])
        values["worst"].append(ranks["worst"][0])
        values["cmc"].append([float(found[0] <= k) for k in range(1, length + 1)])
    return values


@st.composite
def problems(draw):
    queries, gallery = draw(st.integers(1, 4)), draw(st.integers(1, 14))
    kind = draw(st.sampled_from([np.float32, np.float64]))
    few = st.sampled_from([-np.inf, -1.0, -0.0, 0.0, 0.5, 1.0, np.inf])
    many = st.floats(-2, 2, width=16)
    distance = draw(hnp.arrays(kind, (queries, gallery), elements=draw(st.sampled_from([few, many]))))

    def labels(low, high, count):
        return draw(hnp.arrays(np.int64, count, elements=st.integers(low, high)))

    people = draw(st.integers(0, 3))  # 0: every query is the distractors' identity; junk is -1
    return (
        distance,
        labels(0, people, queries),
        labels(-1, people, gallery),
        labels(0, 2, queries),
        labels(0, 2, gallery),
    )


@settings(max_examples=400, deadline=None, derandomize=True)
@given(problems(), st.sampled_from(["step", "trapezoid"]), st.sampled_from(["remove", "keep"]), st.integers(1, 20))
def test_rank_counting_equals_a_stable_argsort(problem, ap, same_camera, max_rank):
    options = {"max_rank": max_rank, "ap": ap, "same_camera": same_camera}
    wanted = brute_force(*problem, **options)
    if not wanted["cmc"]:
        with pytest.raises(TaskError, match="None of"):
            reid.rank_metrics(*problem, **options)
        return
    result = reid.rank_metrics(*problem, **options)
    np.testing.assert_allclose(result.ap, wanted["ap"], rtol=1e-14)
    np.testing.assert_allclose(result.inp, wanted["inp"], rtol=1e-14)
    np.testing.assert_array_equal(result.first_rank, wanted["first"])
    np.testing.assert_array_equal(result.ranks.first_best, wanted["best"])
    np.testing.assert_array_equal(result.ranks.first_worst, wanted["worst"])
    np.testing.assert_allclose(result.cmc, np.mean(wanted["cmc"], axis=0), rtol=1e-14)
    assert result.mAP == pytest.approx(np.nanmean(wanted["ap"]), rel=1e-14)
    assert result.mINP == pytest.approx(np.nanmean(wanted["inp"]), rel=1e-14)
    assert result.n_valid == len(wanted["cmc"])
    assert result.n_valid + result.n_skipped == len(problem[0])
    assert (np.diff(result.cmc) >= 0).all()
    assert result.cmc[-1] <= 1


@settings(max_examples=150, deadline=None, derandomize=True)
@given(problems(), st.sampled_from(["skip", "zero"]))
def test_text_ranking_is_reid_without_cameras_on_negated_values(problem, unmatched):
    distance, queries, gallery, *_ = problem
    options = {"max_rank": 10, "ap": "step", "same_camera": "keep"}
    wanted = brute_force(distance, queries, gallery, np.zeros(len(queries)), np.zeros(len(gallery)), **options)
    if not wanted["cmc"]:
        with pytest.raises(TaskError, match="None of"):
            text_reid.rank_metrics(-distance, queries, gallery, unmatched=unmatched)
        return
    result = text_reid.rank_metrics(-distance, queries, gallery, unmatched=unmatched)
    average = np.nanmean if unmatched == "skip" else lambda values: np.nansum(values) / len(values)
    assert result.mAP == pytest.approx(average(wanted["ap"]), rel=1e-14)
    assert result.mINP == pytest.approx(average(wanted["inp"]), rel=1e-14)
    first = np.array(wanted["first"])
    for k, value in ((1, result.r1), (5, result.r5), (10, result.r10)):
        assert value == pytest.approx(average(np.where(np.isnan(first), np.nan, first <= k)), rel=1e-14)


def random_problem(seed, queries=30, gallery=120, people=8, ties=False):
    rng = np.random.default_rng(seed)
    distance = rng.random((queries, gallery))
    if ties:
        distance = np.round(distance, 1)
    return (
        distance,
        rng.integers(1, people, queries),
        rng.integers(0, people, gallery),
        rng.integers(0, 3, queries),
        rng.integers(0, 3, gallery),
    )


def test_queries_may_come_in_any_order_and_the_gallery_too_without_ties():
    distance, query_pids, gallery_pids, query_camids, gallery_camids = random_problem(0)
    rng = np.random.default_rng(1)
    q, g = rng.permutation(len(query_pids)), rng.permutation(len(gallery_pids))
    here = reid.rank_metrics(distance, query_pids, gallery_pids, query_camids, gallery_camids)
    there = reid.rank_metrics(
        distance[np.ix_(q, g)], query_pids[q], gallery_pids[g], query_camids[q], gallery_camids[g]
    )
    np.testing.assert_array_equal(here.ap[q], there.ap)
    np.testing.assert_array_equal(here.cmc, there.cmc)


def test_junk_of_the_same_person_and_camera_changes_nothing():
    distance, query_pids, gallery_pids, _, gallery_camids = random_problem(2, ties=True)
    camids = np.zeros(len(query_pids), dtype=np.int64)  # one query camera, so that the same junk is junk for all
    before = reid.rank_metrics(distance, query_pids, gallery_pids, camids, gallery_camids)
    pid = query_pids[0]
    one = query_pids == pid
    junk = np.round(np.random.default_rng(3).random((len(camids), 25)), 1)
    after = reid.rank_metrics(
        np.hstack([junk, distance]),
        query_pids,
        np.concatenate([np.full(25, pid), gallery_pids]),
        camids,
        np.concatenate([np.zeros(25, dtype=np.int64), gallery_camids]),
    )
    np.testing.assert_array_equal(before.ap[one], after.ap[one])
    np.testing.assert_array_equal(before.first_rank[one], after.first_rank[one])


def test_distractors_never_raise_average_precision():
    distance, query_pids, gallery_pids, query_camids, gallery_camids = random_problem(4)
    before = reid.rank_metrics(distance, query_pids, gallery_pids, query_camids, gallery_camids)
    far = np.random.default_rng(5).random((len(query_pids), 40))
    after = reid.rank_metrics(
        np.hstack([distance, far]),
        query_pids,
        np.concatenate([gallery_pids, np.zeros(40, dtype=np.int64)]),
        query_camids,
        np.concatenate([gallery_camids, np.zeros(40, dtype=np.int64)]),
    )
    counted = ~np.isnan(before.ap)
    assert (after.ap[counted] <= before.ap[counted]).all()
    assert after.mAP < before.mAP


def test_unmatched_queries_change_only_the_number_of_skipped():
    distance, query_pids, gallery_pids, query_camids, gallery_camids = random_problem(6)
    before = reid.rank_metrics(distance, query_pids, gallery_pids, query_camids, gallery_camids)
    after = reid.rank_metrics(
        np.vstack([distance, distance[:3]]),
        np.concatenate([query_pids, [77, 78, 79]]),
        gallery_pids,
        np.concatenate([query_camids, [0, 0, 0]]),
        gallery_camids,
    )
    assert (after.mAP, after.mINP, after.n_valid) == (before.mAP, before.mINP, before.n_valid)
    np.testing.assert_array_equal(after.cmc, before.cmc)
    assert after.n_skipped == before.n_skipped + 3


@pytest.mark.parametrize("rows", [1, 7, 30])
def test_blocks_give_what_the_whole_gives(rows):
    distance, query_pids, gallery_pids, query_camids, gallery_camids = random_problem(7, ties=True)
    parts = [slice(start, start + rows) for start in range(0, len(distance), rows)]
    whole = reid.rank_metrics(distance, query_pids, gallery_pids, query_camids, gallery_camids)
    blocks = ((distance[p], query_pids[p], query_camids[p]) for p in parts)
    pieces = reid.rank_metrics_blockwise(blocks, gallery_pids, gallery_camids)
    np.testing.assert_array_equal(whole.ap, pieces.ap)
    assert whole.summary() == pieces.summary()
    text = text_reid.rank_metrics(-distance, query_pids, gallery_pids)
    text_pieces = text_reid.rank_metrics_blockwise(((-distance[p], query_pids[p]) for p in parts), gallery_pids)
    np.testing.assert_array_equal(text.ap, text_pieces.ap)
    assert text.summary() == text_pieces.summary()


def test_the_cmc_carries_its_last_value_forward():
    # Two of three entries are junk: one entry is kept, yet the curve has three values and does not fall.
    result = reid.rank_metrics([[0.1, 0.2, 0.3]], [1], [1, 1, 1], [0], [0, 0, 1], max_rank=10)
    assert result.cmc.tolist() == [1.0, 1.0, 1.0]


def test_identity_names_may_be_strings():
    result = reid.rank_metrics([[0.2, 0.1]], ["ann"], ["ann", "bob"], ["left"], ["right", "left"])
    assert result.ap.tolist() == [0.5]


def test_collapsed_features_are_flagged():
    rng = np.random.default_rng(8)
    queries, gallery = rng.integers(0, 6, 40), rng.permutation(np.repeat(np.arange(6), 5))
    result = text_reid.rank_metrics(np.ones((40, 30), dtype=np.float32), queries, gallery)
    assert result.tied_share == 1.0
    low, high = result.hit_range(1)
    assert (low, high) == (0.0, 1.0)
    assert low <= result.r1 <= high
    assert text_reid.rank_metrics(rng.random((40, 30)), queries, gallery).tied_share == 0.0


def test_a_small_gallery_clips_k_and_says_so():
    result = text_reid.rank_metrics([[0.1, 0.2, 0.3]], [1], [1, 2, 3])
    assert (result.r1, result.r5, result.r10) == (0.0, 1.0, 1.0)
    assert result.protocol["k5_clipped_to"] == 3
    assert "k5_clipped_to" not in text_reid.rank_metrics(np.eye(6), np.arange(6), np.arange(6)).protocol


def test_the_single_shot_expectation_matches_enumeration():
    distance, query_pids, gallery_pids, query_camids, gallery_camids = random_problem(9, 6, 8, people=4, ties=True)
    exact = reid.cuhk03_cmc(distance, query_pids, gallery_pids, query_camids, gallery_camids, max_rank=4)
    curves = []
    for row, pid, camid in zip(distance, query_pids, query_camids, strict=True):
        order = np.argsort(row, kind="stable")
        order = order[~((gallery_pids[order] == pid) & (gallery_camids[order] == camid))]
        if pid not in gallery_pids[order]:
            continue
        images = [np.flatnonzero(gallery_pids[order] == name) for name in np.unique(gallery_pids[order])]
        draws = np.stack(np.meshgrid(*images, indexing="ij"), axis=-1).reshape(-1, len(images))
        hits = [np.flatnonzero(gallery_pids[order][np.sort(draw)] == pid)[0] for draw in draws]
        curves.append([np.mean(np.array(hits) < k) for k in range(1, 5)])
    np.testing.assert_allclose(exact, np.mean(curves, axis=0), atol=1e-14)


def test_re_ranking_ignores_how_rows_are_stored_and_helps_clusters():
    rng = np.random.default_rng(10)
    centres = rng.normal(size=(6, 4))
    pids, others = np.repeat(np.arange(6), 2), np.repeat(np.arange(6), 8)
    queries, gallery = (centres[p] + rng.normal(scale=0.7, size=(len(p), 4)) for p in (pids, others))

    def between(a, b):
        return np.linalg.norm(a[:, None] - b[None], axis=2)

    inputs = between(queries, gallery), between(queries, queries), between(gallery, gallery)
    distance = reid.rerank(*inputs, k1=6, k2=3)
    single = reid.rerank(*(matrix.astype(np.float32) for matrix in inputs), k1=6, k2=3)
    np.testing.assert_allclose(single, distance, atol=1e-5)
    cameras = np.zeros(len(pids)), np.ones(len(others))
    plain, better = (reid.rank_metrics(d, pids, others, *cameras).mAP for d in (inputs[0], distance))
    assert better > plain
    only = reid.rerank(*inputs, k1=6, k2=3, lambda_value=1.0)  # nothing of Jaccard: scaling keeps each row's order
    np.testing.assert_array_equal(np.argsort(only, axis=1), np.argsort(inputs[0], axis=1))


def test_images_without_reciprocal_neighbours_share_nothing():
    """Of 25 equal queries, k1 = 20 neighbours are the first 21: the last four are in nobody's neighbourhood."""
    points = np.concatenate([np.zeros((25, 3)), np.random.default_rng(0).normal(size=(10, 3))])
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    found = reid.rerank(distance[:25, 25:], distance[:25, :25], distance[25:, 25:], k1=20, k2=1, lambda_value=0.0)
    assert (found[21:] == 1.0).all()
    assert np.isfinite(found).all()
    nothing = reid.rerank(np.zeros((30, 5)), np.zeros((30, 30)), np.zeros((5, 5)), k1=20, k2=1)
    assert (nothing[21:] == 0.7).all()
    assert np.isfinite(nothing).all()
