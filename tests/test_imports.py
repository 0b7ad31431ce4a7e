"""Heavy packages imported quickly behave as they do when they are imported plainly."""

import subprocess
import sys

import pytest

pytest.importorskip("scipy")


def run(code: str) -> str:
    """What a fresh Python prints."""
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_lightning_comes_without_scipys_signal_which_others_still_get() -> None:
    printed = run("""
import gc, sys
from stdo.imports import quickly
with quickly():
    import pytorch_lightning
print("torchmetrics" in sys.modules, "scipy.stats" in sys.modules, "scipy.signal" in sys.modules, gc.isenabled())
import scipy.signal
print(scipy.signal.windows.hann(3).tolist(), sys.modules["scipy.signal"] is scipy.signal)
import torch
from torchmetrics.functional.audio import permutation_invariant_training, signal_noise_ratio
speech = torch.rand(1, 4, 50, generator=torch.Generator().manual_seed(0))
value, order = permutation_invariant_training(speech, speech[:, [3, 0, 1, 2]], signal_noise_ratio)
print(order.tolist())
""")
    assert printed.splitlines() == ["True False False True", "[0.0, 1.0, 0.0] True", "[[3, 0, 1, 2]]"]


def test_a_scipy_that_is_there_already_stays() -> None:
    printed = run("""
import sys
import scipy.signal as before
from stdo.imports import quickly
with quickly():
    import pytorch_lightning
print(sys.modules["scipy.signal"] is before, hasattr(before, "hamming"))
""")
    assert printed == "True True"


def test_a_failed_import_leaves_nothing_behind() -> None:
    printed = run("""
import gc, sys
from stdo.imports import quickly
try:
    with quickly():
        import no_such_package
except ModuleNotFoundError as error:
    print(error.name, "scipy.signal" in sys.modules, gc.isenabled())
""")
    assert printed == "no_such_package False True"
