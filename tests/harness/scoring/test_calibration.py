"""The tool that holds the embedded benchmark against real photographs."""

from __future__ import annotations

import numpy as np
import pytest

from hcbench.data.people.render import render
from hcbench.data.people.scene import draw_cameras
from hcbench.data.people.spec import PeopleSpec, factor_keys
from hcbench.data.samples import Samples
from hcbench.errors import DataError
from hcbench.harness.scoring import calibration
from hcbench.harness.scoring.calibration_figures import DIFFICULTIES, LOOKS
from hcbench.harness.scoring.image_statistics import image_statistics


def _crops(seed, n=12):
    return np.random.default_rng(seed).integers(0, 256, (n, 3, 128, 64), dtype=np.uint8)


def test_statistics_of_flat_images():
    levels = np.array([40, 40, 200, 200], np.uint8)
    images = np.broadcast_to(levels[:, None, None, None], (4, 3, 128, 64)).copy()
    images[:, 0] += 10
    found = image_statistics(images)
    assert found["chroma"] == (10.0,) * 5
    assert found["gradient"] == (0.0,) * 5
    assert found["luminance mean"][2] == pytest.approx(120 + 2.99, abs=0.01)
    assert found["share middle"][0] == found["share edges"][0] == pytest.approx(1.0)


def test_statistics_tell_the_middle_from_the_edges():
    images = np.full((6, 3, 128, 64), 90, np.uint8)
    images[:, 0, 30:100, 24:40] = np.arange(0, 240, 40, dtype=np.uint8)[:, None, None]
    found = image_statistics(images)
    assert found["chroma middle"][0] > 40
    assert found["chroma edges"] == (0.0,)
    noisy = image_statistics(_crops(0))
    assert noisy["share edges"][0] < 0.02
    assert noisy["slope"][0] == pytest.approx(0.0, abs=0.3)
    with pytest.raises(DataError, match="two"):
        image_statistics(_crops(0, 1))


def _samples(identity, camera):
    n = len(identity)
    return Samples(name="crops", fingerprint="f", images=_crops(1, n), ids=np.array([str(i) for i in range(n)]),
                   identity=np.array(identity), camera=np.array(camera))  # fmt: skip


def test_persons_of_one_camera_and_distractors_are_not_searched_for():
    found = calibration.chosen_persons(_samples([5, 5, 7, 7, 7, -1, 9, 9], [0, 0, 0, 1, 2, 0, 3, 4]), 1, 2)
    assert found.identity.tolist() == [7, 7]
    assert found.camera.tolist() == [0, 1]
    with pytest.raises(DataError, match="Nobody"):
        calibration.chosen_persons(_samples([1, 1], [0, 0]), 5, 5)


def test_table_names_what_is_missed():
    looks = {look.name: look.real for look in LOOKS}
    difficulty = {(row.features, row.readout): (row.nearest[0], row.metric[0]) for row in DIFFICULTIES}
    assert calibration.Found(difficulty, looks).misses() == []
    difficulty["pixels", "cls"] = (2.4, 15.6)
    found = calibration.Found(difficulty, looks | {"share edges": (0.39,)})
    assert [one.split(":")[0] for one in found.misses()] == ["pixels cls, nearest neighbour", "share edges"]
    text = calibration.table(found)
    assert "| pixels | cls | 6.1 | 2.4 | **2.4** | 4-9 |" in text
    assert "missed: share edges" in text


def test_unknown_data_are_an_error(tmp_path, capsys):
    assert calibration.main(["--cache", str(tmp_path), "--data", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.slow
def test_the_embedded_benchmark_is_as_hard_as_real_photographs(tmp_path, capsys):
    """The targets of the calibration, by controls alone; a minute or two."""
    status = calibration.main(["--cache", str(tmp_path), "--quick"])
    text = capsys.readouterr().out
    assert status == 0, text
    assert "All targets are met." in text


def _backgrounds(split, persons, images):
    spec = PeopleSpec(split=split, style="B", noise=0.0, caption_detail="everything", street_share=1.0)
    groups, variants = np.repeat(np.arange(persons), images), np.tile(np.arange(images), persons)
    seen = render(spec, groups, variants, background_only=True).images
    return calibration.People(seen, groups, draw_cameras(factor_keys(spec, groups, variants), variants, split))


@pytest.mark.slow
def test_surroundings_on_a_street_do_not_tell_who_is_seen():
    test, train = _backgrounds("test", 250, 6), _backgrounds("train", 500, 5)
    rows = [row for row in DIFFICULTIES if row.metric_target and row.features != "random"]
    found = calibration.measure(test, train, rows=rows).difficulty
    # Random vectors reach .67-.79 (five draws): the mean average precision of chance.
    assert max(max(values) for values in found.values()) < 1.0, found
