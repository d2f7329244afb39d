from __future__ import annotations

import logging

from hcbench.harness.trials import TrialStore


def test_opening_a_database_leaves_logging_alone(tmp_path, caplog):
    logger = logging.getLogger("hcbench.some.module")
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    TrialStore(tmp_path / "tuning.db", "a study")
    assert not logger.disabled
    assert (root.handlers, root.level) == (handlers, level)
    with caplog.at_level(logging.INFO, logger="hcbench"):
        logger.info("still heard")
    assert "still heard" in caplog.text
