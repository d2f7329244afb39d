from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from hcbench.benchmarks.card import MetricInfo, TaskCard
from hcbench.data.people.spec import GROUP_SIZE, REFERENCE_GROUPS
from hcbench.errors import BudgetError, ConfigError, DataError, HcbenchError
from hcbench.harness.planning import plan as plan_module
from hcbench.harness.planning.cell import Matrix
from hcbench.harness.planning.config import Override, resolve
from hcbench.harness.planning.machine import Machine, cpu_flags, has_cuda, look
from hcbench.harness.planning.plan import NO_BUDGET, make_plan
from hcbench.harness.planning.registry import Registry, load_registry
from hcbench.methods.card import MethodCard

FP32, BF16 = Machine(cuda=False, bf16=False, cores=2), Machine(cuda=False, bf16=True, cores=2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings of the toys."""

    ratio: float = 0.5


def method(name: str, **named: Any) -> MethodCard:
    facts = {
        "title": name, "summary": "A toy.", "needs": frozenset({"images"}), "layout": "identities",
        "supervision": "images", "config": Config, "implementation": "hcbench.errors:HcbenchError",
    }  # fmt: skip
    return MethodCard(name=name, **{**facts, **named})


def task(name: str, **named: Any) -> TaskCard:
    metrics = (MetricInfo(name="mAP", title="mAP", main=True),)
    facts = {"title": name, "summary": "A toy.", "version": "1", "metrics": metrics, "needs": frozenset({"images"})}
    return TaskCard(name=name, implementation="hcbench.errors:HcbenchError", **{**facts, **named})


CARDS = (
    method("alpha", layout="captions", needs=frozenset({"images", "group"})),
    method("beta", layout="poses", sampling="images", backbones=("vit",)),
    method("random", supervision="control", trains=False),
    method("pixels", supervision="control", trains=False),
)
TASKS = (task("pose", data=("people", "coco")), task("reid"))
BUILT_IN = {name: card for name, card in load_registry(()).methods.items() if card.trains}  # recipes speak of them
REGISTRY = Registry(
    methods={**BUILT_IN, **{card.name: card for card in CARDS}}, benchmarks={card.name: card for card in TASKS}
)


@pytest.fixture(autouse=True)
def _light_fingerprints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans are tested without reading all sources anew for every cell."""
    monkeypatch.setattr("hcbench.harness.planning.fingerprint.code", lambda *args: {"modules": {}, "versions": {}})


def plan(*sets: str, machine: Machine = FP32, **run: Any) -> Matrix:
    run.setdefault("methods", ("alpha", "beta"))
    options = [Override(f"run.{key}", value, "test") for key, value in run.items()]
    return make_plan(resolve(REGISTRY, options, sets=sets), REGISTRY, machine)


def test_budgets_become_whole_groups_and_images_seen() -> None:
    cells = {cell.budget: cell for cell in plan(methods=("alpha",), budgets=("0.1pct", "1pct", "5k", "3pct")).cells}
    groups = int(REFERENCE_GROUPS * 0.01)
    assert (cells["1pct"].budget_images, cells["1pct"].images_seen) == (groups * GROUP_SIZE, 36_000)
    assert cells["5000"].budget_images == 5000
    three = cells["3pct"]
    assert three.images_seen == 3 * three.budget_images > 36_000
    assert not any(cell.compute_limited for cell in cells.values())


def test_few_passes_are_compute_limited() -> None:
    limited = plan("pretrain.passes=1.5", "pretrain.min_images_seen=0", methods=("alpha",)).cells
    assert [cell.compute_limited for cell in limited if cell.budget != NO_BUDGET] == [True]


def test_each_method_takes_its_own_layout_unless_told() -> None:
    layouts = {cell.method: cell.corpus.layout for cell in plan().cells}
    assert (layouts["alpha"], layouts["beta"], layouts["random"]) == ("captions", "poses", "identities")
    told = {cell.method: cell.corpus.layout for cell in plan("corpus.layout=identities").cells}
    assert told["alpha"] == told["beta"] == "identities"


def test_controls_join_once_per_seed_and_backbone() -> None:
    matrix = plan(
        "pretrain.lr=1e-3,1e-4", "corpus.noise=0,1",
        budgets=("1pct", "0.1pct"), seeds=(0, 1), backbones=("vit-mini16", "vit-mini8"),
    )  # fmt: skip
    controls = [cell for cell in matrix.cells if cell.budget == NO_BUDGET]
    found = sorted((cell.method, cell.seed, cell.backbone) for cell in controls)
    expected = [(m, s, b) for m in ("pixels", "random") for s in (0, 1) for b in ("vit-mini16", "vit-mini8")]
    assert found == expected
    assert all(cell.budget_images == cell.images_seen == 0 for cell in controls)
    assert len(matrix.cells) - len(controls) == 2 * 2 * 2 * 2 * 2 * 2


def test_controls_are_shared_by_budgets_and_training_settings() -> None:
    def controls(matrix: Matrix) -> set[str]:
        return {cell.fingerprint for cell in matrix.cells if cell.budget == NO_BUDGET}

    assert controls(plan(budgets=("1pct",))) == controls(plan("pretrain.lr=1e-4", budgets=("3pct",)))
    assert controls(plan()) != controls(plan("pretrain.height=64"))


def test_controls_can_be_left_out_or_asked_for() -> None:
    assert {cell.method for cell in plan(controls=False).cells} == {"alpha", "beta"}
    assert {cell.method for cell in plan(controls=False, methods=("alpha", "random")).cells} == {"alpha", "random"}


def test_first_results_come_early() -> None:
    cells = plan(budgets=("3pct", "0.1pct"), seeds=(1, 0)).cells
    order = [(cell.seed, cell.budget_images) for cell in cells]
    assert order == sorted(order, key=lambda item: (item[0] != 1, item[1]))
    assert [cell.method for cell in cells[:4]] == ["random", "pixels", "alpha", "beta"]


def test_sweeps_make_cells_or_evaluations() -> None:
    matrix = plan("alpha.ratio=0.1,0.2", "pretrain.lr=1e-3,3e-4", "evaluate.readout=cls,mean", controls=False)
    assert sum(cell.method == "alpha" for cell in matrix.cells) == 4
    assert sum(cell.method == "beta" for cell in matrix.cells) == 2
    assert {len(found) for found in matrix.evaluations.values()} == {2 * len(TASKS)}
    alpha = [cell for cell in matrix.cells if cell.method == "alpha"]
    assert {cell.method_config["ratio"] for cell in alpha} == {0.1, 0.2}
    assert len({cell.fingerprint for cell in matrix.cells}) == len(matrix.cells)


def test_the_same_cell_stands_there_once() -> None:
    assert len(plan(budgets=("1pct", "1%", "5855"), seeds=(0, 0), controls=False, methods=("alpha",)).cells) == 1


def test_changing_an_evaluation_keeps_the_cells() -> None:
    before, after = plan(), plan("evaluate.readout=mean")
    assert [cell.fingerprint for cell in before.cells] == [cell.fingerprint for cell in after.cells]
    assert {e.fingerprint for found in before.evaluations.values() for e in found}.isdisjoint(
        e.fingerprint for found in after.evaluations.values() for e in found
    )


def test_readouts_of_a_token_are_scored_where_they_are_named() -> None:
    matrix = plan("evaluate.readout=cls,pose,cls+pose", controls=False)
    for found in matrix.evaluations.values():
        assert {one.config["readout"] for one in found} == {"cls", "pose", "cls+pose"}


def knobs_of(matrix: Matrix, method: str) -> dict[str, list[float | None]]:
    """Values of lambda by benchmark."""
    found: dict[str, list[float | None]] = {}
    for cell in matrix.cells:
        if cell.method == method:
            for one in matrix.evaluations[cell.fingerprint]:
                found.setdefault(one.benchmark, []).append(one.knobs.get("lambda"))
    return found


def evaluations_of(matrix: Matrix, method: str) -> set[str]:
    cells = [cell.fingerprint for cell in matrix.cells if cell.method == method]
    return {one.fingerprint for name in cells for one in matrix.evaluations[name]}


def test_knobs_make_evaluations_of_the_methods_that_have_them_alone() -> None:
    run = {"methods": ("solider", "alpha")}
    plain, swept, own = plan(**run), plan("evaluate.lambda=0,0.2,1", **run), plan("solider.lambda=0,0.2,1", **run)
    assert knobs_of(plain, "solider") == {"pose": [0.8], "reid": [0.2]}
    assert knobs_of(swept, "solider") == knobs_of(own, "solider") == {"pose": [0, 0.2, 1], "reid": [0, 0.2, 1]}
    assert knobs_of(plan("evaluate.lambda=0.5", "solider.lambda=none", **run), "solider")["reid"] == [0.5]
    assert knobs_of(plan("evaluate.lambda=0.5", "solider.lambda=1", **run), "solider")["reid"] == [1]
    assert knobs_of(plan("evaluate.lambda=none,0.5", **run), "solider")["reid"] == [0.2, 0.5]
    assert {cell.fingerprint for cell in plain.cells} == {cell.fingerprint for cell in swept.cells}
    assert knobs_of(swept, "alpha") == {"pose": [None], "reid": [None]}
    assert evaluations_of(plain, "alpha") == evaluations_of(swept, "alpha")
    shared = evaluations_of(plain, "solider") & evaluations_of(swept, "solider")
    assert len(shared) == 1, "reid at its recommended .2 is the same evaluation, asked for or not"
    assert evaluations_of(swept, "solider") == evaluations_of(own, "solider")


def test_an_encoder_trained_without_its_knob_is_not_asked_for_it() -> None:
    matrix = plan("solider.semantic_loss=0", methods=("solider",))
    assert knobs_of(matrix, "solider") == {"pose": [None], "reid": [None]}


TEXT = task("text", protocols=("frozen", "zero-shot"), text_tower=True)


def protocols(matrix: Matrix, method: str) -> list[tuple[str, str]]:
    cell = next(cell for cell in matrix.cells if cell.method == method)
    return [(one.benchmark, one.protocol) for one in matrix.evaluations[cell.fingerprint]]


def test_zero_shot_joins_where_there_is_a_text_tower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY.benchmarks, "text", TEXT)  # type: ignore[arg-type]
    matrix = plan(methods=("plip", "stablerep"))
    frozen = [(name, "frozen") for name in ("pose", "reid", "text")]
    assert protocols(matrix, "plip") == [*frozen, ("text", "zero-shot")]
    assert protocols(matrix, "stablerep") == protocols(matrix, "random") == frozen
    assert ("text", "zero-shot") in protocols(plan("stablerep.language=true", methods=("stablerep",)), "stablerep")
    named = plan(methods=("plip",), protocols=("frozen",))
    assert protocols(named, "plip") == frozen
    alone = plan(methods=("plip",), protocols=("zero-shot",))
    assert protocols(alone, "plip") == protocols(alone, "random") == [("text", "zero-shot")]
    with pytest.raises(ConfigError, match="The benchmark reid has no protocol zero-shot"):
        plan(methods=("plip",), protocols=("zero-shot",), benchmarks=("reid", "text"))


