"""The dashboard as a command: what it sends, read by a server of the test's own from W&B's own
client, and what it prints; its mistakes are one line."""

import gzip
import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import wandb
from hydra.core.global_hydra import GlobalHydra

from stdo.cli.commands import listing
from stdo.cli.dashboard import main
from stdo.metrics.registry import PROTOCOLS
from stdo.reporting.dashboard import BASELINES, NAMES
from stdo.runs import settings
from stdo.runs.tracking import wandb_run
from stdo.runs.tracking.memory import Memory

pytest.importorskip("wandb_workspaces")
pytestmark = pytest.mark.filterwarnings("ignore:Pydantic V1 style:DeprecationWarning")

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine on which nobody has ever used W&B, and no network but this machine."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "home" / ".netrc"))
    monkeypatch.chdir(tmp_path)
    wandb.teardown()
    yield
    wandb.teardown()


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the command; returns exit code, output and errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["stdo-dashboard", *arguments])
        monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
        GlobalHydra.instance().clear()
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def outputs(finished_runs: Path, tmp_path: Path) -> Path:
    """STDO and NAS with two seeds each; W&B knows the STDO run of seed 0."""
    folder = Path(shutil.copytree(finished_runs, tmp_path / "outputs"))
    for path in folder.glob("*/*/metrics.json"):
        facts = json.loads(path.read_text())
        if facts["method"] == "awdnn":
            path.write_text(json.dumps(facts | {"method": "nas"}))
        elif facts["seed"] == 0:
            Memory(path.parent / "wandb").keep(id="told", project="stdo", entity=None)
    return folder


def psnr(outputs: Path, method: str, seed: int) -> dict[str, float]:
    found = [json.loads(path.read_text()) for path in outputs.glob("*/*/metrics.json")]
    (wanted,) = (facts for facts in found if (facts["method"], facts["seed"]) == (method, seed))
    return wanted["psnr"]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """W&B's server as far as this command needs it; the variables of what it was told."""
    told: list[dict[str, Any]] = []
    user = {"id": "1", "username": "me", "entity": "me", "email": "a@b.c", "flags": "{}",
        "teams": {"edges": []}}  # fmt: skip
    run = {"id": "r1", "name": "told", "displayName": "told", "state": "finished", "tags": [],
        "config": "{}", "summaryMetrics": "{}", "systemMetrics": "{}", "readOnly": False,
        "createdAt": "2026-01-01T00:00:00Z", "projectId": "1", "historyLineCount": 0,
        "user": {"name": "me", "username": "me"}}  # fmt: skip

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            asked = json.loads(body)
            query, variables = asked["query"], asked.get("variables") or {}
            answer: dict[str, Any] = {"viewer": user}
            if "upsertView" in query:
                told.append(variables)
                answer["upsertView"] = {"view": {"id": "v1", "name": "nw-1-v"}, "inserted": True}
            elif "upsertBucket" in query:
                told.append(variables)
                answer["upsertBucket"] = {"bucket": {"id": "r1"}}
            elif "project(" in query:
                there = variables.get("name") == "told"
                answer["project"] = {"internalId": "1", "run": run if there else None}
            content = json.dumps({"data": answer}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{serving.server_address[1]}")
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        yield told
        serving.shutdown()


@pytest.mark.slow
def test_sends_the_differences_and_the_panels(call: Call, outputs: Path, server) -> None:
    code, out, err = call(f"runs=[{outputs}]", "protocol=y", "group=it is=mine")
    assert (code, out.startswith("http://127.0.0.1:")) == (0, True), err
    summary, view = server

    ours, theirs = psnr(outputs, "stdo", 0), psnr(outputs, "nas", 0)
    assert json.loads(summary["summaryMetrics"]) == {
        f"over_nas/stdo/{name}": pytest.approx(ours[name] - theirs[name]) for name in PROTOCOLS
    }

    assert (view["entityName"], view["projectName"]) == ("me", "stdo")
    shown = json.loads(view["spec"])["section"]
    (runs,) = shown["runSets"]
    assert '"value": "it is=mine"' in json.dumps(runs["filters"])
    by_section = {
        section["name"]: [(panel["viewType"], panel["config"]) for panel in section["panels"]]
        for section in shown["panelBankConfig"]["sections"]
    }
    for baseline in BASELINES:
        panels = by_section[f"Against {NAMES[baseline]} at equal work (dB)"]
        bars = {config["groupBy"]: config for kind, config in panels if kind == "Bar Chart"}
        assert bars.keys() == {f"facts.value.{name}"
            for name in ("backbone", "scale", "chunks", "video")}  # fmt: skip
        for config in bars.values():
            assert set(config["metrics"]) == {
                f"over_{baseline}/{method}/y" for method in NAMES if method != baseline
            }


@pytest.mark.slow
def test_a_run_that_is_not_at_wandb_is_named(call: Call, outputs: Path, server) -> None:
    (path,) = outputs.glob("*/*/wandb")
    Memory(path).keep(id="gone")
    code, _, err = call(f"runs=[{outputs}]")
    assert code == 0
    assert "note: me/stdo/gone is not at W&B yet; wandb sync its folder and run this again" in err
    assert [sorted(each) for each in server] == [sorted(server[0])], "the panels alone"


def test_print_shows_the_same_without_an_account(call: Call, outputs: Path, monkeypatch) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "stdo")
    monkeypatch.setenv("WANDB_ENTITY", "team")
    code, out, _ = call(f"runs=[{outputs}]", "print=true")
    shown = json.loads(out)
    assert code == 0
    difference = psnr(outputs, "stdo", 0)["frame"] - psnr(outputs, "nas", 0)["frame"]
    told = shown["summaries"]["team/stdo/told"]
    assert told["over_nas/stdo/frame"] == pytest.approx(difference)
    assert len(shown["differences"]) == 2


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["runs=nix"], "runs=nix: no such file or folder"),
        (["protocol=x"], "protocol=x: must be one of cafm_frame, frame, pooled, stdo_patch, y"),
        (["--runs", "outputs"], "unrecognized arguments: --runs; --help says more"),
        ([], "W&B: no API key; wandb login asks for one, and print=true needs none"),
    ],
)
def test_a_mistake_is_one_line(call: Call, words: list[str], line: str) -> None:
    assert call(*words) == (2, "", f"stdo: {line}\n")


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_contacts_nobody_where_wandb_is_told_not_to(call: Call, mode: str, server) -> None:
    os.environ["WANDB_MODE"] = mode
    line = f"WANDB_MODE={mode}: the dashboard is at W&B's server; print=true shows it here"
    assert call() == (2, "", f"stdo: {line}\n")
    assert not server


def test_a_damaged_settings_file_is_one_line(call: Call, tmp_path: Path) -> None:
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "settings").write_text("[default")
    code, out, err = call("print=true")
    assert (code, out) == (2, "")
    assert err.startswith(f"stdo: {tmp_path}/wandb/settings: damaged (") and err.count("\n") == 1


def test_is_listed_and_knows_what_runs_know() -> None:
    assert "python -m stdo.dashboard" in listing()
    assert settings.PROTOCOLS == PROTOCOLS
    from stdo.reporting import dashboard

    assert dashboard.PROJECT == wandb_run.PROJECT
