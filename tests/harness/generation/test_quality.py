"""Is the pose of the picture the pose that was asked for? With a stand-in for the pose model that knows the answer."""

from __future__ import annotations

import numpy as np
import pytest
from rich.console import Console

from hcbench.harness.cli.generate import run_generate
from hcbench.harness.cli.generate_options import GenerateOptions
from hcbench.harness.generation.job import read_rows
from hcbench.harness.generation.quality import condition_pck


@pytest.mark.parametrize(("error", "found"), [(0, (1, 1, 1)), (3, (0, 1, 1)), (6, (0, 0, 1)), (11, (0, 0, 0))])
def test_the_renderer_shows_the_pose_that_was_asked_for(tmp_path, error, found):
    """Persons of 51.2 of the 64 pixels: .05, .1 and .2 of them are 2.6, 5.1 and 10.2 pixels."""
    run_generate(Console(quiet=True), GenerateOptions(out=tmp_path, groups=1, size="64x32"))
    joints = np.array([row["keypoints"] for row in read_rows(tmp_path)]).reshape(-1, 17, 3)
    assert (joints[..., 2] > 0).any()

    def knows(images):
        assert len(images) == len(joints) == 5
        return joints[..., :2] + np.array([0, error])

    assert tuple(condition_pck(tmp_path, knows).values()) == found
