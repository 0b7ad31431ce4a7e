"""A fit with the online sampler: what it learns from, and what a resumed one does."""

from functools import partial

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from tiny_job import JOB, learnt, tiny_clip

from stdo.chunks.online import Online
from stdo.chunks.sample import Uniform
from stdo.chunks.split import by_time
from stdo.config.jobs import build_job
from stdo.config.trust import conf_dir
from stdo.core.types import UserError
from stdo.models.branched import Branched
from stdo.models.sharing import Independent, Single
from stdo.pipeline.online import check_online
from stdo.pipeline.steps import train
from stdo.runs.directory import CHECKPOINT, RESULT
from stdo.training.data import PatchBatches

ONLINE = partial(Online, batch=4, passes=2.5, seed=0)


def test_learns_from_the_patches_of_least_psnr(make_job) -> None:
    """Against a bare loop, which ranks by errors of its own."""
    job = make_job(split=by_time, sharing=Single, sampler=ONLINE)
    metrics = train(job)
    data, sharing = job.data, job.sharing(3)
    patches = data.labels.size
    batches = PatchBatches(
        data.video, data.grid, data.labels, Uniform(*[np.zeros(patches, np.int64)] * 2, batch=4,
        passes=1, seed=0), 0, 1,
    )  # fmt: skip
    network = sharing.backbone
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    steps = round(2.5 * patches / 4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    errors, row, passes = np.full(patches, np.inf), [], 0
    shown_C = np.zeros(3, int)
    for step in range(steps):
        while len(row) < 4 * (step + 1):
            members = np.arange(patches)
            if passes % 2:
                members = np.argsort(-errors, kind="stable")[: round(patches / 2)]
            row += np.random.default_rng((0, 0, passes)).permutation(members).tolist()
            passes += 1
        batch = batches.gather(np.array(row[4 * step : 4 * step + 4]))
        difference = network(batch["lr"].permute(0, 3, 1, 2) / 255)
        difference = difference - batch["hr"].permute(0, 3, 1, 2) / 255
        errors[row[4 * step : 4 * step + 4]] = difference.detach().square().mean((1, 2, 3))
        shown_C += np.bincount(batch["chunk"], minlength=3)
        optimizer.zero_grad()
        difference.abs().mean().backward()
        optimizer.step()
        schedule.step()
    assert metrics["chunk_presentations"] == shown_C.tolist()
    assert passes > 3 and len(set(shown_C.tolist())) > 1
    for name, value in network.state_dict().items():
        assert torch.allclose(learnt(job)[f"0.{name}"], value, rtol=1e-3, atol=2e-5), name


@pytest.mark.parametrize(
    ("sharing", "die_at"),
    [(Branched, 26), pytest.param(Independent, 7, marks=pytest.mark.slow)],
)
def test_a_killed_fit_goes_on_to_the_same_weights(
    make_job, monkeypatch: pytest.MonkeyPatch, sharing: type, die_at: int
) -> None:
    """In a pass over hard patches, which the errors before it have chosen."""
    parts = {"sharing": sharing, "sampler": ONLINE}
    straight = make_job("straight", **parts)
    expected = train(straight)

    killed = make_job("killed", checkpoint_seconds=0.0, **parts)
    with monkeypatch.context() as patch:
        read = PatchBatches.__getitem__

        def dying(self, step):
            if step == die_at:
                raise KeyError("killed")
            return read(self, step)

        patch.setattr(PatchBatches, "__getitem__", dying)
        with pytest.raises(KeyError):
            train(killed)
    assert (killed.directory / CHECKPOINT).exists() and not (killed.directory / RESULT).exists()
    resumed = make_job("killed", checkpoint_seconds=0.0, **parts)
    metrics = train(resumed)
    for key in ("chunk_presentations", "patch_presentations", "network_steps", "psnr"):
        assert metrics[key] == expected[key], key
    ours, theirs = learnt(resumed), learnt(straight)
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_a_fit_killed_after_its_last_step_counts_what_it_showed(
    make_job, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {"sharing": Single, "sampler": ONLINE, "checkpoint_seconds": 0.0}
    with monkeypatch.context() as patch:
        patch.setattr(
            "stdo.pipeline.fit.save", lambda *_: (_ for _ in ()).throw(KeyError("killed"))
        )
        with pytest.raises(KeyError):
            train(make_job(**parts))
    metrics = train(make_job(**parts))
    assert sum(metrics["chunk_presentations"]) == metrics["patch_presentations"]


def test_what_it_cannot_do_is_refused() -> None:
    online, uniform = ONLINE, partial(Uniform, batch=4, passes=1, seed=0)
    check_online(online, None, 1, None)
    check_online(uniform, uniform, 2, 5)
    for words, said in (
        ((uniform, online, 1, None), "sampler@init.sampler=online: must be"),
        ((online, None, 2, None), "trainer.devices: must be 1 with sampler=online, not 2"),
        ((online, None, 1, 3), "trainer.overfit_batches=3: must be left out"),
    ):
        with pytest.raises(UserError, match=said):
            check_online(*words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["+trainer.overfit_batches=2"], "^trainer.overfit_batches=2: must be left out"),
        (["init=warm", "sampler@init.sampler=online"], "^sampler@init.sampler=online: must be"),
    ],
)
def test_a_command_is_refused_before_decoding(tmp_path, words: list[str], said: str) -> None:
    config = [*JOB, "method=repcam", "trainer=cpu", f"paths.cache={tmp_path}/cache", *words]
    config += [f"video.path={tiny_clip(tmp_path / 'clip.mkv')}"]
    with initialize_config_dir(str(conf_dir().resolve()), version_base="1.3"):
        composed = compose("train", config)
    with pytest.raises(UserError, match=said):
        build_job(composed)
    assert not (tmp_path / "cache").exists()


def test_branches_begin_without_effect_on_weights_of_others(tmp_path) -> None:
    config = [*JOB, "method=repcam", "trainer=cpu", f"paths.cache={tmp_path}/cache"]
    config += [f"video.path={tiny_clip(tmp_path / 'clip.mkv')}", "backbone.network.init=paper"]
    with initialize_config_dir(str(conf_dir().resolve()), version_base="1.3"):
        inits = [
            build_job(compose("train", [*config, *words])).shared.keywords["init"]
            for words in ([], ["init=warm"])
        ]
    assert inits == ["paper", "bicubic"]
