import dataclasses

import numpy as np
import pytest
import torch

from hcbench.benchmarks.base import EvaluateConfig, FeatureTable, Inputs
from hcbench.benchmarks.metrics.reid import rank_metrics
from hcbench.benchmarks.reid import task as module
from hcbench.benchmarks.reid.finetune import FineTuneReid
from hcbench.benchmarks.reid.metric_head import Scatter
from hcbench.benchmarks.reid.task import SHRINKAGES, Reid, normalised, rank
from hcbench.errors import TaskError, UnfitError

CONFIG = EvaluateConfig(replicates=200)


def unit(count: int, dim: int = 8, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(count, dim))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def test_ranking_is_that_of_the_whole_distance_matrix(told, monkeypatch):
    samples = told["test"].samples
    features = unit(len(samples))
    monkeypatch.setattr(module, "BLOCK", 7)
    found = rank(features, samples)
    rows = np.flatnonzero(samples.identity >= 0)
    x = features.astype(np.float64)
    expected = rank_metrics(
        1 - x[rows] @ x.T, samples.identity[rows], samples.identity, samples.camera[rows], samples.camera
    )
    np.testing.assert_array_equal(found.ap, expected.ap)
    assert found.n_valid == len(rows)


def test_random_features_are_at_chance(told):
    samples = told["test"].samples
    values = []
    for seed in range(10):
        scores = Reid(CONFIG).score({"features": unit(len(samples), 32, seed)}, samples)
        values.append(scores.summary["R1"])
    # Six images over three cameras: four matches stay, two are junk with the query itself among them.
    chance = 4 / (len(samples) - 2)
    error = np.sqrt(chance / (10 * 180))
    assert abs(np.mean(values) - chance) < 4 * error


def test_distractors_stay_in_the_gallery_and_never_query(told):
    samples = told["test"].samples
    scores = Reid(CONFIG).score({"features": unit(len(samples))}, samples)
    assert (scores.record["distractors"], scores.record["left_out"]) == (20, 0)
    assert scores.record["gallery"] == 200
    assert scores.record["n_valid"] == 180
    assert (scores.per_sample["identity"] >= 0).all()
    persons = samples.subset(np.flatnonzero(samples.identity >= 0))
    without = Reid(CONFIG).score({"features": unit(len(samples))[: len(persons)]}, persons)
    assert (without.per_sample["ap"] >= scores.per_sample["ap"]).all()
    assert without.summary["mAP"] > scores.summary["mAP"]


def test_named_queries_are_ranked_against_all_others(told):
    """As Market-1501 has them: a query is no part of the gallery, and no other query is."""
    samples = told["test"].samples
    query = np.arange(len(samples)) % 6 == 0  # the first image of each person, and some distractors
    features = unit(len(samples))
    scores = Reid(CONFIG).score({"features": features}, dataclasses.replace(samples, query=query, left_out=3))
    asking, x = query & (samples.identity >= 0), features.astype(np.float64)
    expected = rank_metrics(
        1 - x[asking] @ x[~query].T,
        samples.identity[asking], samples.identity[~query], samples.camera[asking], samples.camera[~query],
    )  # fmt: skip
    assert scores.summary == pytest.approx(expected.summary())
    assert scores.per_sample["sample"].tolist() == samples.ids[asking].tolist()
    assert scores.record["gallery"] == (~query).sum() < 200
    assert scores.record["distractors"] == (samples.identity[~query] < 0).sum() < 20
    assert scores.record["left_out"] == 3
    rules = [scores.record[key] for key in ("queries", "junk")]
    assert rules == ["as the data say", "same identity and camera"]
    own = Reid(CONFIG).score({"features": features}, samples)
    assert own.record["junk"] == "same identity and camera, the query itself included"


def test_replicates_draw_whole_identities(told):
    """With an AP that is 1 for half of the persons and low for the others, the spread is that of 30 draws, not 180."""
    samples = told["test"].samples
    features = np.zeros((len(samples), 64), np.float32)
    features[np.arange(len(samples)), samples.identity % 32] = 1
    noise = unit(len(samples), 64)
    half = samples.identity % 2 == 0
    features[~half] = noise[~half]
    scores = Reid(EvaluateConfig(replicates=1000)).score({"features": features}, samples)
    ap = scores.per_sample["ap"]
    by_person = [ap[scores.per_sample["identity"] == i].mean() for i in np.unique(scores.per_sample["identity"])]
    expected = np.std(by_person) / np.sqrt(len(by_person))
    assert scores.replicates["mAP"].std() == pytest.approx(expected, rel=0.1)
    assert scores.replicates["mAP"].mean() == pytest.approx(scores.summary["mAP"], abs=4 * expected / np.sqrt(1000))


def test_each_part_counts_the_same_whatever_its_length():
    generator = torch.Generator().manual_seed(0)
    pooled, grid = torch.randn(4, 6, generator=generator), torch.randn(4, 6, 8, 4, generator=generator)
    one = normalised(FeatureTable(pooled=pooled, grid=grid), "cls+stripes")
    other = normalised(FeatureTable(pooled=100 * pooled, grid=grid), "cls+stripes")
    np.testing.assert_allclose(one, other, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(one.reshape(4, 5, 6), axis=2), 1 / np.sqrt(5), atol=1e-6)


