"""What W&B is told, read back from its own offline files; and that it asks nothing and falls back
to offline."""

import os
import platform
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import pytorch_lightning as pl
import wandb
import yaml
from wandb.wandb_agent import Agent
from wandb_file import offline_runs

from stdo.core.signals import Stopped
from stdo.core.types import UserError
from stdo.pipeline.steps import train
from stdo.runs.tracking.curves import read_curve
from stdo.runs.tracking.summary import figures, frame_table
from stdo.runs.tracking.tracker import forget, tracked
from stdo.runs.tracking.wandb_run import WandbTracker
from stdo.runs.tracking.wandb_told import OURS, told_to_wandb
from stdo.video.sample import GeneratedClip
from stdo.video.writer import VideoWriter

FACTS = {
    "video": "tiny",
    "method": "stdo",
    "backbone": "espcn",
    "scale": 2,
    "chunks": 3,
    "study": "mine",
}
KEY = "0" * 40
PAGE = Path(__file__).parents[2] / "docs" / "tracking.md"


@pytest.fixture(autouse=True)
def no_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine on which nobody has ever used W&B."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "home" / ".netrc"))
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    wandb.teardown()
    yield
    wandb.teardown()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A W&B server that refuses every key; the paths it was asked for."""
    asked: list[str] = []

    class Refuse(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.send_response(401)
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refuse) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{serving.server_address[1]}")
        yield asked
        serving.shutdown()


def tracker(**settings):
    return partial(WandbTracker, config={"scale": 2, "optim": {"lr": 0.1}}, **settings)


def git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


class TestOffline:
    def test_holds_all_there_is_to_know(
        self, make_job, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        words = ["/somewhere/train.py", "scale=2", "name=a b"]
        job = make_job(facts=FACTS, tracker=tracker(tags=["mine too"]), passes=3.0, command=words)
        metrics = train(job)
        said = [
            line for line in capfd.readouterr().err.splitlines() if "W&B" in line or "wandb" in line
        ]
        assert len(said) == 1
        assert "offline (no API key" in said[0]
        (logged,) = offline_runs(job.directory)

        assert (logged.run.project, logged.run.run_group, logged.run.job_type) == (
            "stdo",
            "mine",
            "stdo",
        )
        assert (logged.run.display_name, logged.exit) == ("run", 0)
        assert set(logged.run.tags) == {"stdo", "espcn", "x2", "k3", "mine too"}
        assert logged.config["optim"] == {"lr": 0.1}
        assert logged.config["facts"] == FACTS
        assert not logged.run.git.commit
        told = logged.config["provenance"]
        if (PAGE.parents[1] / ".git").exists():
            assert told["commit"] == git("rev-parse", "HEAD")
            assert told["dirty"] == bool(git("diff", "HEAD"))
        assert told["machine"]["system"] == platform.platform()
        assert told["command"] == "python -m stdo.train scale=2 'name=a b'"
        assert "diff" not in told
        assert logged.config["device"] == "cpu"

        curve = [
            {"step": row["_step"]} | {k[6:]: v for k, v in row.items() if k[:6] == "train/"}
            for row in logged.curve()
        ]
        assert curve == [
            pytest.approx(row, rel=1e-6) for row in read_curve(job.directory / "curves.csv")
        ]
        shown = figures(metrics)
        assert {
            "psnr/cafm_frame",
            "bicubic/psnr/stdo_patch",
            "gain/pooled",
            "seconds/train",
            "ssim",
        } < set(shown)
        assert {key: logged.summary[key] for key in shown} == shown

        columns, rows = logged.table("tables/frames")
        assert [dict(zip(columns, row, strict=True)) for row in rows] == frame_table(job.directory)
        columns, rows = logged.table("tables/chunks")
        assert [dict(zip(columns, row, strict=True))["psnr"] for row in rows] == metrics[
            "chunk_psnr"
        ]
        for name in ("heatmap", "comparison"):
            (picture,) = (logged.files / "media/images/pictures").glob(f"{name}_*.png")
            assert picture.read_bytes() == (job.directory / f"{name}.png").read_bytes()
        for name in ("truth", "bicubic", "ours"):
            kept = {
                path.read_bytes()
                for path in (logged.files / "media/images/crops").glob(f"{name}_*.png")
            }
            assert kept == {
                path.read_bytes() for path in (job.directory / "crops").glob(f"*-{name}.png")
            }

        assert {artifact.type for artifact in logged.artifacts} == {"run_table"}, (
            "weights stay here unless asked for"
        )
        assert not (tmp_path / "wandb").exists()
        assert not (tmp_path / "home/.local").exists()
        train(job)
        assert len(offline_runs(job.directory)) == 1, "a result is told once"

    def test_a_resumed_run_keeps_its_id(
        self, make_job, trainer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Interrupt(pl.Callback):
            def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
                if trainer.global_step >= 14:
                    raise Stopped(signal.SIGINT)

        def interrupted(callbacks, **settings) -> pl.Trainer:
            return trainer(callbacks=[*callbacks, Interrupt()], **settings)

        monkeypatch.setattr(
            "stdo.pipeline.steps.evaluate", lambda directory, clip, prepare_seconds, metrics: {}
        )
        same = {"facts": FACTS, "passes": 5.0, "checkpoint_seconds": 0, "tracker": tracker()}
        with pytest.raises(Stopped):
            train(make_job(trainer=interrupted, **same))
        assert wandb.run is None
        time.sleep(1)  # W&B names its folders by the second
        job = make_job(**same)
        train(job)
        first, second = offline_runs(job.directory)
        assert first.run.run_id == second.run.run_id
        assert (first.exit, second.exit) == (1, 0)
        steps = [row["_step"] for run in (first, second) for row in run.curve()]
        assert steps == [row["step"] for row in read_curve(job.directory / "curves.csv")]

    def test_jobs_of_one_process_are_runs_of_their_own(
        self, make_job, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "stdo.pipeline.steps.evaluate", lambda directory, clip, prepare_seconds, metrics: {}
        )
        jobs = [
            make_job(name, facts=FACTS, passes=0.3, tracker=tracker()) for name in ("one", "two")
        ]
        for job in jobs:
            train(job)
            assert wandb.run is None
        one, two = ((logged,) for logged in (offline_runs(job.directory)[0] for job in jobs))
        assert one[0].run.run_id != two[0].run.run_id
        assert [run.exit for run in (*one, *two)] == [0, 0]

    def test_a_run_that_was_trained_with_another_logger_comes_with_its_curve(
        self, make_job
    ) -> None:
        train(make_job(facts=FACTS, passes=3.0))
        job = make_job(facts=FACTS, passes=3.0, tracker=tracker(artifact=True, group="other"))
        train(job)
        (logged,) = offline_runs(job.directory)
        assert logged.run.run_group == "other"
        assert [row["_step"] for row in logged.curve()] == [
            row["step"] for row in read_curve(job.directory / "curves.csv")
        ]
        (weights,) = [artifact for artifact in logged.artifacts if artifact.type == "model"]
        assert {entry.path for entry in weights.manifest.contents} == {
            "weights.safetensors",
            "chunks.npz",
        }

    def test_another_project_and_a_new_beginning_are_other_runs(self, tmp_path: Path) -> None:
        def started(**settings) -> str:
            one = WandbTracker(tmp_path, FACTS, {}, **settings)
            return one._start["id"]

        first = started()
        assert started() == first
        assert started(project="other") != first
        again = started()
        forget(tmp_path)
        assert started() not in (again, first)


class TestMultirun:
    ALONE = FACTS | {"study": None}

    def group(self, directory: Path, facts=ALONE, name="2026-11-28_10-00-00", **settings) -> str:
        return WandbTracker(directory, facts, {"multirun": name}, **settings)._start["group"]

    def test_is_the_group_where_there_is_no_other(self, tmp_path: Path, monkeypatch) -> None:
        assert self.group(tmp_path / "a") == "2026-11-28_10-00-00"
        assert self.group(tmp_path / "b", FACTS) == "mine"
        assert self.group(tmp_path / "c", name=None) is None
        monkeypatch.setenv("WANDB_RUN_GROUP", "theirs")
        assert self.group(tmp_path / "d") == "theirs"
        assert self.group(tmp_path / "e", group="given") == "given"

    def test_a_run_keeps_its_group_when_the_multirun_is_started_again(self, tmp_path: Path) -> None:
        self.group(tmp_path)
        assert self.group(tmp_path, name="2026-11-28_11-00-00") == "2026-11-28_10-00-00"

    def test_has_more_runs_than_one_id(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setenv("WANDB_RUN_ID", "one")
        with pytest.raises(UserError, match="^WANDB_RUN_ID=one: is the id of one run, and"):
            self.group(tmp_path)


class TestAgent:
    """``wandb agent`` tells its runs by the environment."""

    @pytest.fixture(autouse=True)
    def sweep(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in {
            "SWEEP_ID": "s1", "RUN_ID": "r1", "PROJECT": "theirs", "ENTITY": "team",
        }.items():  # fmt: skip
            monkeypatch.setenv(f"WANDB_{name}", value)

    def test_its_run_id_project_and_entity_win(self, tmp_path: Path, capsys) -> None:
        start = WandbTracker(tmp_path, FACTS, {}, project="mine", entity="me")._start
        assert (start["id"], start["project"], start["entity"]) == ("r1", "theirs", "team")
        assert capsys.readouterr().err.splitlines() == [
            "note: logger.project=mine is not used: W&B's sweep s1 has theirs",
            "note: logger.entity=me is not used: W&B's sweep s1 has team",
        ]

    def test_a_run_that_the_sweep_draws_again_is_told_as_another(
        self, tmp_path: Path, monkeypatch
    ) -> None:
        first = WandbTracker(tmp_path, FACTS, {})
        first._memory.keep_told({"psnr": 1})
        assert WandbTracker(tmp_path, FACTS, {})._memory.told({"psnr": 1})
        monkeypatch.setenv("WANDB_RUN_ID", "r2")
        assert not WandbTracker(tmp_path, FACTS, {})._memory.told({"psnr": 1})


DAMAGED = {
    "mode = disabled\n": r"damaged \(no line \[default\] before line 1\)",
    "[default]\nmode disabled\n": r"damaged \(line 2 is no setting\)",
    "[default]\nmode = offline\nmode = online\n": r"damaged \(.*line 3.*already exists\)",
    "[other]\nmode = disabled\n": r"damaged \(no line \[default\]\)",
    "[default]\nproject = 50%off\n": r"damaged \('%' must be followed",
    "[default]\nmode = nonsense\n": "W&B's setting mode=nonsense: Input should be 'online'",
    "[default]\nmoode = offline\n": "W&B's setting moode=offline: Extra inputs",
    "[default]\nproject = a/b\n": "W&B's Invalid project name 'a/b'",
    b"\xff\xfe[default]\n": r"damaged \(no text\)",
    None: r"cannot be read \(Is a directory\)",
}


class TestSettingsFiles:
    @pytest.mark.parametrize("place", ["wandb/settings", "home/.config/wandb/settings"])
    @pytest.mark.parametrize("content", DAMAGED, ids=repr)
    def test_a_damaged_one_is_one_line(
        self, content, place, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        file = tmp_path / place
        if content is None:
            file.mkdir(parents=True)
        else:
            file.parent.mkdir(parents=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(UserError, match=f"^{re.escape(str(file))}: {DAMAGED[content]}") as said:
            told_to_wandb()
        assert "\n" not in str(said.value)
        assert capfd.readouterr() == ("", ""), "W&B prints nothing beside it"

    @pytest.mark.parametrize("content", ["", "[default]\n", "; a remark\n"])
    def test_an_empty_one_says_nothing(self, content, tmp_path: Path) -> None:
        (tmp_path / "wandb").mkdir()
        (tmp_path / "wandb" / "settings").write_text(content)
        assert told_to_wandb() == {}

    @pytest.mark.slow
    def test_what_the_command_wandb_disabled_writes_is_respected(
        self, tmp_path: Path, capsys
    ) -> None:
        subprocess.run([sys.executable, "-m", "wandb", "disabled"], check=True, timeout=60)
        with tracked(tracker(), tmp_path / "run", FACTS) as one:
            assert one.loggers() == []
        assert "W&B: disabled (mode = disabled in" in capsys.readouterr().err


def settings_file(path: Path, **settings: str) -> Path:
    """As ``wandb offline`` and its like write it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "[default]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()),
        encoding="utf-8",
    )
    return path


