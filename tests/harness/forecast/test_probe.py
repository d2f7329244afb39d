from __future__ import annotations

from dataclasses import replace

from hcbench.harness.forecast.estimate import Measured, cell_key
from hcbench.harness.forecast.probe import probe


def test_each_kind_of_cell_is_trained_a_little(make_cell, plugins):
    gan, again = make_cell("dummy-gan"), make_cell("dummy-gan", seed=1)
    broken = replace(make_cell("dummy-plain"), backbone="timm:no_such_net")
    skipped = replace(make_cell("dummy-plain"), skip="no groups")
    measured, failures = probe((gan, again, broken, skipped), workers=1)
    assert set(measured.images_per_s) == set(measured.memory) == {cell_key(gan)}
    assert measured.images_per_s[cell_key(gan)] > 0
    assert measured.memory[cell_key(gan)] > 1e7
    assert len(failures) == 1
    assert "no_such_net" in failures[0]


def test_a_probe_goes_before_older_numbers():
    old = Measured(images_per_s={("a",): 1.0, ("b",): 2.0}, evaluation_s={("e",): 5.0})
    both = old.updated(Measured(images_per_s={("b",): 3.0}, memory={("b",): 4.0}))
    assert both.images_per_s == {("a",): 1.0, ("b",): 3.0}
    assert both.memory == {("b",): 4.0}
    assert both.evaluation_s == {("e",): 5.0}
