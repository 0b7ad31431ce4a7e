"""Studies: what is fixed, what is swept and what is reported, in one file each,
``experiments/<name>/study.yaml``.

``study=table2`` on the command line of stdo.train stands for the settings in that file. It is
replaced by them before Hydra reads the command line, so Hydra checks them as it checks what the
user types.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stdo.config.settings import place
from stdo.config.trust import conf_dir
from stdo.config.words import is_sweep, written
from stdo.core.types import Json, UserError

FILE = "study.yaml"

REPORTED = ("title", "html", "networks_alone", "plot")
"""What the part ``report`` may have: settings of stdo.report."""

_KEY = re.compile(r"\+{0,2}[A-Za-z_][\w./@-]*")
_GIVEN = re.compile(r"(~|(?=[^~]*=)\+{0,2})(?P<key>[A-Za-z_][\w./-]*)(@[^=]*)?(=.*)?", re.DOTALL)
_CHOSEN = re.compile(r"(study|sweep)=(.*)", re.DOTALL)
_ONE_RUN = re.compile(
    r"hydra\.mode=(hydra\.types\.)?(RunMode\.)?RUN|--run|-r|--cfg(=.*)?|-c|--info(=.*)?|-i|--(hydra-)?help|-hh?"
)
_SEVERAL_RUNS = re.compile(r"-m|--multirun|hydra\.mode=.*")


@dataclass(frozen=True)
class Study:
    """A study, as its file has it.

    Attributes:
        name: of its folder, or of the user's own file.
        fixed: setting -> value, as on the command line.
        swept: setting -> list of values, one value, or a text in the grammar of Hydra's sweeps.
        report: settings of stdo.report.
    """

    name: str
    fixed: Json
    swept: Json
    report: Json


def folder() -> Path:
    """Where the studies are: inside an installed package, or in ``experiments`` of a checkout."""
    inside = Path(__file__).parents[1] / "experiments"
    return inside if inside.is_dir() else Path(__file__).parents[3] / "experiments"


def names() -> list[str]:
    """The studies that there are."""
    return sorted(path.parent.name for path in folder().glob(f"*/{FILE}"))


def open_study(asked: str) -> Study:
    """Read a study and check its form.

    Args:
        asked: The name of one of ours, or the path of a file: it ends in ``.yaml``.

    Raises:
        UserError: There is no such study, or its file is not as it must be.
    """
    path = folder() / asked / FILE
    own = asked.endswith((".yaml", ".yml"))
    if own:
        path = Path(place("study", asked))
        if not path.is_file():
            raise UserError(f"study={asked}: no such file")
    elif asked not in names():
        raise UserError(
            f"study={asked}: must be one of {', '.join(names())}, or a file of your own such "
            "as mine.yaml"
        )

    name = path.parent.resolve().name if path.name == FILE else path.stem
    content = _read(path, asked)
    for part in content:
        _refuse_others(f"study={asked}", part, ("fixed", "swept", "report"))
    fixed, swept, report = (_part(content, part, asked) for part in ("fixed", "swept", "report"))
    _check_settings(fixed, swept, asked)
    _check_report(report, asked)
    return Study(name, fixed, swept, report)


def _read(path: Path, asked: str) -> Json:
    try:
        loaded = OmegaConf.load(path)
    except (OSError, ValueError, yaml.YAMLError, OmegaConfBaseException) as error:
        said = " ".join(str(error).split())
        raise UserError(f"study={asked}: cannot be read as YAML ({said})") from error
    if not isinstance(loaded, DictConfig):
        raise UserError(f"study={asked}: must have the parts fixed, swept and report")
    return OmegaConf.to_container(loaded, resolve=False)  # type: ignore[return-value]


def _part(content: Json, part: str, asked: str) -> Json:
    found = content.get(part)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise UserError(f"study={asked}: {part}={found}: must be settings with their values")
    return found


def _check_settings(fixed: Json, swept: Json, asked: str) -> None:
    """Raise UserError for what cannot stand on a command line. Hydra checks that there are such
    settings."""
    for part, settings in (("fixed", fixed), ("swept", swept)):
        for key, value in settings.items():
            place = f"study={asked}: {part}: {key}"
            if not isinstance(key, str) or not _KEY.fullmatch(key):
                raise UserError(
                    f"{place}: must be a setting as on the command line, such as video.every"
                )
            if key.lstrip("+") == "plugins":
                raise UserError(
                    f"{place}: must be given on the command line or in STDO_PLUGINS: it runs code"
                )
            if key == "study":
                raise UserError(
                    f"{place}: must be left out; a study is called as its folder or file"
                )
            if _holds_settings(value):
                raise UserError(
                    f"{place}={value}: must be a value or a list; write {key}.…: … for "
                    "settings below it"
                )
            if part == "swept" and value == []:
                raise UserError(f"{place}=[]: must have a value at least")
            if part == "swept" and key in fixed:
                raise UserError(f"{place}: must be swept or fixed, not both")


def _holds_settings(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_holds_settings, value))
    return isinstance(value, dict)


def _check_report(report: Json, asked: str) -> None:
    """Raise UserError for what stdo.report does not know. Their values it checks itself."""
    place = f"study={asked}: report"
    for key in report:
        _refuse_others(place, key, REPORTED)
    plot = report.get("plot")
    if plot is None:
        return
    if not isinstance(plot, dict):
        raise UserError(f"{place}: plot={plot}: must be settings with their values")
    known = OmegaConf.load(conf_dir() / "report.yaml").plot
    for key in plot:
        _refuse_others(f"{place}: plot", key, [str(each) for each in known])


def _refuse_others(place: str, key: object, known: Sequence[str]) -> None:
    if key not in known:
        raise UserError(f"{place}: {key}: must be one of {', '.join(known)}")


def asked_for(words: Sequence[str]) -> str | None:
    """The study that a command line names, as the user typed it; ``sweep=`` is its old name."""
    chosen = [found[2] for word in words if (found := _CHOSEN.fullmatch(word))]
    if not chosen or chosen[-1].lower() in ("", "null"):
        return None
    typed = chosen[-1]
    if len(typed) > 1 and typed[0] == typed[-1] and typed[0] in "'\"":  # Hydra's quotes
        return typed[1:-1]
    return typed


def expanded(words: Sequence[str]) -> list[str]:
    """The words of stdo.train's command line with a study's settings in place of ``study=``.

    What the user gives himself is left out of the study's settings, however he gives it. Where
    there is to be one run alone (``hydra.mode=RUN``) or a configuration is only to be shown,
    nothing is swept.

    Args:
        words: as in ``sys.argv[1:]``.

    Raises:
        UserError: There is no such study, or its file is not as it must be.
    """
    asked = asked_for(words)
    if asked is None:
        return list(words)
    if any(word.startswith("sweep=") for word in words):
        sys.stderr.write(f"note: sweep={asked} is called study={asked} now\n")
    study = open_study(asked)
    settings = {key: written(value) for key, value in study.fixed.items()}
    mode = []
    if not any(_ONE_RUN.fullmatch(word) for word in words):
        settings |= {key: _values(key, value) for key, value in study.swept.items()}
        if not any(_SEVERAL_RUNS.fullmatch(word) for word in words):
            # Not hydra.mode: Hydra leaves it out where another word is a mistake
            mode = ["--multirun"]

    typed = [word for word in words if not _CHOSEN.fullmatch(word)]
    chosen = [f"study={written(study.name)}"]
    for key, value in settings.items():
        # The user's words take the place of the study's, which the order of the jobs depends on.
        own = [word for word in typed if _is_for(word, key)]
        chosen += own or [f"{key}={value}"]
        typed = [word for word in typed if word not in own]
    return [*chosen, *mode, *typed]


def _is_for(word: str, key: str) -> bool:
    """Whether a word such as ``++seed=3`` or ``~seed`` gives or removes a setting or group."""
    found = _GIVEN.fullmatch(word)
    return found is not None and found["key"] == key.lstrip("+").partition("@")[0]


def _values(key: str, swept: Any) -> str:
    """What stands behind ``=`` for a setting that is swept."""
    if isinstance(swept, list):
        return ",".join(map(written, swept))
    # Such as range(1,5), or what a search takes
    if isinstance(swept, str) and is_sweep(key, swept):
        return swept
    return written(swept)
