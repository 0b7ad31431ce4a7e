"""Names as people type them: what arrives is what was typed, and what is printed can be typed
again."""

import os
import random
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from tiny_job import JOB

from stdo.config.settings import at_home
from stdo.config.words import as_meant
from stdo.core.types import UserError
from stdo.video.sample import GeneratedClip
from stdo.video.writer import VideoWriter

TINY = [*JOB, "trainer=cpu", "trainer.precision=32-true"]  # fmt: skip

NAMES = [
    "My talk (2024) [dQw4w9WgXcQ].mkv", "a, b = c.mkv", "it's me.mkv", 'the "best".mkv', "ключ.mkv",
    "café.mkv", "cafe\u0301.mkv", "映画.mkv", "🎬.mkv", "R&D #1.mkv", "a{b}.mkv", "{x: 1}.mkv",
    "cost $5 100%.mkv", "~draft.mkv", "back\\slash.mkv", "ends\\", " leading.mkv", "trailing.mkv ",
    "two\nlines.mkv", "tab\there.mkv", "[1].mkv", "[a,b]", "choice(a,b)", "range(3)", "it(1)",
    "2024", "1e3", "-1", "true", "Off", "'quoted'", '"quoted"', "'half", "a:b.mkv", "a=b", "=",
    "!?*.mkv", "a@b|c;d.mkv", "`x`.mkv", "(", ")", "[", "]", "{", "}", ",", "\\'", '\\"', "-m",
    "--help", "name \udcff not UTF-8.mkv", "null.mkv", "str(5).mkv", "a\\,b.mkv", "+plus.mkv",
    "%20.mkv", "null", "str(5)",
]  # fmt: skip


OTHERWISE = ("null", "str(5)", "'quoted'", '"quoted"')
"""What means something else where no file is called so."""


def received(words: list[str], setting: str) -> object:
    """What the configuration has when a command line comes to it, as Hydra sets it, and back from
    how it is saved."""
    config = OmegaConf.create({"paths": {"outputs": "outputs"}})
    for override in OverridesParser.create().parse_overrides(as_meant(words)):
        OmegaConf.update(config, override.key_or_group, override.value(), force_add=True)
    saved = OmegaConf.create(
        OmegaConf.to_yaml(config, resolve=True).encode("utf-8", "strict").decode("utf-8")
    )
    assert OmegaConf.select(saved, setting) == OmegaConf.select(config, setting)
    return OmegaConf.select(saved, setting)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("sweeps", [[], ["-m"]], ids=["one run", "a sweep"])
def test_the_name_of_a_file_arrives_as_it_was_typed(sweeps: list[str], here: Path) -> None:
    for name in NAMES:
        (here / name).touch()
        words = as_meant([f"video.path={name}", *sweeps])
        assert received(words[:1], "video.path") == name
        (here / name).unlink()


@pytest.mark.parametrize(
    "setting", ["name", "video.path", "paths.outputs", "study", "++paths.cache", "+video.root"]
)
def test_a_name_of_nothing_yet_arrives_as_it_was_typed(setting: str, here: Path) -> None:
    for name in NAMES:
        if name not in OTHERWISE:
            assert received([f"{setting}={name}"], setting.lstrip("+")) == name


def test_what_is_quoted_null_or_another_setting_stays_that(here: Path) -> None:
    assert received(["video.path='My talk (1).mkv'"], "video.path") == "My talk (1).mkv"
    assert received(['video.path="it\'s.mkv"'], "video.path") == "it's.mkv"
    assert received(["video.path=null", "study=null"], "study") is None
    assert (
        received(["paths.cache=${paths.outputs}/My cache (1)"], "paths.cache")
        == "outputs/My cache (1)"
    )
    (here / "My talk.mkv").touch()
    assert received(["video.path=My\\ talk.mkv"], "video.path") == "My talk.mkv", (
        "Hydra's own escapes"
    )


