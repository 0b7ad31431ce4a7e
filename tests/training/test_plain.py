"""Lightning as its users know it: the modules fit with a plain Trainer, and come back from their
checkpoints, without any command of ours."""

import pickle
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader

from stdo.core.types import UserError
from stdo.models.lowrank import LowRank
from stdo.models.modulated import Modulated
from stdo.models.registry import BACKBONES, build
from stdo.models.sharing import Independent, Single
from stdo.training.data import Batch, PatchData
from stdo.training.hyper import described
from stdo.training.module import Overfit
from stdo.training.muon import Muon
from stdo.training.schedule import cosine
from stdo.training.validation import VideoPsnr

NARROW: dict[str, Any] = {"ecbsr": {}}
QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "devices": 1,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


@pytest.fixture
def data(make_job) -> PatchData:
    return make_job().data


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_fits_with_a_plain_trainer_and_comes_back(
    name: str, data: PatchData, tmp_path: Path
) -> None:
    """The DataModule as it is: training, validation, Lightning's own checkpoint."""
    module = Overfit(build(name, 2, residual="bicubic", **NARROW.get(name, {"width": 0.25})))
    before = {key: value.clone() for key, value in module.state_dict().items()}
    trainer = pl.Trainer(
        max_epochs=1, limit_train_batches=2, limit_val_batches=1, num_sanity_val_steps=0,
        logger=False, default_root_dir=tmp_path, **QUIET,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    assert trainer.global_step == 2
    assert {"train/loss", "train/psnr", "val/psnr"} <= trainer.callback_metrics.keys()
    assert any(not torch.equal(before[key], value) for key, value in module.state_dict().items())

    kept = trainer.checkpoint_callback.best_model_path
    torch.load(kept, weights_only=True)
    again = Overfit.load_from_checkpoint(kept)
    assert dict(again.hparams) == dict(module.hparams)
    for key, value in module.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key
    lr_NCHW, chunk_N = torch.rand(2, 3, 8, 8), torch.zeros(2, dtype=torch.int64)
    with torch.no_grad():
        assert torch.equal(again.eval()(lr_NCHW, chunk_N), module.eval()(lr_NCHW, chunk_N))


class Code:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self._path,)


def test_a_checkpoint_of_a_url_runs_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    good, bad = tmp_path / "good.ckpt", tmp_path / "bad.ckpt"
    trainer = pl.Trainer(max_epochs=1, logger=False, enable_checkpointing=False, **QUIET)
    trainer.fit(Overfit(build("espcn", 2)), DataLoader(patches(2), batch_size=2))
    trainer.save_checkpoint(good)
    content = torch.load(good, weights_only=True)
    torch.save({**content, "code": Code(tmp_path / "ran")}, bad)

    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        place = f"http://127.0.0.1:{server.server_port}"
        assert isinstance(Overfit.load_from_checkpoint(f"{place}/good.ckpt"), Overfit)
        for weights_only in (True, None):
            with pytest.raises(pickle.UnpicklingError):
                Overfit.load_from_checkpoint(f"{place}/bad.ckpt", weights_only=weights_only)
        with pytest.raises(pickle.UnpicklingError):
            Overfit.load_from_checkpoint(f"{place}/bad.ckpt")
        assert not (tmp_path / "ran").exists()
        Overfit.load_from_checkpoint(f"{place}/bad.ckpt", weights_only=False)
        assert (tmp_path / "ran").exists()
        server.shutdown()


