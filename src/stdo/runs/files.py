"""Read the files of a run directory, which may come from a stranger.

Every file is opened through `stdo.core.foreign`, is of bounded size, and is compared with a schema
before anybody uses it. Every function raises UserError, in one line that names the file, where it
is not what it must be.
"""

import csv
import io
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import yaml

from stdo.core.checked import checked
from stdo.core.foreign import open_below, parse_json, printable, read_below
from stdo.core.types import Json, UserError
from stdo.runs.schema import NEEDED, Config, Crops, Facts, Metrics, Provenance, Sweep

FACTS, WEIGHTS = "facts.json", "weights.safetensors"

MAX_METRICS, MAX_JSON, MAX_CONFIG, MAX_TABLE, MAX_NPZ, MAX_PICTURE = (
    1 << 22,
    1 << 24,
    1 << 18,
    1 << 26,
    1 << 28,
    1 << 20,
)
"""Bytes of metrics.json, other JSON, config.yaml, a CSV file, an NPZ file and the PNG of a crop."""

MAX_NODES, MAX_DEPTH = 20_000, 40
"""Values in a config.yaml, and how deep they may be nested."""

MAX_ARRAY = 1 << 28
"""Bytes of one array of an NPZ file."""

MAX_COLUMNS, MAX_BITS = 100, 1000
_END = struct.Struct("<4s4H2LH")
_FEW_MEMBERS, _LOCATOR = 16, 20


def read_metrics(directory: Path, needed: AbstractSet[str] = NEEDED) -> Json:
    """Read the figures of a finished run.

    Args:
        directory: The run directory, or the folder of one network of it.
        needed: Fields that must be there.

    Raises:
        FileNotFoundError: There is no metrics.json.
        UserError: It is not what it must be.
    """
    found: Json = _json(directory, "metrics.json", MAX_METRICS)
    lacking = sorted(needed - found.keys()) if isinstance(found, dict) else sorted(needed)
    if lacking:
        shown = ", ".join(lacking[:4])
        raise UserError(
            f"run={printable(str(directory))}: is of another version (no {shown} in its "
            "metrics.json)"
        )
    checked(found, Metrics, str(directory / "metrics.json"))
    return found


def read_facts(directory: Path, meta: Mapping[str, str]) -> Json:
    """Read what was known of a run once it was trained, before it was measured.

    Args:
        directory: The run directory.
        meta: Metadata of its weights, which had the facts before there was a file of them.
    """
    place = str(directory / FACTS)
    try:
        found: Json = _json(directory, FACTS, MAX_JSON)
    except FileNotFoundError:
        content = meta.get("facts", "").encode("utf-8", "replace")
        place = f"{directory / WEIGHTS}: facts"
        found = parse_json(content, printable(place), constants=True)
    checked(found, Facts, place)
    return found


def read_provenance(directory: Path) -> Json:
    """The content of provenance.json; empty where there is no such file."""
    try:
        found: Json = _json(directory, "provenance.json", MAX_JSON)
    except FileNotFoundError:
        return {}
    checked(found, Provenance, str(directory / "provenance.json"))
    return found


def read_jobs(file: Path, content: bytes) -> list[Json]:
    """The jobs of a sweep file."""
    found = parse_json(content, str(file))
    checked(found, Sweep, str(file))
    return list(found["jobs"])


def read_config(directory: Path) -> str:
    """The text of config.yaml, once it is known that it can be parsed. Raises FileNotFoundError."""
    content = read_below(directory, "config.yaml", MAX_CONFIG)
    try:
        found = content.decode("utf-8")
        _check_yaml(found)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        why = printable(_first_line(error))
        raise UserError(
            f"run={printable(str(directory))}: its config.yaml is no configuration ({why})"
        ) from error
    return found