def test_the_readout_that_validation_prefers_is_used(told):
    """In the told world the looks are in the pooled vector alone."""
    task = Reid(CONFIG)
    chosen = task.fit(told["train"], told["val"])
    assert chosen["readout"] == "cls"
    tried = [(trial["readout"], trial["shrinkage"]) for trial in chosen["trials"]]
    assert tried == [(readout, one) for readout in ("cls", "mean", "cls+stripes") for one in SHRINKAGES]
    assert chosen["value"] == max(trial["mAP"] for trial in chosen["trials"])


def test_the_head_that_was_chosen_is_used_and_stands_in_the_record(told):
    """Solved by hand from what the choice says; images of strangers and of persons seen once teach nothing."""
    train, test, task = told["train"], told["test"], Reid(CONFIG)
    identity = train.samples.identity.copy()
    identity[:7] = [-1, -1, -1, -1, -1, 10_000, 10_001]
    chosen = task.fit(dataclasses.replace(train, samples=dataclasses.replace(train.samples, identity=identity)),
                      told["val"])  # fmt: skip
    kept = slice(7, None)  # three images of the second person are left
    readout, shrinkage = chosen["readout"], chosen["shrinkage"]
    head = Scatter.measure(normalised(train.features, readout)[kept], identity[kept]).solve(shrinkage)
    found = task.predict(Inputs(features=test.features))["features"]
    np.testing.assert_allclose(found, head(normalised(test.features, readout)), atol=1e-6)
    record = task.score({"features": found}, test.samples).record
    facts = ("readout", "shrinkage", "directions", "training_persons", "training_images")
    assert [record[name] for name in facts] == [readout, shrinkage, head.directions, 59, 293]
    assert [chosen[name] for name in facts] == [record[name] for name in facts]


def test_nearest_neighbours_on_validation_stand_beside_the_choice(told):
    """What the choice of a readout without a head would be is known without a further run."""
    chosen = Reid(CONFIG).fit(told["train"], told["val"])
    for readout, value in chosen["nearest_neighbour_mAP"].items():
        assert value == rank(normalised(told["val"].features, readout), told["val"].samples).mAP
    assert list(chosen["nearest_neighbour_mAP"]) == ["cls", "mean", "cls+stripes"]


def test_noise_stays_at_chance(noise):
    """Chance is what nearest neighbours of noise get."""
    task, test = Reid(EvaluateConfig(replicates=2)), noise["test"]
    task.fit(noise["train"], noise["val"])
    learned = task.score(task.predict(Inputs(features=test.features)), test.samples).summary["mAP"]
    chance = rank(normalised(test.features, "cls"), test.samples).mAP
    assert learned == pytest.approx(chance, abs=0.015)


def test_too_few_persons_to_learn_from_are_a_reason_to_skip(told):
    """One image each, as one shot leaves, or one person alone; fine-tuning repeats images."""
    train = told["train"]
    for rows, persons in ((np.arange(0, 300, 5), 0), (np.arange(6), 1)):
        few = train.subset(rows)
        reason = Reid(CONFIG).untrainable_reason(few.samples)
        assert reason == (
            f"of toy 1, {persons} persons have two images or more to learn a metric from; 2 are the least "
            "(protocol zero-shot needs none)"
        )
        with pytest.raises(UnfitError, match="two images or more"):
            Reid(CONFIG).fit(few, told["val"])
        assert FineTuneReid(CONFIG).untrainable_reason(few.samples) is None
    two = train.subset(np.arange(3, 7))
    assert Reid(CONFIG).untrainable_reason(two.samples) is None
    assert Reid(CONFIG).fit(two, told["val"])["directions"] == 1


def test_re_ranking_chooses_by_re_ranked_validation(told):
    chosen = Reid(EvaluateConfig(readout="cls", rerank=True)).fit(told["train"], told["val"])
    seen = normalised(told["val"].features, "cls")
    scatter = Scatter.measure(normalised(told["train"].features, "cls"), told["train"].samples.identity)
    for trial in chosen["trials"]:
        again = rank(scatter.solve(trial["shrinkage"])(seen), told["val"].samples, rerank=True)
        assert trial["mAP"] == pytest.approx(again.mAP, abs=1e-6)


def test_a_single_camera_is_explained(told):
    samples = dataclasses.replace(told["test"].samples, camera=np.zeros(200, np.int64))
    with pytest.raises(TaskError, match="one camera") as error:
        Reid(CONFIG).score({"features": unit(200)}, samples)
    assert "score data whose persons two cameras have seen" in error.value.hint  # what --data can do
    assert 'rank_metrics(..., same_camera="keep")' in error.value.hint  # what a caller can do


def test_re_ranking_is_named_and_helps_where_neighbours_agree(told):
    """On features of persons with noise, k-reciprocal neighbours move the right images up."""
    rng = np.random.default_rng(0)
    samples = told["test"].samples
    identity = samples.identity
    means = rng.normal(size=(identity.max() + 2, 16))
    features = means[identity] + 1.2 * rng.normal(size=(len(identity), 16))
    unit = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    plain, again = (
        Reid(EvaluateConfig(replicates=5, rerank=rerank)).score({"features": unit}, samples) for rerank in (False, True)
    )
    assert plain.record["reranking"] == "off"
    assert again.record["reranking"].startswith("k-reciprocal, k1 20")
    assert again.summary["mAP"] > plain.summary["mAP"] + 0.02
    assert again.record["n_valid"] == plain.record["n_valid"]


def test_the_truth_re_ranked_is_still_the_truth(told):
    samples = told["test"].samples
    task = Reid(EvaluateConfig(replicates=5, rerank=True))
    assert task.score(task.oracle(samples), samples).summary["mAP"] == pytest.approx(1.0)
