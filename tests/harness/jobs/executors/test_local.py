from __future__ import annotations

from dataclasses import replace

import pytest

from hcbench.errors import DivergedError, HcbenchError
from hcbench.harness.jobs import events
from hcbench.harness.jobs.executors.base import ExecutorSettings
from hcbench.harness.jobs.executors.local import LocalExecutor
from hcbench.harness.jobs.job import Job, read_job, read_status, write_status
from hcbench.harness.jobs.outcomes import Interrupted, classify, classify_exit
from hcbench.harness.jobs.worker_process import default_workers, finished, worker_environment
from hcbench.harness.planning.card_facts import card_facts
from hcbench.harness.planning.machine import usable_gpus


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (DivergedError("loss is nan", "lower it"), "diverged", "loss is nan"),
        (HcbenchError("no such thing", "look"), "failed", "no such thing"),
        (KeyError("x"), "failed", "KeyError: 'x'"),
        (ValueError(), "failed", "ValueError"),
        (Interrupted(), "interrupted", "stopped on request"),
        (MemoryError(), "out-of-memory", "no memory left"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes"), "out-of-memory", "8 bytes"),
        (RuntimeError("shapes do not fit\nat all"), "failed", "RuntimeError: shapes do not fit"),
    ],
)
def test_errors_become_a_status_and_one_line(error, status, reason):
    found, why = classify(error)
    assert found == status
    assert reason in why
    assert "\n" not in why


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [(-9, "out-of-memory", "signal 9"), (-11, "failed", "SIGSEGV"), (3, "failed", "code 3")],
)
def test_silent_ends_become_a_status(code, status, reason):
    assert classify_exit(code)[0] == status
    assert reason in classify_exit(code)[1]


def test_workers_fit_cores_jobs_and_memory():
    gigabyte = 10**9
    assert default_workers(9, 4, 64 * gigabyte) == 4
    assert default_workers(2, 4, 64 * gigabyte) == 2
    assert default_workers(9, 4, 7 * gigabyte) == 2
    assert default_workers(0, 4, 0) == 1


def test_a_gpu_serves_one_worker_at_a_time(tmp_path, monkeypatch, job):
    assert default_workers(9, 16, 64 * 10**9, gpus=2) == 2
    (tmp_path / "nvidia0").touch()
    (tmp_path / "nvidia1").touch()
    (tmp_path / "nvidiactl").touch()
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.9.0+cu129")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert usable_gpus(tmp_path) == ("0", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-abc")
    assert usable_gpus(tmp_path) == ("3", "GPU-abc")
    executor = LocalExecutor(ExecutorSettings(workers=2, threads=1, gpus=usable_gpus(tmp_path)))
    jobs = [replace(job, cell=replace(job.cell, fingerprint=name)) for name in "abc"]
    given = []
    for one in jobs[:2]:
        given.append(executor._seat(one))
        executor._running[one.cell.fingerprint] = None
    del executor._running["a"]
    given.append(executor._seat(jobs[2]))
    assert [one["CUDA_VISIBLE_DEVICES"] for one in given] == ["3", "GPU-abc", "3"]


def test_workers_sleep_when_they_wait():
    environment = worker_environment(threads=3)
    assert environment["OMP_NUM_THREADS"] == environment["MKL_NUM_THREADS"] == "3"
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment["KMP_BLOCKTIME"] == "0"
    assert "PATH" in environment


@pytest.fixture
def job(tmp_path, make_cell, make_matrix, registry):
    cell = make_cell("dummy-plain")
    evaluations = make_matrix([cell]).evaluations[cell.fingerprint]
    facts = card_facts(cell, evaluations, registry)
    return Job(cell=cell, evaluations=evaluations, folder=tmp_path / "cell", cache=tmp_path, facts=facts, workers=2)


def test_a_job_goes_through_its_file_unchanged(job):
    assert job.facts.benchmarks["dummy-score"].metrics
    assert read_job(job.write()) == job


def test_the_word_of_a_worker_goes_before_its_exit_code(job):
    write_status(job.folder, "diverged", "too fast", seconds=2.0)
    event = finished(job, -15)
    assert (event.status, event.reason, event.seconds) == ("diverged", "too fast", 2.0)


def test_a_worker_without_a_word_gets_a_status(job):
    assert finished(job, 4).status == "failed"
    assert read_status(job.folder) == {"status": "failed", "reason": "its process ended with exit code 4"}


def test_events_go_through_a_line_and_other_lines_are_ignored():
    told = [
        events.CellProgress(cell="c", phase="train", done=1, total=2, images_per_s=3.5, loss=None),
        events.EvaluationFinished(
            cell="c", title="t", evaluation="e", benchmark="b", status="done", summary={"mAP": 0.5}
        ),
        events.Note(text="a line\nand another"),
    ]
    for event in told:
        line = events.to_line(event)
        assert "\n" not in line
        assert events.from_line(line) == event
    for line in ("", "downloading ...", "[1]", '{"event": "unknown"}', '{"event": "note", "colour": "red"}'):
        assert events.from_line(line) is None
