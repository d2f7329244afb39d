"""What the machine can do, found without torch: precision, GPU, cores. The worker checks it again with torch."""

from __future__ import annotations

import importlib.metadata
import os
from dataclasses import dataclass
from pathlib import Path

BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
"""Flags in /proc/cpuinfo of processors that multiply in bf16; elsewhere it is emulated and slower than fp32."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine that a plan is made for.

    Attributes:
        cuda: Whether an NVIDIA GPU and a torch that can use it are there.
        bf16: Whether bf16 is fast.
        cores: Cores that this process may use.
    """

    cuda: bool
    bf16: bool
    cores: int

    @property
    def profile(self) -> str:
        """The profile where nobody names one."""
        return "gpu" if self.cuda else "cpu"

    def precision(self, wanted: str) -> str:
        """`auto` as fp32 or bf16; anything else as it is."""
        return ("bf16" if self.bf16 else "fp32") if wanted == "auto" else wanted


def look(cpuinfo: Path = Path("/proc/cpuinfo"), devices: Path = Path("/dev")) -> Machine:
    """Look at this machine."""
    cuda = has_cuda(devices)
    return Machine(cuda=cuda, bf16=cuda or bool(BF16_FLAGS & cpu_flags(cpuinfo)), cores=usable_cores())


def cpu_flags(cpuinfo: Path) -> frozenset[str]:
    """Flags of the first processor; none where the system does not tell (macOS, Windows)."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    line = next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "")
    return frozenset(line.partition(":")[2].split())


def has_cuda(devices: Path) -> bool:
    """Whether a GPU's device file is there, is not hidden, and torch was not built for processors alone."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1"):
        return False
    try:
        cpu_only = importlib.metadata.version("torch").endswith("+cpu")
    except importlib.metadata.PackageNotFoundError:
        return False
    return not cpu_only and any(devices.glob("nvidia[0-9]*"))


def usable_cores() -> int:
    """Cores of this process's affinity mask."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def usable_gpus(devices: Path = Path("/dev")) -> tuple[str, ...]:
    """Names of the GPUs that a process may be given, as `CUDA_VISIBLE_DEVICES` writes them; none without CUDA."""
    if not has_cuda(devices):
        return ()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible:
        return tuple(name.strip() for name in visible.split(","))
    return tuple(str(number) for number in range(len(list(devices.glob("nvidia[0-9]*")))))
