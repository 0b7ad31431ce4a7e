"""Choose the precision of a fit."""

from pathlib import Path

import torch


def resolve(precision: str, accelerator: str) -> str:
    """Lightning's name of the precision; ``auto`` is bf16 where the hardware multiplies it
    natively, else fp32.

    Args:
        accelerator: Lightning's (``auto``, ``cpu``, ``gpu``, ``cuda``, …).
    """
    if precision != "auto":
        return precision
    gpu = accelerator != "cpu" and torch.cuda.is_available()
    native = torch.cuda.is_bf16_supported(including_emulation=False) if gpu else cpu_has_bf16()
    return "bf16-mixed" if native else "32-true"


def cpu_has_bf16() -> bool:
    """Whether this CPU has bf16 dot products (AVX512-BF16, AMX, or Arm's bf16), as the kernel lists
    its flags."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    flags = {
        flag
        for line in lines
        if line.lower().startswith(("flags", "features"))
        for flag in line.split()
    }
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})
