"""What a package cannot hold is said before anything is decoded or trained."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from carried import Sound, film
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from tiny_job import JOB

from stdo.cli.train import _packable, task
from stdo.config.jobs import build_job
from stdo.config.trust import conf_dir
from stdo.core.types import UserError
from stdo.encoder.pack import Delivery, deliver
from stdo.encoder.plan import Planned, _check_ranges, check_run
from stdo.models.backbones.espcn import ESPCN
from stdo.models.backbones.vdsr import VDSR
from stdo.models.sharing import Independent, Single
from stdo.pipeline.steps import Job
from stdo.video.clip import Clip, PatchSize
from stdo.video.degrade import Degrade
from stdo.video.sample import GeneratedClip

TINY = [*JOB, "trainer=cpu", "trainer.precision=32-true"]


def configured(folder: Path, path: Path, *settings: str) -> DictConfig:
    places = [
        f"video.path={path}",
        f"paths.outputs={folder}/outputs",
        f"paths.cache={folder}/cache",
    ]
    with initialize_config_dir(str(conf_dir().resolve()), version_base="1.3"):
        return compose("train", [*TINY, *places, *settings])


def wide(path: Path, width: int = 16_400, height: int = 64) -> Path:
    """Two pictures of a size without sound, losslessly coded, so that any size goes."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("ffv1", rate=10)
        video.width, video.height, video.pix_fmt = width, height, "bgr0"
        for value in (10, 200):
            picture = np.full((height, width, 3), value, np.uint8)
            out.mux(
                video.encode(av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="bgr0"))
            )
        out.mux(video.encode(None))
    return path


@pytest.mark.slow
def test_settings_that_no_package_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["chunks=600", "method=stdo", "patches.height=4", "patches.width=4"]
    said = (
        "chunks: 600 networks of espcn have 36391200 weights: "
        "in a package they must have at most 33554432"
    )
    path = film(tmp_path / "film.mkv", [Sound("aac")])
    with pytest.raises(UserError, match=said) as refused:
        task(configured(tmp_path, path, *settings, "deliver=true"))
    assert "\n" not in str(refused.value) and "manifest" not in str(refused.value)
    assert not (tmp_path / "outputs").exists() and not (tmp_path / "cache").exists()
    config = configured(tmp_path, path, *settings)
    _packable(build_job(config), config)
    assert f"note: this run cannot be packed: {said}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("width", "height", "said"),
    [
        (
            16_400,
            64,
            "16400x64 pixels: in a package each side must be a whole number from 1 to 16384",
        ),
        pytest.param(
            8_640,
            4_320,
            "8640x4320 pixels: in a package a frame must have at most 33554432 pixels",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_video_that_no_package_holds(
    width: int, height: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = wide(tmp_path / "wide.mkv", width, height)
    with pytest.raises(UserError, match=said) as refused:
        task(configured(tmp_path, path, "deliver=true"))
    assert str(refused.value).startswith(f"video.path={path}: ")
    assert not (tmp_path / "outputs").exists() and not (tmp_path / "cache").exists()
    config = configured(tmp_path, path)
    _packable(build_job(config), config)
    assert said in capsys.readouterr().err
    (way_out,) = [word for word in str(refused.value).split() if word.startswith("video.height=")]
    config = configured(tmp_path, path, way_out, "deliver=true")
    _packable(build_job(config), config)


def patched(folder: Path, width: int, height: int, patches: PatchSize) -> Clip:
    """One frame of a size, cut into patches; nothing is drawn or decoded."""
    return Clip(GeneratedClip(width=width, height=height, frames=1), Degrade(2), patches, folder)


def test_the_halo_that_is_named_is_the_largest(tmp_path: Path) -> None:
    networks = Planned(ESPCN(2), 1, (0,))
    _check_ranges(patched(tmp_path, 64, 48, PatchSize(12, 16, 1017)), networks, 8)
    with pytest.raises(UserError, match="patches.halo=1018: in a package it must be 1017 or less"):
        _check_ranges(patched(tmp_path, 64, 48, PatchSize(12, 16, 1018)), networks, 8)


def test_patches_that_players_refuse_to_compute(tmp_path: Path) -> None:
    clip = patched(tmp_path, 2048, 1024, PatchSize(512, 1024))
    with pytest.raises(UserError, match=r"patches\.height=512 .*players cannot compute vdsr"):
        check_run(clip, Planned(VDSR(2), 1, (0,)), 8)


def test_what_goes_with_the_picture_is_told_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = film(tmp_path / "film.flv", [Sound("nellymoser", 22_050)], codec="flv1")
    config = configured(tmp_path, path, "deliver=true")
    told = _packable(build_job(config), config)
    (note,) = told
    assert "nellymoser" in note and f"note: {note}\n" in capsys.readouterr().err


@pytest.mark.parametrize("sharing", [Single, Independent])
@pytest.mark.parametrize(("chunks", "bicubic"), [(1, 0), (5, 0), (5, 2), (5, 4)])
def test_networks_are_counted_without_being_built(
    sharing: type, chunks: int, bicubic: int, make_job: Callable[..., Job]
) -> None:
    job = make_job(sharing=sharing)

    def made(count: int) -> object:
        return job.shared(job.backbone, count, bicubic_chunks=bicubic)

    real = made(chunks)
    expected = Planned.expected(made, chunks, bicubic)
    assert expected.count == real.networks
    assert expected.network_of == tuple(np.unique(real.network_of(np.arange(chunks))).tolist())
    shapes = tuple(
        (name, tuple(tensor.shape)) for name, tensor in real.network(0).state_dict().items()
    )
    assert expected.told.params == shapes


def test_deliver_looks_before_it_works(finished_job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stdo.package.source.MAX_PIXELS", 60)
    monkeypatch.setattr("stdo.encoder.pack.write_stream", None)
    with pytest.raises(
        UserError, match="70x50 pixels: in a package a frame must have at most 60 pixels"
    ):
        deliver(finished_job.directory, finished_job.data.clip, Delivery())


def test_frames_that_cost_more_than_players_compute_are_refused(tmp_path: Path) -> None:
    clip = patched(tmp_path, 7680, 4320, PatchSize(270, 480))
    with pytest.raises(
        UserError,
        match=r"backbone=vdsr: .* multiply-accumulates for a frame of 7680x4320: .* at most",
    ):
        check_run(clip, Planned(VDSR(2), 1, (0,)), 8)
    check_run(clip, Planned(ESPCN(2), 1, (0,)), 8)
