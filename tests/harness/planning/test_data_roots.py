from __future__ import annotations

from pathlib import Path

import pytest

from hcbench.errors import ConfigError, DataError
from hcbench.harness.planning.config import resolve
from hcbench.harness.planning.data_roots import found_roots, root_of
from hcbench.harness.planning.registry import load_registry

KNOWN = ("coco", "cuhk-pedes")


def roots(workspace: Path, **environment: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for override in found_roots(workspace, KNOWN, environment):
        found |= override.value
    return found


def test_roots_come_from_variables_and_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert roots(tmp_path) == {}
    assert roots(tmp_path, HCBENCH_DATA_COCO="/e", HCBENCH_DATA_CUHK_PEDES="/p", HOME="/") == {
        "coco": "/e",
        "cuhk-pedes": "/p",
    }
    (tmp_path / "data.yaml").write_text("coco: /f\ncuhk_pedes: below\n")
    assert roots(tmp_path, HCBENCH_DATA_COCO="/e") == {"coco": "/f", "cuhk-pedes": str(tmp_path / "below")}
    assert not caplog.records
    roots(tmp_path, HCBENCH_DATA_KOKO="/x")
    assert "HCBENCH_DATA_KOKO names no data set" in caplog.text


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [("coca: /x", DataError, "Did you mean 'coco'?"), ("coco: [1]", ConfigError, "expected a folder")],
)
def test_a_data_yaml_is_checked(tmp_path: Path, text: str, kind: type[Exception], message: str) -> None:
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(kind, match=message.replace("?", r"\?")):
        roots(tmp_path)


def test_options_win_name_by_name(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("run:\n  data:\n    coco: /from/config\n    imagenet: /from/config\n")
    from hcbench.harness.planning.config import Override

    resolved = resolve(
        load_registry(()),
        [Override("run.data", {"imagenet": "/line"}, "--data")],
        config=tmp_path / "mine.yaml",
        ambient=found_roots(tmp_path, KNOWN, {"HCBENCH_DATA_COCO": "/e", "HCBENCH_DATA_CUHK_PEDES": "/p"}),
    )
    assert resolved.run.data == {"coco": "/from/config", "cuhk-pedes": "/p", "imagenet": "/line"}
    assert "HCBENCH_DATA_COCO" in resolved.origins["run.data"]


def test_a_command_finds_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"(?s)Nobody has said where coco lies.*HCBENCH_DATA_COCO"):
        root_of("coco", None, tmp_path)
    monkeypatch.setenv("HCBENCH_DATA_COCO", str(tmp_path))
    assert root_of("coco", None, tmp_path) == tmp_path
    with pytest.raises(DataError, match="no such folder"):
        root_of("coco", tmp_path / "x", tmp_path)
