"""Run directories from strangers: nothing in them runs, imports, reads the environment or fills the
memory."""

import json
import os
import pickle
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from stdo.cli.deliver import main as deliver
from stdo.cli.evaluate import main as evaluate
from stdo.cli.export import main as export
from stdo.config.clips import clip_of
from stdo.config.trust import load_config
from stdo.core.types import UserError
from stdo.models.pretrained import PretrainedUpscaler
from stdo.models.weights import load_networks, load_parts, read_safetensors
from stdo.pipeline.steps import Job, train
from stdo.pipeline.steps import evaluate as run_again
from stdo.runs.directory import claimed, read_chunks
from stdo.video.store import cached_array


@pytest.fixture
def sent(finished_runs: Path, tmp_path: Path) -> Path:
    """A run directory of somebody else's."""
    run = sorted(finished_runs.glob("*/stdo-*"))[0]
    shutil.copytree(run, tmp_path / "sent")
    return tmp_path / "sent"


def changed(run: Path, place: str, value: object) -> None:
    config = OmegaConf.load(run / "config.yaml")
    OmegaConf.update(config, place, value, merge=False, force_add=True)
    (run / "config.yaml").write_text(OmegaConf.to_yaml(config))


FOREIGN = {
    "os.system": ("video", {"_target_": "os.system", "command": "touch ran"}),
    "ours, in another place": ("degrade._target_", "stdo.models.pretrained.PretrainedUpscaler"),
    "through ours": ("video._target_", "stdo.core.files.os.system"),
    "a trusted library's": ("video._target_", "pytorch_lightning.core.saving.pl_load"),
    "nested": ("video.path", {"_target_": "os.system", "_args_": ["touch ran"]}),
    "deep in a list": ("degrade.crf", [{"x": [{"_target_": "builtins.exec"}]}]),
    "a partial": ("patches", {"_target_": "builtins.eval", "_partial_": True, "_args_": ["1"]}),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_conf_does_not_name_is_not_built(kind: str, sent: Path) -> None:
    changed(sent, *FOREIGN[kind])
    with pytest.raises(UserError, match=r"^run=.*config.yaml: .*(_target_|degrade.crf)=") as caught:
        clip_of(sent)
    assert "\n" not in str(caught.value)
    assert not list(sent.parent.rglob("ran"))


ODD_PARTS = {
    "a number": {"video": 5},
    "a list": {"video": [1]},
    "nothing": {"degrade": None},
    "paths that are none": {"paths": 3},
    "no paths": {"paths": {}},
    "no class": {"video": {"path": "a"}},
    "no settings": {"patches": {}},
    "a class that is a list": {"video._target_": ["stdo.video.sample.open_video"]},
    "a class that is a number": {"degrade._target_": 5},
    "one setting more": {"patches.evil": 1},
    "half built": {"patches._partial_": True},
    "more arguments": {"patches._args_": [1, 2, 3, 4]},
    "another way of Hydra's": {"video._recursive_": 7},
    "several paths": {"video.path": ["a"]},
    "another scale": {"degrade.scale": 3},
    "a vast patch": {"patches.height": 10**9},
}


@pytest.mark.parametrize("kind", ODD_PARTS)
def test_an_odd_part_is_one_line(
    kind: str, sent: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for place, value in ODD_PARTS[kind].items():
        changed(sent, place, value)
    refused(evaluate, sent, monkeypatch, capsys)
    refused(deliver, sent, monkeypatch, capsys)
    assert not list(sent.parent.rglob("ran"))


NEVER = {
    "scorer": {"name": "network", "measure": {"_target_": "os.system", "command": "touch ran"}},
    "optim.optimizer": {"_target_": "os.system"},
    "trainer._target_": "os.system",
    "logger": {"_target_": "os.system"},
    "backbone.network.init": [{"x": [{"_target_": "builtins.exec"}]}],
    "chunking.split": {"_target_": "builtins.eval", "_partial_": True, "_args_": ["1"]},
    "sampler._target_": "pytorch_lightning.core.saving.pl_load",
    "evil": {"_target_": "stdo.video.sample.open_video"},
}


@pytest.mark.parametrize("place", NEVER)
def test_what_scores_and_trains_is_never_built(
    place: str, sent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed(sent, place, NEVER[place])
    monkeypatch.chdir(sent.parent)
    assert run_again(sent, clip_of(sent))["psnr"]["frame"] > 15
    assert not (sent.parent / "ran").exists()


TEXTS = {
    "the environment": "${oc.env:SECRET}",
    "the environment, if it is there": "a${oc.env:SECRET,none}b",
    "another setting": "${paths.cache}",
    "made up": "${pick:${x},1}",
    "escaped": "\\${oc.env:SECRET}",
}


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("place", ["name", "video.path", "paths.cache", "study"])
def test_a_sent_configuration_reads_no_environment(
    kind: str,
    place: str,
    sent: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SECRET", "hush-hush")
    raw = OmegaConf.to_container(OmegaConf.load(sent / "config.yaml"), resolve=False)
    node = raw
    for part in place.split(".")[:-1]:
        node = node[part]
    node[place.rsplit(".", maxsplit=1)[-1]] = TEXTS[kind]
    (sent / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(raw)))
    for entry in (evaluate, export):
        said = refused(entry, sent, monkeypatch, capsys)
        assert "must be plain values" in said and "hush-hush" not in said


def refused(
    entry: Callable[[], None],
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> str:
    monkeypatch.chdir(run.parent)
    monkeypatch.setattr(
        sys, "argv", ["stdo", f"run={run}", *(["format=onnx"] if entry is export else [])]
    )
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit) as stopped:
        entry()
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("stdo: ")
    return line


LINKS = ["crops", "network-0", "network-7", "checkpoints", "wandb", "tensorboard", "sr",
         "sr.mp4", "curves.csv", "clip.stdo", ".lock", "network-1/crops", "wandb/run-1",
         "anything"]  # fmt: skip


@pytest.mark.parametrize("place", LINKS)
@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_nothing_is_written_through_a_link(
    place: str,
    kind: str,
    sent: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    private = sent.parent / "private"
    private.mkdir()
    (private / "crops.json").write_text("mine")
    path = sent / place
    path.parent.mkdir(exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(private) if kind == "link" else os.mkfifo(path)
    for entry in (evaluate, export):
        said = refused(entry, sent, monkeypatch, capsys)
        assert (
            path.name in said
            and ("is a symbolic link" if kind == "link" else "is no regular file") in said
        )
    with pytest.raises(UserError, match=path.name), claimed(sent):
        pass
    assert [(each.name, each.read_text()) for each in private.iterdir()] == [("crops.json", "mine")]


def test_links_of_wandb_stay(sent: Path) -> None:
    (sent / "wandb" / "run-1").mkdir(parents=True)
    (sent / "wandb" / "latest-run").symlink_to("run-1")
    (sent / "wandb" / "debug.log").symlink_to("run-1")
    (sent / "wandb" / "run-1" / "files").symlink_to(".")
    with claimed(sent):
        pass


def chunks_with(run: Path, **changed: object) -> None:
    with np.load(run / "chunks.npz") as stored:
        arrays = dict(stored)
    np.savez_compressed(
        run / "chunks.npz", **{key: np.asarray(value) for key, value in (arrays | changed).items()}
    )


NUMBERS: dict[str, dict[str, object]] = {
    "a network that is far away": {"network_of": [2**40, 1]},
    "the next network": {"network_of": [0, 2]},
    "a negative network": {"network_of": [0, -2]},
    "networks that are no numbers": {"network_of": [0.5, 1.0]},
    "no chunk": {"network_of": np.zeros(0, np.int64)},
    "a chunk that is not there": {"labels": np.full((6, 3, 3), 2, np.int16)},
    "a negative chunk": {"labels": np.full((6, 3, 3), -1, np.int16)},
    "labels in a row": {"labels": np.zeros(54, np.int16)},
    "labels of another video": {"labels": np.zeros((7, 3, 3), np.int16)},
    "labels of other patches": {"labels": np.zeros((6, 3, 2), np.int16)},
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_a_number_that_leads_nowhere_is_refused(
    kind: str, sent: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with np.load(sent / "chunks.npz") as stored:
        assert (stored["labels"].shape, len(stored["network_of"])) == ((6, 3, 3), 2), (
            "the table above is of this run"
        )
    chunks_with(sent, **NUMBERS[kind])
    monkeypatch.chdir(sent.parent)
    monkeypatch.setattr(sys, "argv", ["stdo", f"run={sent}"])
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit) as stopped:
        evaluate()
    assert stopped.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("stdo: ") and "chunks.npz: " in said


FACTS = {
    "none": None,
    "no JSON": "{",
    "a list": "[]",
    "a device that is none": {"device": "evil"},
    "seconds that are a text": {"train_seconds": "1"},
    "no method": {"method": None},
}


@pytest.mark.parametrize("kind", FACTS)
@pytest.mark.parametrize("before", [False, True])
def test_the_facts_of_a_run_are_checked(kind: str, before: bool, sent: Path) -> None:
    """Those of facts.json; runs of before have them in the metadata of their weights."""
    facts = json.loads((sent / "facts.json").read_text(encoding="utf-8"))
    odd = FACTS[kind]
    content = json.dumps(facts | odd) if isinstance(odd, dict) else str(odd)
    (sent / "facts.json").write_text(content, encoding="utf-8")
    if before:
        (sent / "facts.json").unlink()
        tensors, meta = read_safetensors(sent / "weights.safetensors")
        safetensors.torch.save_file(
            tensors, sent / "weights.safetensors", meta | {"facts": content}
        )
    where = r"weights\.safetensors: facts" if before else r"facts\.json"
    with pytest.raises(UserError, match=where) as caught:
        run_again(sent, clip_of(sent))
    assert "\n" not in str(caught.value)


ODD_WEIGHTS: dict[str, Callable[[Path], object]] = {
    "a FIFO": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "terabytes": lambda path: (path.touch(), os.truncate(path, 1 << 41)),
    "a header without end": lambda path: path.write_bytes(b"\xff" * 7 + b"\x7f{"),
    "many networks": lambda path: safetensors.torch.save_file(
        {}, path, {"backbone": "espcn", "scale": "2", "networks": "9" * 30}
    ),
    "a large scale": lambda path: safetensors.torch.save_file(
        {}, path, {"backbone": "espcn", "scale": "9" * 9, "networks": "1"}
    ),
    "a large backbone": lambda path: safetensors.torch.save_file(
        {},
        path,
        {
            "backbone": "ecbsr",
            "scale": "2",
            "networks": "1",
            "settings": '{"channels": 1000000000}',
        },
    ),
}


@pytest.mark.parametrize("kind", ODD_WEIGHTS)
def test_odd_weights_are_refused_at_once(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    ODD_WEIGHTS[kind](path)
    for load in (load_networks, load_parts):
        began = time.monotonic()
        with pytest.raises(UserError) as caught:
            load(path)
        assert "\n" not in str(caught.value)
        assert time.monotonic() - began < 5


LAUGHS = "a: &a [x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    ["!!python/object/apply:os.system ['touch ran']", "a: !!python/name:os.system", LAUGHS,
     "[" * 900, "a: b: c", "- 1", "\0", "a: 1\na: 2", "", "3", "-.inf", "text", "patches: 3",
     "1: " + "9" * 4000],
)  # fmt: skip
def test_a_configuration_that_is_none_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match="run=") as caught:
        load_config(tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("ran"))


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def pickles(folder: Path, ran: Path) -> list[Path]:
    """The same bomb plain, as PyTorch writes it, as NumPy does, and inside of an NPZ."""
    folder.mkdir()
    (folder / "plain").write_bytes(pickle.dumps({"state_dict": Bomb(ran)}))
    torch.save({"state_dict": Bomb(ran), "epoch": 0}, folder / "torch")
    with (folder / "npy").open("wb") as file:
        np.save(file, np.array([Bomb(ran)], object))
    with (folder / "npz").open("wb") as file:
        np.savez(
            file, labels=np.array([Bomb(ran)], object), network_of=np.array([Bomb(ran)], object)
        )
    return sorted(folder.iterdir())


def test_the_bombs_are_live(tmp_path: Path) -> None:
    pickles(tmp_path / "bombs", tmp_path / "ran")
    pickle.loads((tmp_path / "bombs" / "plain").read_bytes())
    assert (tmp_path / "ran").exists()


PLACES: dict[str, Callable[[Path], object]] = {
    "weights.safetensors": load_networks,
    "the same, to deliver": load_parts,
    "scorer.weights, PyTorch": lambda path: PretrainedUpscaler(
        str(path.rename(path.with_suffix(".pt"))), "espcn", 2
    ),
    "scorer.weights, safetensors": lambda path: PretrainedUpscaler(
        str(path.rename(path.with_suffix(".safetensors"))), "espcn", 2
    ),
    "chunks.npz": lambda path: read_chunks(path.rename(path.with_name("chunks.npz")).parent),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_pickle_in_place_of_weights_is_refused_and_does_not_run(
    place: str, tmp_path: Path
) -> None:
    for bomb in pickles(tmp_path / "bombs", tmp_path / "ran"):
        with pytest.raises(UserError) as caught:
            PLACES[place](bomb)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "ran").exists()


def test_a_pickle_in_place_of_a_checkpoint_is_refused_and_does_not_run(
    make_job: Callable[..., Job], tmp_path: Path
) -> None:
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    for bomb in pickles(tmp_path / "bombs", tmp_path / "ran"):
        last.parent.mkdir(parents=True, exist_ok=True)
        bomb.rename(last)
        with pytest.raises(UserError, match=r"last\.ckpt") as caught:
            train(replace(make_job(), command=["train.py"]))
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "ran").exists()


def test_a_pickle_in_place_of_scores_is_made_anew(tmp_path: Path) -> None:
    for bomb in pickles(tmp_path / "bombs", tmp_path / "ran"):
        scores = tmp_path / "scores.npy"
        bomb.rename(scores)
        assert cached_array(scores, lambda: np.arange(3)).tolist() == [0, 1, 2]
        assert np.load(scores).tolist() == [0, 1, 2]
        assert not (tmp_path / "ran").exists()