def test_other_words_are_left_alone() -> None:
    words = [
        "--config-dir",
        "my dir",
        "chunks=[1,",
        "sampler.ratios=[1,0]",
        "method=nas,stdo",
        "-m",
        "~trainer",
        "x=é",
    ]
    assert as_meant(words) == words
    plain = [
        "video.path=/data/clip-1.mp4",
        "runs=[outputs,other]",
        "name=${method}",
        "logger.tags=[a,b]",
        "out=../x",
    ]
    assert as_meant(plain) == plain, "commands that always worked are printed as they were"


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("a.mkv,b.mkv", ["a.mkv", "b.mkv"]),
        ("a, b = c.mkv,café.mkv", ["a, b = c.mkv", "café.mkv"]),
        ("café.mkv, a, b = c.mkv", ["café.mkv", "a, b = c.mkv"]),
        ("'a, b = c.mkv',it(1).mkv", ["a, b = c.mkv", "it(1).mkv"]),
        ("1,2,true", ["1", "2", "true"]),
        ("ends\\,b.mkv", ["ends\\", "b.mkv"]),
        ("choice(a.mkv,b.mkv)", ["a.mkv", "b.mkv"]),
    ],
)
def test_a_sweep_over_names_separates_at_commas_but_for_those_of_files(
    typed: str, values: list[str], here: Path
) -> None:
    for name in ("a.mkv", "b.mkv", "a, b = c.mkv", "café.mkv"):
        (here / name).touch()
    (word,) = [word for word in as_meant(["-m", f"video.path={typed}"]) if word != "-m"]
    override = OverridesParser.create().parse_rule(word, "override")
    assert override.is_sweep_override()
    jobs = [f"video.path={value}" for value in override.sweep_string_iterator()]
    assert [received([job], "video.path") for job in jobs] == values


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("[My talk (1).mkv,café.mkv]", ["My talk (1).mkv", "café.mkv"]),
        ("[a, b.mkv, c.mkv]", ["a, b.mkv", "c.mkv"]),
        ("[1,'it, really']", ["1", "it, really"]),
        ("[]", []),
    ],
)
def test_lists_hold_names_as_well(typed: str, values: list[str], here: Path) -> None:
    (here / "a, b.mkv").touch()
    assert received([f"video.paths={typed}"], "video.paths") == values


def test_a_name_that_stands_for_a_setting_is_one_line(here: Path) -> None:
    (here / "a${b}.mkv").touch()
    with pytest.raises(UserError, match=r"^video.path=a\$\{b\}.mkv: \$\{ in a name .* rename it"):
        as_meant(["video.path=a${b}.mkv"])


def test_any_text_arrives(here: Path) -> None:
    signs = [
        *"ab 1.,=[](){}'\"\\~#&$%:;!?*@|<>+-_\n\t",
        "é",
        "ж",
        "\udcff",
        "  ",
        "\\'",
        "null",
        "1e3",
        "range(",
    ]
    chosen = random.Random(0)
    parser = OverridesParser.create()
    for _ in range(1500):
        name = "x" + "".join(chosen.choice(signs) for _ in range(chosen.randint(1, 12)))
        (word,) = as_meant([f"title={name}"])
        assert parser.parse_rule(word, "override").value() == name


def write_clip(path: Path) -> Path:
    source = GeneratedClip(width=64, height=48, frames=4, rate=25, seed=0)
    with VideoWriter(path, 64, 48, source.info.rate, "ffv1") as writer:
        for frame in source:
            writer.write(frame)
    return path