TOLD = {
    "project": ("WANDB_PROJECT", "theirs", lambda run: run.project, "stdo"),
    "entity": ("WANDB_ENTITY", "team", lambda run: run.entity, ""),
    "run_name": ("WANDB_NAME", "a name", lambda run: run.display_name, "run"),
    "run_group": ("WANDB_RUN_GROUP", "a group", lambda run: run.run_group, "mine"),
    "run_job_type": ("WANDB_JOB_TYPE", "a type", lambda run: run.job_type, "stdo"),
    "run_notes": ("WANDB_NOTES", "a note", lambda run: run.notes, ""),
}


class TestTold:
    """What the user has told W&B in its own ways beats our defaults, and is beaten by settings of
    ours."""

    def logged(self, directory: Path, **settings):
        one = WandbTracker(directory, FACTS, {}, mode="offline", **settings)
        one.loggers()
        one.close(failed=False)
        (found,) = offline_runs(directory)
        return found.run

    def test_nothing(self, tmp_path: Path) -> None:
        run = self.logged(tmp_path / "run")
        assert {name: read(run) for name, (_, _, read, _) in TOLD.items()} == {
            name: default for name, (_, _, _, default) in TOLD.items()
        }

    def test_the_environment(self, tmp_path: Path, monkeypatch) -> None:
        for variable, value, _, _ in TOLD.values():
            monkeypatch.setenv(variable, value)
        monkeypatch.setenv("WANDB_TAGS", "x,y")
        run = self.logged(tmp_path / "run", tags=["z"])
        assert [read(run) for _, _, read, _ in TOLD.values()] == [
            value for _, value, _, _ in TOLD.values()
        ]
        assert set(run.tags) == {"stdo", "espcn", "x2", "k3", "x", "y", "z"}

    @pytest.mark.parametrize("place", ["wandb/settings", "home/.config/wandb/settings"])
    def test_settings_files(self, place: str, tmp_path: Path) -> None:
        settings_file(tmp_path / place, **{name: value for name, (_, value, _, _) in TOLD.items()})
        run = self.logged(tmp_path / "run")
        assert [read(run) for _, _, read, _ in TOLD.values()] == [
            value for _, value, _, _ in TOLD.values()
        ]

    def test_settings_of_ours_that_are_given(self, tmp_path: Path, monkeypatch) -> None:
        for variable in ("WANDB_PROJECT", "WANDB_ENTITY", "WANDB_RUN_GROUP"):
            monkeypatch.setenv(variable, "theirs")
        settings_file(tmp_path / "wandb" / "settings", project="files")
        run = self.logged(tmp_path / "run", project="given", entity="given", group="given")
        assert (run.project, run.entity, run.run_group) == ("given",) * 3

    def test_where(self, tmp_path: Path, monkeypatch, capsys) -> None:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.setenv("WANDB_DIR", str(tmp_path / "elsewhere"))
        one = WandbTracker(tmp_path / "run", FACTS, {}, mode="offline")
        one.loggers()
        one.close(failed=False)
        (folder,) = (tmp_path / "elsewhere" / "wandb").glob("offline-run-*")
        said = capsys.readouterr().err.strip()
        assert folder.match(said.rpartition("/")[2]) and str(folder.parent) in said
        assert [path.name for path in (tmp_path / "run" / "wandb").iterdir()] == ["stdo.json"], (
            "the run's id alone"
        )

    def test_which_run_as_wandbs_own_agents_do(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setenv("WANDB_RUN_ID", "abc123")
        assert self.logged(tmp_path / "run").run_id == "abc123"

    def test_how_it_works(self, monkeypatch) -> None:
        monkeypatch.setenv("WANDB_CONSOLE", "wrap")
        monkeypatch.setenv("WANDB_DISABLE_GIT", "false")
        told = told_to_wandb()
        assert {name for name in OURS if name in told} == {"console", "disable_git"}
        assert "silent" in OURS and "silent" not in told


class TestMode:
    def start(self, directory: Path, **settings) -> None:
        one = WandbTracker(directory, FACTS, {}, **settings)
        one.loggers()
        one.close(failed=False)
        assert len(offline_runs(directory)) == 1

    def test_without_an_account_nothing_is_sent(self, tmp_path: Path, server: list[str]) -> None:
        self.start(tmp_path)
        assert server == []

    def test_no_network(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
        self.start(tmp_path)
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(
            "W&B: offline (no answer from http://127.0.0.1:9); send it with: wandb sync "
        )

    def test_a_refused_key(self, tmp_path: Path, monkeypatch, capsys, server: list[str]) -> None:
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        self.start(tmp_path)
        assert "401" in capsys.readouterr().err
        assert server

    @pytest.mark.parametrize(
        ("key", "said"), [(None, "no API key"), ("short", "WANDB_API_KEY invalid"), (KEY, "401")]
    )
    def test_online_that_cannot_be_had_is_a_mistake(
        self, tmp_path: Path, monkeypatch, server, key, said
    ) -> None:
        if key:
            monkeypatch.setenv("WANDB_API_KEY", key)
        message = f"logger.mode=online: .*{said}.*; use logger.mode=auto or offline"
        with (
            pytest.raises(UserError, match=message),
            tracked(tracker(mode="online"), tmp_path, FACTS) as one,
        ):
            one.loggers()

    def test_the_environment_decides_where_nothing_was_set(
        self, tmp_path: Path, monkeypatch, capsys
    ) -> None:
        monkeypatch.setenv("WANDB_MODE", "offline")
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        self.start(tmp_path)
        assert "offline (WANDB_MODE=offline)" in capsys.readouterr().err

    @pytest.mark.parametrize("place", ["wandb/settings", "home/.config/wandb/settings"])
    def test_what_wandb_offline_wrote_is_the_reason(
        self, place, tmp_path: Path, monkeypatch, capsys
    ) -> None:
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        told = settings_file(tmp_path / place, mode="offline")
        self.start(tmp_path)
        assert f"W&B: offline (mode = offline in {told}); send it" in capsys.readouterr().err

    @pytest.mark.parametrize("way", ["environment", "file"])
    def test_disabled_writes_nothing_of_wandbs(
        self, way, make_job, tmp_path: Path, monkeypatch, capfd
    ) -> None:
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        if way == "file":
            settings_file(tmp_path / "wandb" / "settings", mode="disabled")
        else:
            monkeypatch.setenv("WANDB_MODE", "disabled")
        job = make_job(facts=FACTS, tracker=tracker())
        assert train(job)["psnr"]
        (line,) = [each for each in capfd.readouterr().err.splitlines() if "W&B" in each]
        assert (
            line.startswith("W&B: disabled (")
            and way.replace("environment", "WANDB_MODE=disabled") in f"{line} file"
        )
        assert not (job.directory / "wandb").exists()
        monkeypatch.setenv("WANDB_MODE", "offline")
        wandb.teardown()
        train(job)
        assert len(offline_runs(job.directory)) == 1, "it was told to nobody, so it is told now"

    def test_a_key_is_seen_also_where_wandb_is_told_to_be_offline(
        self, tmp_path: Path, monkeypatch, server
    ) -> None:
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        settings_file(tmp_path / "wandb" / "settings", mode="offline")
        with (
            pytest.raises(UserError, match="logger.mode=online: .*401"),
            tracked(tracker(mode="online"), tmp_path, FACTS) as one,
        ):
            one.loggers()
        assert server, "the logger's setting was given"

    def test_a_setting_that_wandb_does_not_take_is_one_line(
        self, tmp_path: Path, monkeypatch
    ) -> None:
        monkeypatch.setenv("WANDB_MODE", "nonsense")
        with pytest.raises(
            UserError, match=r"^logger=wandb: W&B's setting mode=nonsense: Input should be '"
        ) as caught:
            WandbTracker(tmp_path, FACTS, {})
        assert "\n" not in str(caught.value)

    @pytest.mark.slow
    def test_asks_nothing_at_a_terminal(self, tmp_path: Path) -> None:
        """A terminal on which nobody types: a question would wait for ever."""
        code = (
            "import pathlib\nfrom stdo.runs.tracking.wandb_run import WandbTracker\n"
            f"one = WandbTracker(pathlib.Path('run'), {FACTS}, {{}}); "
            "one.loggers(); one.close(False)"
        )
        ours, theirs = pty.openpty()
        (tmp_path / "run").mkdir()
        subprocess.run(
            [sys.executable, "-c", code],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            timeout=120,
            check=True,
        )
        os.close(theirs)
        said = os.read(ours, 10_000).decode()
        assert "offline (no API key" in said
        assert "choice" not in said


@pytest.mark.slow
class TestDoor:
    @pytest.fixture
    def command(self, tmp_path: Path) -> list[str]:
        source = GeneratedClip(width=192, height=144, frames=12)
        with VideoWriter(tmp_path / "clip.mkv", 192, 144, source.info.rate, "ffv1") as writer:
            for frame in source:
                writer.write(frame)
        settings = [
            "backbone=espcn", "scale=2", "chunks=2", "patches.height=24", "patches.width=32",
            "trainer=cpu", "trainer.precision=32-true", "checkpoint_seconds=0.2", "logger=wandb",
            "video.path=clip.mkv",
        ]  # fmt: skip
        return [sys.executable, "-m", "stdo.train", *settings]

    def test_a_killed_run_goes_on_as_the_same_run(self, tmp_path: Path, command: list[str]) -> None:
        command.append("budget.passes=25")
        running = subprocess.Popen(command)
        while not any(
            len(read_curve(path)) > 4 for path in tmp_path.glob("outputs/*/*/curves.csv")
        ):
            time.sleep(0.05)
            assert running.poll() is None
        time.sleep(1.5)  # W&B writes to the disk every second
        running.send_signal(signal.SIGKILL)
        running.wait(30)
        subprocess.run(command, check=True, timeout=300)
        (directory,) = tmp_path.glob("outputs/*/*/")
        killed, last = offline_runs(directory)
        assert killed.run.run_id == last.run.run_id
        assert (killed.exit, last.exit) == (None, 0)
        told = {row["_step"]: row["train/psnr"] for run in (killed, last) for row in run.curve()}
        known = {
            row["step"]: pytest.approx(row["psnr"], rel=1e-6)
            for row in read_curve(directory / "curves.csv")
        }
        assert told == {step: known[step] for step in told}
        assert min(told) == 1
        assert max(told) == max(known)

    def test_every_job_of_a_multirun_is_a_finished_run(
        self, tmp_path: Path, command: list[str]
    ) -> None:
        done = subprocess.run(
            [*command, "budget.passes=1", "seed=0,1", "-m"],
            check=True,
            timeout=300,
            capture_output=True,
        )
        runs = [
            run
            for directory in tmp_path.glob("outputs/*/*/wandb")
            for run in offline_runs(directory.parent)
        ]
        assert [run.exit for run in runs] == [0, 0]
        (name,) = {run.run.run_group for run in runs}
        assert re.search(rf"outputs/sweeps/{name}\W.*2 runs", done.stderr.decode())
        assert len({run.run.run_id for run in runs}) == 2
        assert done.stderr.count(b"W&B: offline") == 2

    def test_an_agent_of_wandbs_runs_the_documented_sweep(
        self, tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """W&B's own agent, asked as its server would ask it."""
        (text,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
        sweep = yaml.safe_load(text)
        for name, value in {"SWEEP_ID": "s1", "PROJECT": "theirs", "ENTITY": "team"}.items():
            monkeypatch.setenv(f"WANDB_{name}", value)
        monkeypatch.setenv("WANDB_MODE", "offline")
        monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        values = {name: given["values"][0] for name, given in sweep["parameters"].items()
            if "values" in given} | {"optim.lr": 0.0007}  # fmt: skip
        agent = Agent(None, None, sweep_id="s1")
        given = [word for word in command[3:] if word.partition("=")[0] not in values]
        agent._sweep_command = [*sweep["command"], *given, "budget.passes=1"]
        asked = {name: {"value": value} for name, value in values.items()}
        agent._command_run({"run_id": "r1", "program": sweep["program"], "args": asked})
        assert agent._run_processes["r1"].wait(300) == 0
        (logged,) = offline_runs(tmp_path)  # the agent sets WANDB_DIR
        run = logged.run
        assert (run.run_id, run.project, run.entity, run.sweep_id) == ("r1", "theirs", "team", "s1")
        assert logged.config["optim"]["lr"] == 0.0007
        assert sweep["metric"]["name"] in logged.summary
