"""The weights of every method of the paper, bit for bit: whoever changes the code that trains sees
what he changed.

Each method is fitted to integer frames in fp32 on one thread. The process asks torch, oneDNN, MKL
and Numba for the oldest instructions that they have, and not to use oneDNN, so that processors give
the same bits. Where one does not, a control tells: a fit in plain torch, without any code of ours.
"""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

OLDEST = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "MKL_NUM_THREADS": "1",
    "NUMBA_CPU_NAME": "generic",
    "NUMBA_CPU_FEATURES": "",
    "NUMBA_DISABLE_JIT": "0",
    "OMP_NUM_THREADS": "1",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
}

METHODS = ("awdnn", "nas", "stdo", "jstdo", "cafm", "bstdo")
DIGESTS: dict[str, dict[str, str | None]] = {
    "c2b808ac03b4792b": {
        "awdnn": "88c441fad6cfa55d",
        "nas": "09beb494919ae707",
        "stdo": "a6b34bd2ea848202",
        "jstdo": "438e8be44fb0223c",
        "cafm": None,  # not fitted there since it is as published
        "bstdo": "349c9e4ebfb23369",
    },
    "eb2e2396e3b01eda": {  # AMD EPYC, family 25, model 17; 2026-11-28
        "awdnn": "2ce40a999dca1366",
        "nas": "cdc66d56d1a9b02c",
        "stdo": "9fbfd1d91cc22471",
        "jstdo": "5f21aea6b6b69247",
        "cafm": "0ff026d9fed515b1",
        "bstdo": "13dd1a5e17d71a34",
    },
}
"""For each kind of processor, named by the digest of the control's weights, BLAKE2b of each
method's weights in the order of their names (torch 2.13.0)."""

FIT = """
import hashlib, json, sys
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from PIL import Image
from safetensors.numpy import load_file

from stdo.config.jobs import build_job
from stdo.pipeline.steps import train
from stdo.config.trust import conf_dir

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
torch.backends.mkldnn.set_flags(False)


def digest_of(weights):
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(weights):
        digest.update(name.encode() + weights[name].tobytes())
    return digest.hexdigest()


generator = torch.Generator().manual_seed(0)
control = torch.nn.Sequential(
    torch.nn.Conv2d(3, 64, 5, padding=2), torch.nn.ReLU(), torch.nn.Conv2d(64, 12, 3, padding=1)
)
with torch.no_grad():
    for parameter in control.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) / 20)
adam = torch.optim.Adam(control.parameters(), lr=1e-3)
for _ in range(20):
    batch = torch.rand(8, 3, 8, 8, generator=generator)
    adam.zero_grad()
    control(batch).sub(batch.mean()).abs().mean().backward()
    adam.step()
digests = {"control": digest_of({name: each.numpy()\
 for name, each in control.state_dict().items()})}
folder = Path(sys.argv[1])
frames = folder / "frames"
frames.mkdir()
y, x = np.mgrid[:48, :64]
for t in range(6):
    texture = (x * x + 3 * y * (t + 1)) // 7 + (x // 8 + y // 6 + t) % 2 * 60
    rgb = np.stack([(texture + 5 * t) % 256, (texture * 2 + y) % 256,\
 (x * 4 + y * 5 + 11 * t) % 256], -1)
    Image.fromarray(rgb.astype(np.uint8)).save(frames / f"{t:04}.png")
common = [
    "video=folder", f"video.path={frames}", f"paths.outputs={folder}/outputs",\
 f"paths.cache={folder}/cache",
    "scale=2", "chunks=2", "backbone=espcn", "patches.height=8", "patches.width=8",\
 "budget.passes=4",
    "trainer=cpu", "trainer.precision=32-true",
]
with initialize_config_dir(str(conf_dir().resolve()), version_base="1.3"):
    for method in sys.argv[2:]:
        job = build_job(compose("train", [*common, f"method={method}"]))
        train(job)
        digests[method] = digest_of(load_file(job.directory / "weights.safetensors"))
print(json.dumps(digests))
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the digests are those of x86-64")
def test_weights_are_bit_for_bit_what_they_were(tmp_path: Path) -> None:
    words = [sys.executable, "-c", FIT, str(tmp_path), *METHODS]
    done = subprocess.run(
        words, env=os.environ | OLDEST, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    control = found.pop("control")
    if control not in DIGESTS:
        pytest.skip(
            "this processor or this torch adds up in another order: "
            f"the control gives {control}, not {' or '.join(DIGESTS)}"
        )
    known = {name: digest for name, digest in DIGESTS[control].items() if digest is not None}
    assert {name: found[name] for name in known} == known