def _check_yaml(content: str) -> None:
    """Raise ValueError for what a few bytes of YAML can blow up: references, and many or deeply
    nested values."""
    if "*" not in content and len(content) < 1 << 14:  # nearly all; parsing twice takes a while
        return
    depth = 0
    for count, event in enumerate(yaml.parse(content)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(
            event, yaml.CollectionEndEvent
        )
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it holds references, *name")
        if depth > MAX_DEPTH or count > MAX_NODES:
            raise ValueError("it is too large")


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Plain values alone; a mapping that has a key twice is refused."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(keys)) < len(keys):
            raise yaml.YAMLError("a key is there twice")
        return dict(super().construct_mapping(node, deep))


def settings_of(config: str, place: str) -> Json:
    """The configuration of a run as nested dicts; texts in it cannot steer a terminal. Empty where
    there is none."""
    try:
        _check_yaml(config)
        found = yaml.load(config, _Loader)  # noqa: S506 - a SafeLoader
        found = harmless({} if found is None else found)
    except (ValueError, yaml.YAMLError, RecursionError, OverflowError) as error:
        raise UserError(
            f"{printable(place)}: is no configuration ({printable(_first_line(error))})"
        ) from error
    checked(found, Config, place)
    return dict(found)


def harmless(value: Any) -> Any:
    """The same nested values with every text made `printable`. Raises ValueError for a number of
    very many digits."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise ValueError("a number of very many digits")
    if isinstance(value, dict):
        return {str(harmless(key)): harmless(child) for key, child in value.items()}
    return [harmless(child) for child in value] if isinstance(value, list) else value


def read_crops(directory: Path) -> list[Json]:
    """The entries of crops/crops.json; `read_crop` reads their pictures. Empty where there is no
    such file."""
    try:
        found: list[Json] = _json(directory, "crops/crops.json", MAX_METRICS)
    except FileNotFoundError:
        return []
    checked(found, Crops, str(directory / "crops/crops.json"))
    return found


def read_crop(directory: Path, crop: Json, name: str) -> bytes:
    """The PNG of a crop, one of ``truth``, ``bicubic`` and ``ours``: as large as crops.json says,
    before it is decoded.

    A few bytes of PNG can hold a picture of gigabytes; its first chunk says how large it is.
    """
    file = f"crops/{crop['files'][name]}"
    shown = f"{directory / file}"
    try:
        content = read_below(directory, PurePosixPath(file), MAX_PICTURE)
    except FileNotFoundError as error:
        raise UserError(f"{printable(shown)}: missing; stdo.evaluate makes it again") from error
    if content[:16] != b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" or len(content) < 33:
        raise UserError(f"{printable(shown)}: is no PNG picture; stdo.evaluate makes it again")
    width, height = struct.unpack(">II", content[16:24])
    if (width, height) != (crop["width"], crop["height"]):
        wanted = f"{crop['width']}x{crop['height']}"
        raise UserError(
            f"{printable(shown)}: has {width}x{height} pixels: must have {wanted}, as "
            "crops.json says"
        )
    return content


def read_table(
    directory: Path, name: str, columns: Sequence[str], most: int
) -> list[dict[str, float]]:
    """The rows of a CSV file of numbers; NaN where a field is empty. No rows where there is no such
    file.

    Args:
        directory: The run directory.
        name: Of the file.
        columns: What it must have.
        most: How many rows it may have.
    """
    place = printable(f"{directory / name}")
    try:
        lines = csv.DictReader(
            io.StringIO(read_below(directory, name, MAX_TABLE).decode("utf-8"), newline="")
        )
        if len(lines.fieldnames or ()) > MAX_COLUMNS:
            raise UserError(f"{place}: has more than {MAX_COLUMNS} columns")
        lacking = set(columns) - set(lines.fieldnames or ())
        if lacking:
            raise UserError(f"{place}: damaged; it lacks the column {min(lacking)}")
        rows = []
        for row in lines:
            rows.append({key: float(field or "nan") for key, field in row.items()})
            if len(rows) > most:
                raise UserError(f"{place}: has more than {most} rows")
    except FileNotFoundError:
        return []
    except UserError:
        raise
    except (ValueError, TypeError, csv.Error) as error:
        raise UserError(f"{place}: damaged; it should hold numbers alone") from error
    return rows


_DAMAGES = (
    *(OSError, ValueError, KeyError, EOFError, OverflowError, zipfile.BadZipFile, zlib.error),
    RuntimeError,  # too deep, not implemented, encrypted
    *(tokenize.TokenError, SyntaxError),  # NumPy reads headers as Python text
)


def read_arrays(
    directory: Path, name: str, wanted: Mapping[str, tuple[str, int]], count: int | None = None
) -> dict[str, npt.NDArray[Any]]:
    """Arrays of an NPZ file. What its ZIP directory and the arrays' headers say is compared before
    any is unpacked.

    Args:
        directory: The run directory.
        name: Of the file.
        wanted: Array -> the kind of its numbers (``f`` or ``i``, as NumPy calls them) and its
            dimensions.
        count: How many numbers each must have; None for any number.

    Raises:
        FileNotFoundError: There is no such file.
    """
    place = printable(f"{directory / name}")
    try:
        with open_below(directory, name, MAX_NPZ) as file:
            _check_end(file)
            with zipfile.ZipFile(file) as archive:
                return {key: _array(archive, key, *kind, count) for key, kind in wanted.items()}
    except UserError as error:
        raise UserError(
            str(error) if str(error).startswith(place) else f"{place}: {error}"
        ) from error
    except FileNotFoundError:
        raise
    except _DAMAGES as error:
        raise UserError(f"{place}: damaged ({printable(_first_line(error))})") from error


def _check_end(file: BinaryIO) -> None:
    """Refuse a ZIP whose directory is long, which Python reads as a whole; it stands at the end,
    without a comment."""
    file.seek(max(0, file.seek(0, io.SEEK_END) - _END.size - _LOCATOR))
    tail = file.read()
    end = tail[-_END.size :]
    if len(end) < _END.size or end[:4] != b"PK\5\6" or tail.startswith(b"PK\6\7"):
        raise UserError("damaged (it does not end as an NPZ file does)")
    _, _, _, _, members, length, _, comment = _END.unpack(end)
    if members > _FEW_MEMBERS or length > 1000 * _FEW_MEMBERS or comment:
        raise UserError(f"has more than {_FEW_MEMBERS} arrays")


def _array(
    archive: zipfile.ZipFile, key: str, kind: str, dimensions: int, wanted: int | None
) -> npt.NDArray[Any]:
    info = archive.getinfo(f"{key}.npy")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError(f"{key}: is compressed in a way that NumPy does not write")
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise UserError(f"{key}: is of another version of NumPy's format")
        shape, by_column, kept = np.lib.format.read_array_header_1_0(file)
        if kept.kind != kind or len(shape) != dimensions or by_column or kept.hasobject:
            raise UserError(f"{key}: must be an array of kind {kind} with {dimensions} dimensions")
        count = prod(shape)
        if wanted is not None and count != wanted:
            raise UserError(f"{key}: holds {count} numbers: must hold {wanted}")
        size = count * kept.itemsize
        if min(shape, default=1) < 0 or size > MAX_ARRAY or file.tell() + size != info.file_size:
            raise UserError(
                f"{key}: has not the size that its header says, or more than {MAX_ARRAY} bytes"
            )
        return np.frombuffer(file.read(size), kept).reshape(shape)


def _json(directory: Path, name: str, most: int) -> Any:
    """A JSON file, in which NaN and infinities may stand, as Python writes them."""
    return parse_json(
        read_below(directory, name, most), printable(f"{directory / name}"), constants=True
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
