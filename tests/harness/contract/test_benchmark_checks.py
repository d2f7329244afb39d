"""`hcbench check` on a benchmark that is sound, and on one mistake at a time: docs/add-a-benchmark.md, changed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hcbench.harness.cli.main import app
from hcbench.harness.contract.benchmark_contract import CHECKS

PAGE = (Path(__file__).parents[3] / "docs" / "add-a-benchmark.md").read_text(encoding="utf-8")
SIZE = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]  # type: ignore[index]

MISTAKES = {
    # name: what stands there, what is written instead, the check that fails, what the screen says
    "version": ('version="1"', 'version=""', "card", "has no version"),
    "metric": ('name="pairs"', 'name="pairs@1"', "card", "'pairs@1' cannot be stored"),
    "main": (", main=True", "", "card", "No metric is the main one"),
    "need": ('{"images", "area"}', '{"images", "areas"}', "card", "Did you mean 'area'"),
    "protocol": ('protocols=("frozen",)', 'protocols=("frozen",), implementations={"frosen": "a:B"}', "card",
                 "Did you mean 'frozen'"),
    "twice": ("main=True),)", 'main=True), MetricInfo(name="pairs", title="Again"))', "card",
              "Two metrics are called 'pairs'"),
    "name": ("size_benchmark:Size", "size_benchmark:Sizee", "class", "cannot be imported"),
    "base": ("class Size(Task):", "class Size:", "class", "no class over Task"),
    "lacks": ("def predict(", "def predicts(", "class", "lacks predict"),
    "no-card": ("    card = CARD\n", "", "class", r"Size\.card is not the card"),
    "data": ('{"images", "area"}', '{"images", "head_boxes"}', "data", "does not know head_boxes"),
    "bug": ("trials: list", "raise KeyError('oops')\n        trials: list", "works", "KeyError: 'oops'"),
    "missing": ('summary={"pairs": float(pairs.mean())}', "summary={}", "works", "gives no pairs"),
    "percent": ("float(pairs.mean())", "100 * float(pairs.mean())", "numbers", "expected a fraction from 0 to 1"),
    "nan": ("float(pairs.mean())", 'float("nan")', "numbers", "main metric pairs is NaN"),
    "length": ('{"pairs": pairs},', '{"pairs": pairs[:5]},', "stored", "differ in length: .*pairs 5"),
    "record": ('"images": len(truth)', '"images": truth', "stored", "cannot be stored"),
    "replicates": ('"pairs": weights @ pairs / weights.sum(axis=1)', '"pairs": pairs', "replicates",
                   r"shape \(60,\); expected \(20,\)"),
    "no-replicates": ('replicates={"pairs": weights @ pairs / weights.sum(axis=1)}', "replicates={}", "replicates",
                      "no replicates of pairs"),
    "keeps": ('        pairs = in_order(predictions["size"]',
              '        self._head = (*self._head[:2], self._head[2] + 1)\n'
              '        pairs = in_order(predictions["size"]', "labels", "after `score` has seen the truth"),
    "clock": ('{"size": self._sizes(self._head, test.features)}',
              '{"size": np.random.rand(len(test.features)).astype("float32")}', "labels", "gives another size"),
    "seed": ("seed=CARD.resample_seed", "seed=np.random.randint(2**31)", "same", "The replicates gives another pairs"),
    "oracle": ('return {"size": need(truth, "area")}', 'return {"size": -need(truth, "area")}', "oracle",
               "The truth scores pairs 0.000; expected 1"),
    "nothing": ("    pairs = in_order(predictions", "    pairs = in_order(need(truth, 'area') if True else predictions",
                "blind", "Features that are equal for all images score pairs 1.000"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    """What a command sets for its workers ends with the test."""
    monkeypatch.setenv("HCBENCH_PLUGINS", "")
    monkeypatch.delenv("HCBENCH_PLUGINS")


def check(folder: Path, text: str, *words: str) -> Result:
    path = folder / "size_benchmark.py"
    path.write_text(text, encoding="utf-8")
    return CliRunner().invoke(app, ["check", *words, "--plugin", str(path)])


def failed(answer: Result) -> list[str]:
    promises = {one.promise: one.name for one in CHECKS}
    lines = [line.split("failed", 1)[1] for line in answer.output.splitlines() if line.startswith("  failed")]
    return [next(name for promise, name in promises.items() if promise in line) for line in lines]


def test_the_benchmark_of_the_page_keeps_the_contract(tmp_path):
    answer = check(tmp_path, SIZE)
    assert answer.exit_code == 0, answer.output
    assert f"Checks: {len(CHECKS)} ok" in answer.output
    for one in CHECKS:
        assert one.promise in answer.output
        assert one.promise in PAGE, "the page shows what the command says"


@pytest.mark.parametrize("mistake", MISTAKES)
def test_every_mistake_is_told_by_the_check_of_its_kind(mistake, tmp_path):
    before, after, name, message = MISTAKES[mistake]
    assert SIZE.count(before) == 1
    text = SIZE.replace(before, after)
    if mistake == "nothing":  # the features are not looked at, so that their refusal does not hide it
        text = text.replace("Standardiser.fit(joined(train.features, readout))", "torch.nn.Identity()")
    answer = check(tmp_path, text)
    assert answer.exit_code == 1, answer.output
    assert failed(answer)[0] == name, answer.output
    assert re.search(message, answer.output), answer.output
    assert "The contract is broken by size." in answer.output


def test_built_in_benchmarks_keep_the_contract():
    answer = CliRunner().invoke(app, ["check", "reid,t2i_reid,attributes,pose,parsing"])
    assert answer.exit_code == 0, answer.output
    assert f"Checks: {5 * len(CHECKS)} ok" in answer.output


def test_a_benchmark_without_its_data_is_checked_as_far_as_it_goes(tmp_path):
    answer = check(tmp_path, SIZE.replace('data=("people",)', 'data=("lip",)'))
    assert answer.exit_code == 0, answer.output
    assert "needs its data: --data lip=ROOT" in answer.output
    assert "2 ok" in answer.output


def test_a_misspelt_name_is_a_usage_error(tmp_path):
    answer = check(tmp_path, SIZE, "sizee")
    assert answer.exit_code == 2, answer.output


def test_the_benchmark_of_the_page_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "size_benchmark.py").write_text(SIZE, encoding="utf-8")
    command = re.search(r"\$ hcbench run (.*?)\n", PAGE)
    assert command is not None
    answer = CliRunner().invoke(app, ["plan", *command[1].split()])
    assert answer.exit_code == 0, answer.output
    small = ["--no-controls", "--set", "evaluate.scale=0.02", "--set", "pretrain.height=64"]
    small += ["--set", "pretrain.width=32", "--set", "evaluate.replicates=20", "--workers", "1"]
    words = [word.replace("mae", "pixels") for word in command[1].split()]
    answer = CliRunner().invoke(app, ["run", *words, *small])
    assert answer.exit_code == 0, answer.output
    assert "Cells: 1 done" in answer.output
    assert "Pairs in order" in answer.output