def test_zero_shot_without_a_text_tower_waits_to_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        REGISTRY.benchmarks, "reid", replace(REGISTRY.benchmarks["reid"], protocols=("frozen", "zero-shot"))
    )  # type: ignore[index]
    assert ("reid", "zero-shot") not in protocols(plan(methods=("plip",)), "plip")
    assert protocols(plan(methods=("plip",), protocols=("zero-shot",)), "random") == [("reid", "zero-shot")]


def test_precision_is_resolved() -> None:
    assert {cell.pretrain.precision for cell in plan(machine=FP32).cells} == {"fp32"}
    assert {cell.pretrain.precision for cell in plan(machine=BF16).cells} == {"bf16"}
    assert {cell.pretrain.precision for cell in plan("pretrain.precision=fp32", machine=BF16).cells} == {"fp32"}


def test_a_backbone_that_does_not_fit_is_skipped_with_a_reason() -> None:
    matrix = plan(backbones=("resnet18",))
    skips = {cell.method: cell.skip for cell in matrix.cells}
    assert skips["alpha"] == ""
    assert skips["beta"] == "beta works on vit; resnet18 is a resnet"
    skipped = next(cell for cell in matrix.cells if cell.method == "beta")
    assert matrix.evaluations[skipped.fingerprint] == ()


