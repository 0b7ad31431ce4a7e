"""Weights from the web: over https alone, of bounded size, and only the file that a SHA-256
names."""

import hashlib
import re
import ssl
from collections.abc import Iterator
from email.message import Message
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from stdo.core.files import atomic
from stdo.core.types import UserError
from stdo.models.weights import one_line

MAX_BYTES = 1 << 30
"""Largest file that is downloaded. The published networks of this kind have at most 200 MB."""

SECONDS = 30.0
"""How long a server may be silent."""

_BLOCK = 1 << 20


def is_address(weights: str) -> bool:
    """Whether a setting names something on the web, or elsewhere, rather than a file."""
    return "://" in weights


def checked_digest(sha256: str | None) -> str | None:
    """A SHA-256 as ``sha256sum`` writes it. Raises UserError for anything else that is set."""
    if sha256 is None:
        return None
    digest = str(sha256).strip().lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise UserError(
            f"scorer.sha256={sha256}: must be the SHA-256 of the weights, 64 hexadecimal digits"
        )
    return digest


def download(address: str, sha256: str | None, folder: Path) -> Path:
    """Download a file, or find it in the folder, where it is kept under its digest.

    Args:
        address: An https address. A redirect must lead to another one.
        sha256: What the file must be, as `checked_digest` returns it.
        folder: Where downloads are kept. It is made.

    Returns:
        The file, whose content has this digest.

    Raises:
        UserError: The address is not https, no digest is given, the server cannot be reached or its
            certificate is not trusted, the file is too large or another one. Nothing is left of it.
    """
    if urlsplit(address).scheme.lower() != "https":
        raise UserError(f"weights={address}: must be a file or an https address")
    if sha256 is None:
        raise UserError(
            f"weights={address}: needs scorer.sha256, the SHA-256 of the file, which is "
            "checked before it is read; "
            "take it from whoever publishes the weights, or download them yourself and run "
            "sha256sum"
        )

    kept = folder / f"{sha256}{_suffix(address)}"
    try:
        if kept.is_file() and digest_of(kept) == sha256:
            return kept
        folder.mkdir(parents=True, exist_ok=True)
        _fetch(address, sha256, kept)
    except OSError as error:
        raise UserError(f"{folder}: downloads cannot be kept there ({error.strerror})") from error
    return kept


def _fetch(address: str, sha256: str, kept: Path) -> None:
    with atomic(kept) as partial:
        content = hashlib.sha256()
        with partial.open("wb") as file:
            for block in _blocks(address):
                content.update(block)
                file.write(block)
        if content.hexdigest() != sha256:
            raise UserError(f"weights={address}: is another file than scorer.sha256={sha256} names")


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _suffix(address: str) -> str:
    """Tells the two formats apart; nothing else of the address becomes part of a file's name."""
    suffix = PurePosixPath(urlsplit(address).path).suffix
    return ".safetensors" if suffix == ".safetensors" else ".pt"


class _HttpsAlone(HTTPRedirectHandler):
    """Follows no redirect to anything that somebody on the way can read or change."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> Request | None:
        if urlsplit(newurl).scheme.lower() != "https":
            raise UserError(f"weights={req.full_url}: leads to {newurl}: must stay with https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _blocks(address: str) -> Iterator[bytes]:
    """What the server sends, a block at a time."""
    too_large = UserError(
        f"weights={address}: has more than {MAX_BYTES} bytes, the most that is downloaded"
    )
    opener = build_opener(HTTPSHandler(context=ssl.create_default_context()), _HttpsAlone())
    received = 0
    try:
        with opener.open(address, timeout=SECONDS) as reply:
            promised = int(reply.headers.get("Content-Length") or 0)
            if promised > MAX_BYTES:
                raise too_large
            while block := reply.read(_BLOCK):
                received += len(block)
                if received > MAX_BYTES:
                    raise too_large
                yield block
    except UserError:
        raise
    except (OSError, HTTPException, ValueError) as error:
        raise UserError(f"weights={address}: cannot be downloaded ({one_line(error)})") from None
    if received < promised:
        raise UserError(
            f"weights={address}: cannot be downloaded (it broke off after {received} of "
            f"{promised} bytes)"
        )