class NoFloat64(TorchDispatchMode):
    """A device without float64, as Apple's: nothing makes such a tensor."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and made.dtype is torch.float64:
            raise TypeError(f"{func}: this device has no float64")
        return made


@pytest.mark.parametrize("kind", [Independent, LowRank, Modulated])
def test_a_fit_and_its_validation_need_no_float64(data: PatchData, kind: Any) -> None:
    data.prepare_data()
    data.setup()
    module = Overfit(kind(partial(build, "espcn", 2), 3))
    trainer = pl.Trainer(
        max_steps=2, limit_val_batches=1, logger=False, enable_checkpointing=False, **QUIET
    )
    with NoFloat64():
        module._apply(lambda tensor: tensor.clone())
        trainer.fit(module, datamodule=data)
        trainer.validate(module, datamodule=data, verbose=False)
    assert trainer.callback_metrics["val/psnr"].dtype is torch.float32


def patches(count: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(0)
    draw = partial(torch.randint, 0, 256, generator=generator, dtype=torch.uint8)
    return [
        {
            "lr": draw((8, 8, 3)),
            "hr": draw((16, 16, 3)),
            "chunk": torch.tensor(number % 3),
            "patch": torch.tensor(number),
        }
        for number in range(count)
    ]


def test_any_loader_of_batches_fits_any_sharing() -> None:
    """Patches of all chunks mixed in a batch, two epochs."""
    for sharing in (
        Single(partial(build, "espcn", 2), 3),
        Independent(partial(build, "espcn", 2), 3),
        Modulated(partial(build, "espcn", 2), 3),
        LowRank(partial(build, "espcn", 2), 3, rank=2),
    ):
        module = Overfit(sharing)
        trainer = pl.Trainer(max_epochs=2, logger=False, enable_checkpointing=False, **QUIET)
        trainer.fit(module, DataLoader(patches(12), batch_size=4, shuffle=True))
        assert trainer.global_step == 6 == module.steps
        again = Overfit(**described(sharing))
        again.load_state_dict(module.state_dict())


def test_hyper_parameters_name_what_is_known_and_nothing_else() -> None:
    sharing = LowRank(partial(build, "wdsr", 3, width=0.25, negative_slope=0.1), 4, 7, rank=3)
    told = described(sharing, partial(Muon, lr=0.05, momentum=0.9), partial(cosine, warmup=0.1))
    assert told["sharing"] == {
        "kind": "LowRank",
        "chunks": 4,
        "bicubic_chunks": 0,
        "rank": 3,
        "backbone": {
            "name": "wdsr", "scale": 3, "residual": "none", "negative_slope": 0.1, "width": 0.25,
        },
    }  # fmt: skip
    assert told["optimizer"] == {"kind": "Muon", "lr": 0.05, "momentum": 0.9}
    assert told["schedule"] == {"kind": "cosine", "warmup": 0.1}

    class Own(Single):
        pass

    assert described(Own(partial(build, "espcn", 2), 1))["sharing"] is None


@pytest.mark.parametrize(
    ("sharing", "said"),
    [
        (None, "the checkpoint does not describe it; load_from_checkpoint"),
        ({"kind": "os.system"}, "is not described as it must be"),
        ({"kind": "Single", "chunks": 1, "backbone": {"name": "x", "scale": 2}}, "backbone=x"),
        ({"kind": "Single", "rank": 1, "chunks": 1, "backbone": {"name": "espcn", "scale": 2}},
         "is not described as it must be"),
    ],
)  # fmt: skip
def test_a_strangers_description_is_one_line(sharing: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Overfit(sharing)
    with pytest.raises(UserError, match="optimizer=eval: must be one of Adam"):
        Overfit(build("espcn", 2), {"kind": "eval", "lr": 1})


def test_the_psnr_of_a_video_is_the_mean_of_its_frames_as_torchmetrics_has_it() -> None:
    from torchmetrics.image import PeakSignalNoiseRatio

    ours, theirs = VideoPsnr(), PeakSignalNoiseRatio(data_range=255.0, dim=(1, 2, 3))
    generator = torch.Generator().manual_seed(1)
    for spread in (2, 9, 60):
        hr = torch.randint(60, 190, (2, 20, 30, 3), generator=generator, dtype=torch.uint8)
        noise = torch.randint(-spread, spread + 1, hr.shape, generator=generator)
        sr = (hr.int() + noise).to(torch.uint8)
        ours.update(sr, hr)
        theirs.update(sr.double(), hr.double())
    assert float(ours.compute()) == pytest.approx(float(theirs.compute()), abs=1e-4)