@pytest.fixture
def coco(tmp_path: Path) -> str:
    """A COCO of 120 persons, annotations only."""
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 640, "height": 480} for i in range(120)]
    persons = [
        {
            "id": i + 1, "image_id": i, "bbox": [10, 10, 100, 200], "area": 9000.0, "iscrowd": 0, "category_id": 1,
            "keypoints": [20, 20, 2] * 17, "num_keypoints": 17,
        }
        for i in range(120)
    ]  # fmt: skip
    categories = [{"id": 1, "name": "person", "keypoints": [], "skeleton": []}]
    (tmp_path / "annotations").mkdir()
    for split in ("train2017", "val2017"):
        (tmp_path / split).mkdir()
        text = json.dumps({"images": images, "annotations": persons, "categories": categories})
        (tmp_path / "annotations" / f"person_keypoints_{split}.json").write_text(text)
    return str(tmp_path)


def test_a_corpus_without_groups_skips_methods_that_need_them(coco: str) -> None:
    matrix = plan("corpus.name=coco", data={"coco": coco}, budgets=("100pct",))
    alpha = next(cell for cell in matrix.cells if cell.method == "alpha")
    beta = next(cell for cell in matrix.cells if cell.method == "beta")
    assert "coco does not know group" in alpha.skip
    assert "hcbench generate" in alpha.skip
    assert beta.skip == ""
    assert beta.budget_images == 120
    assert beta.roots == {"coco": coco}