def command(
    *words: str, cwd: Path, module: str = "train", **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"stdo.{module}", *words], cwd=cwd, env=os.environ | environment,
        capture_output=True, text=True, errors="surrogateescape", timeout=240, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_a_run_of_such_a_name_from_training_to_evaluation_and_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    clip = write_clip(tmp_path / "clip.mkv").rename(home / "it's “me”, (1) \udcff.mkv")
    outputs = "~/Ergebnisse, öffentlich"
    words = [*TINY, f"video.path=~/{clip.name}", f"paths.outputs={outputs}", "name=Versuch (1)"]
    first = command(*words, cwd=tmp_path, HOME=str(home))
    assert first.returncode == 0, first.stderr
    (run,) = (home / "Ergebnisse, öffentlich").glob("*/Versuch (1)-*")
    printed = first.stdout.splitlines()[-2]
    assert printed == str(run), "what is printed is where it is"
    measured = command(f"run={printed}", cwd=tmp_path, module="evaluate", HOME=str(home))
    assert measured.returncode == 0, measured.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "home"], (
        "no folder called ~"
    )

    from stdo.core.provenance import as_typed
    from stdo.runs.directory import read_result

    assert read_result(run)["video"] == clip.stem.replace("\udcff", "\ufffd"), (
        "shown with a sign for what it is not"
    )
    origin = OmegaConf.load(run / "provenance.json")
    again = (
        f"{shlex.quote(sys.executable)} {as_typed(list(origin.command)).removeprefix('python ')}"
    )
    done = subprocess.run(
        ["bash", "-c", os.fsencode(again)],
        cwd=tmp_path,
        env=os.environ | {"HOME": str(home)},
        capture_output=True,
        check=False,
    )
    assert b"is finished" in done.stderr, done.stderr
    assert done.returncode == 0


def test_hydras_own_folders_are_not_below_a_folder_called_so(tmp_path: Path) -> None:
    done = command(
        *TINY,
        "paths.outputs=~/runs",
        "seed=1,2",
        "scale=5",
        "-m",
        cwd=tmp_path,
        HOME=str(tmp_path / "home"),
    )
    assert done.returncode == 1
    assert "scale=5: must be one of" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_what_cannot_be_read_is_one_line_that_shows_how_it_is_quoted(tmp_path: Path) -> None:
    done = command("+mine.title=It's (1), really", "scale=5", cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "stdo: +mine.title=It's (1), really: cannot be read as it stands; quoted it can: "
    )
    copied = line.rpartition("quoted it can: ")[2]
    assert len(shlex.split(copied)) == 1
    typed = f"{shlex.quote(sys.executable)} -m stdo.train {copied} --cfg job"
    again = subprocess.run(
        ["bash", "-c", typed], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert again.returncode == 0, again.stderr
    assert OmegaConf.create(again.stdout).mine.title == "It's (1), really"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("видео.path=x", "видео.path: no such setting; --help lists them"),
        ("video.path=a.mkv,b.mkv", "Ambiguous value for argument 'video.path=a.mkv,b.mkv'"),
        ("-m\n--cfg\njob", "Only one of --run, --multirun, --cfg"),
        ("--nosuch", "unrecognized arguments: --nosuch; --help says more"),
        ("--config-dir", "argument --config-dir/-cd: expected one argument; --help says more"),
        ("chunks=[1,", "no viable alternative at input '[1,'"),
    ],
)
def test_other_mistakes_keep_their_line(word: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.mkv").touch()
    done = command(*word.split("\n"), cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("stdo: ") and said in line


def test_flags_may_stand_among_settings(tmp_path: Path) -> None:
    for words in (
        ["seed=1", "--cfg", "job", "name=My run"],
        ["seed=1", "name=My run", "--cfg", "job"],
    ):
        done = command(*words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        shown = OmegaConf.create(done.stdout)
        assert (shown.seed, shown.name) == (1, "My run")


def test_the_home_of_a_shell_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in ("~", "~/x", "~root/x", "~nobody-of-this-name/x", "~draft.mkv", "x~"):
        shell = subprocess.run(
            ["bash", "-c", f"printf %s {path}"], capture_output=True, text=True, check=True
        ).stdout
        assert at_home("video.path", path) == shell