def gan(coco: str, *sets: str) -> str:
    """Why gan-invariance is skipped on photographs."""
    matrix = plan("corpus.name=coco", *sets, methods=("gan-invariance",), data={"coco": coco}, budgets=("100pct",))
    return next(cell.skip for cell in matrix.cells if cell.method == "gan-invariance")


def test_a_corpus_without_joints_skips_the_methods_that_draw_bodies_from_them(coco: str, tmp_path: Path) -> None:
    assert gan(coco) == (
        "coco does not know joints (needed with gan-invariance.structure=capsule, not with rendered:<dir>, "
        "params:<npz>, entrypoint:<name>, none; needed with gan-invariance.generation=true, not with false)"
    )
    assert "structure=capsule-gray, not" in gan(coco, "gan-invariance.structure=capsule-gray")
    for other in (f"structure=rendered:{tmp_path}", "structure=entrypoint:mine", "generation=false"):
        assert gan(coco, f"gan-invariance.{other}") == ""
    assert plan(methods=("gan-invariance",), controls=False).cells[0].skip == "", "people knows joints"


def test_real_data_adds_evaluations_and_its_content_counts(coco: str) -> None:
    before = plan(data={"coco": coco})
    scored = [(e.benchmark, e.data) for e in before.evaluations[before.cells[0].fingerprint]]
    assert scored == [("pose", "people"), ("pose", "coco"), ("reid", "people")]
    path = Path(coco) / "annotations" / "person_keypoints_val2017.json"
    path.write_text(path.read_text() + "\n")
    after = plan(data={"coco": coco})
    pairs = zip(
        before.evaluations[before.cells[0].fingerprint], after.evaluations[after.cells[0].fingerprint], strict=True
    )
    assert {old.data for old, new in pairs if old.fingerprint != new.fingerprint} == {"coco"}


@pytest.mark.parametrize(
    ("sets", "run", "kind", "words"),
    [
        ((), {"methods": ()}, ConfigError, "No method was named"),
        ((), {"methods": ("alpa",)}, ConfigError, "Did you mean 'alpha'?"),
        ((), {"budgets": ("0",)}, BudgetError, "holds no image"),
        ((), {"budgets": ("200pct",)}, BudgetError, "at most 100pct"),
        ((), {"budgets": ("abc",)}, BudgetError, "'abc' is no data budget"),
        ((), {"budgets": ("50",)}, BudgetError, "fewer than one batch"),
        ((), {"budgets": ("1m",)}, BudgetError, "the corpus holds 585,630"),
        ((), {"budgets": ()}, ConfigError, "list of budgets is empty"),
        ((), {"seeds": (-1,)}, ConfigError, "Seed -1"),
        ((), {"benchmarks": ("poze",)}, ConfigError, "Did you mean 'pose'?"),
        ((), {"benchmarks": ("pose:cocoo",)}, ConfigError, "Did you mean 'coco'?"),
        ((), {"benchmarks": ("pose:coco",)}, ConfigError, "nobody said where coco lies"),
        ((), {"backbones": ("vit-mini",)}, ConfigError, "No backbone is called 'vit-mini'"),
        ((), {"protocols": ("finetune",)}, ConfigError, "no protocol 'finetune'"),
        (("evaluate.lambda=0.5",), {}, ConfigError, "It is a knob of solider"),
        (("evaluate.lambda=1.5",), {"methods": ("solider",)}, ConfigError, "expected a number from 0 to 1"),
        (("solider.lambda=-1",), {}, ConfigError, "solider.lambda is -1; expected a number from 0 to 1"),
        ((), {"data": {"cocco": "/"}}, DataError, "Did you mean 'coco'?"),
        ((), {"data": {"coco": "/nowhere"}}, DataError, "no such folder"),
        (("corpus.name=coco",), {}, DataError, "--data coco=ROOT"),
        (("corpus.name=peple",), {}, DataError, "Did you mean 'people'?"),
        (("corpus.layout=pose",), {}, ConfigError, "Did you mean 'poses'?"),
        (("corpus.noise=-1",), {}, ConfigError, "noise"),
        (("corpus.style=C",), {}, ConfigError, "style"),
        (("pretrain.lr=-1",), {}, ConfigError, "pretrain.lr is -1.0; expected above 0"),
        (("pretrain.precision=fp8",), {}, ConfigError, "expected one of auto, fp32, bf16"),
        (("pretrain.images_per_group=6",), {}, ConfigError, "a group has 5 images"),
        (("evaluate.scale=2",), {}, ConfigError, "above 0 and at most 1"),
        (("evaluate.readout=clss",), {}, ConfigError, "Did you mean 'cls'?"),
    ],
)
def test_what_cannot_work_is_found_before_anything_runs(
    sets: tuple[str, ...], run: dict[str, Any], kind: type[HcbenchError], words: str
) -> None:
    with pytest.raises(kind) as caught:
        plan(*sets, **run)
    assert words in str(caught.value)


def test_planning_loads_no_torch_and_writes_nothing(tmp_path: Path) -> None:
    code = """
import sys
from hcbench.harness.planning.config import Override, resolve
from hcbench.harness.planning.machine import look
from hcbench.harness.planning.plan import make_plan
from hcbench.harness.planning.registry import load_registry
registry = load_registry(())
matrix = make_plan(resolve(registry, [Override("run.methods", "stablerep", "test")]), registry, look())
print(len(matrix.cells), [name for name in ("torch", "mlflow", "pandas") if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ran.stdout.strip() == "4 []", ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_machine_is_read_from_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor: 0\nflags\t\t: fpu avx2 avx512_bf16\n")
    devices = tmp_path / "dev"
    devices.mkdir()
    assert "avx512_bf16" in cpu_flags(cpuinfo)
    assert cpu_flags(tmp_path / "absent") == frozenset()
    found = look(cpuinfo, devices)
    assert (found.cuda, found.bf16, found.profile) == (False, True, "cpu")
    (devices / "nvidiactl").touch()
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.9.0+cu126")
    assert not has_cuda(devices)
    (devices / "nvidia0").touch()
    assert has_cuda(devices)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not has_cuda(devices)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.9.0+cpu")
    assert not has_cuda(devices)


def test_only_the_plan_decides_what_is_limited() -> None:
    cell = plan(methods=("alpha",), controls=False).cells[0]
    assert not replace(cell, images_seen=2 * cell.budget_images).compute_limited
    assert replace(cell, images_seen=2 * cell.budget_images - 1).compute_limited


RANKED = task("ranked", protocols=("frozen", "finetune"), options=frozenset({"rerank"}), trains=frozenset({"finetune"}))


def scored(matrix: Matrix, method: str = "random") -> list[tuple[str, str, str]]:
    cell = next(cell for cell in matrix.cells if cell.method == method)
    return [(one.benchmark, one.data_label, one.protocol_label) for one in matrix.evaluations[cell.fingerprint]]


def test_settings_are_swept_only_where_they_change_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY.benchmarks, "ranked", RANKED)  # type: ignore[arg-type]
    both = scored(plan("evaluate.rerank=false,true", benchmarks=("pose", "ranked")))
    ranked = [("ranked", "people", words) for words in ("frozen", "frozen, re-ranked")]
    assert both == [("pose", "people", "frozen"), *ranked]
    few = scored(plan("evaluate.shots=0,5", benchmarks=("pose", "ranked")))
    assert few == [("pose", "people", "frozen"), ("pose", "people", "frozen, 5-shot"), ("ranked", "people", "frozen")]


def test_detected_boxes_have_a_column_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    boxed = task("boxed", options=frozenset({"boxes"}))
    monkeypatch.setitem(REGISTRY.benchmarks, "boxed", boxed)  # type: ignore[arg-type]
    both = scored(plan("evaluate.boxes=gt,detected", benchmarks=("reid", "boxed")))
    assert both == [
        ("reid", "people", "frozen"), ("boxed", "people", "frozen"), ("boxed", "people", "frozen, detected boxes"),
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"evaluate\.boxes is 'detectd'; expected one of gt, detected") as error:
        plan("evaluate.boxes=detectd")
    assert "detected" in error.value.hint


def test_fine_tuning_names_its_recipe_and_depends_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY.benchmarks, "ranked", RANKED)  # type: ignore[arg-type]
    recipes = {"short": 1, "field": 2}
    monkeypatch.setattr(plan_module, "recipe_facts", lambda name, recipe: {"epochs": recipes[recipe]})
    run = {"benchmarks": ("ranked",), "protocols": ("frozen", "finetune")}
    labels = ("frozen", "finetune, short recipe", "finetune, field recipe")
    before = plan("evaluate.recipe=short,field", **run)
    assert [words for _, _, words in scored(before)] == list(labels)
    recipes["field"] = 3
    after = plan("evaluate.recipe=short,field", **run)
    one, two = (matrix.evaluations[matrix.cells[0].fingerprint] for matrix in (before, after))
    changed = [a.protocol_label for a, b in zip(one, two, strict=True) if a.fingerprint != b.fingerprint]
    assert changed == [labels[2]]


def test_a_benchmark_without_the_recipe_says_which_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("reid", "text-reid"):
        monkeypatch.setitem(REGISTRY.benchmarks, name, replace(RANKED, name=name))  # type: ignore[index]
    tuned = plan("evaluate.recipe=irra", benchmarks=("text-reid",), protocols=("finetune",))
    assert scored(tuned) == [("text-reid", "people", "finetune, irra recipe")]
    with pytest.raises(ConfigError, match=r"reid has no recipe 'irra' \(evaluate\.recipe\)") as error:
        plan("evaluate.recipe=irra", benchmarks=("text-reid", "reid"), protocols=("finetune",))
    assert "Known: field, short." in error.value.hint


def test_heads_of_one_data_set_are_scored_on_another(coco: str) -> None:
    matrix = plan(data={"coco": coco}, test_on="coco")
    assert scored(matrix) == [("pose", "people>coco", "frozen"), ("pose", "coco", "frozen")]
    across, own = matrix.evaluations[matrix.cells[0].fingerprint]
    assert across.sources == (("people", "", ("train", "val")), ("coco", coco, ("test",)))
    assert own.sources == (("coco", coco, ("train", "val", "test")),)
    plain = plan(data={"coco": coco}, benchmarks=("pose",))
    names = {one.data_label: one.fingerprint for one in plain.evaluations[plain.cells[0].fingerprint]}
    assert own.fingerprint == names["coco"]
    assert across.fingerprint not in names.values()


def test_a_benchmark_may_be_wanted_on_one_data_set_alone(coco: str) -> None:
    alone = plan(data={"coco": coco}, benchmarks=("pose:coco", "reid"))
    assert scored(alone) == [("pose", "coco", "frozen"), ("reid", "people", "frozen")]
    across = plan(data={"coco": coco}, benchmarks=("pose:people",), test_on="coco")
    assert scored(across) == [("pose", "people>coco", "frozen")]


def test_positives_need_two_images_of_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    plan("pretrain.images_per_group=1")
    monkeypatch.setitem(REGISTRY.methods, "alpha", replace(REGISTRY.methods["alpha"], least_per_group=2))  # type: ignore[index]
    with pytest.raises(ConfigError, match="images_per_group is 1, but alpha learns from images of one group"):
        plan("pretrain.images_per_group=1")


def test_data_that_nothing_is_scored_on_are_told_of(coco: str) -> None:
    with pytest.raises(ConfigError, match="--test-on coco: nothing is scored on that"):
        plan(test_on="coco")
    with pytest.raises(ConfigError, match="--test-on coco: not scored on such data in this run: reid"):
        plan(test_on="coco", data={"coco": coco}, benchmarks=("pose", "reid"))
    with pytest.raises(ConfigError, match=r"evaluate\.shots is -1"):
        plan("evaluate.shots=-1")
    with pytest.raises(ConfigError, match=r"evaluate\.recipe is 'fielt'") as error:
        plan("evaluate.recipe=fielt")
    assert "field" in error.value.hint


def test_the_plan_says_what_is_not_usual(coco: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from hcbench.harness.cli.plan import _special

    words = " ".join(_special(plan("evaluate.shots=5", data={"coco": coco}, test_on="coco", benchmarks=("pose",))))
    assert "other data than their own: pose (people>coco)" in words
    assert "columns of their own: pose frozen, 5-shot" in words
    monkeypatch.setitem(REGISTRY.benchmarks, "reid", replace(RANKED, name="reid"))  # type: ignore[index]
    tuned = plan("evaluate.recipe=short,field", benchmarks=("reid",), protocols=("finetune",))
    assert "fine-tuned for reid (recipe short, field)" in " ".join(_special(tuned))
    assert list(_special(plan(benchmarks=("pose",)))) == []
