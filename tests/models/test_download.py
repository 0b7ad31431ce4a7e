"""Weights from the web, by real servers on this machine: https, bounded, named by a digest, whole
or not at all."""

import hashlib
import http.server
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import torch
import trustme

from stdo.core.types import UserError
from stdo.models import download as downloads
from stdo.models.download import download
from stdo.models.pretrained import PretrainedUpscaler
from stdo.models.registry import build

CONTENT = bytes(range(256)) * 9000  # some blocks
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder; ``/to?ADDRESS`` redirects, ``/cut`` breaks off, ``/endless`` never says
    how long it is."""

    asked: list[str]

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.asked.append(self.path)
        path, _, where = self.path.partition("?")
        if path == "/to":
            self.send_response(302)
            self.send_header("Location", where)
            self.end_headers()
        elif path in ("/cut", "/huge"):
            self.send_response(200)
            self.send_header("Content-Length", str(1 << 40 if path == "/huge" else len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:70_000])
        elif path == "/endless":
            self.send_response(200)
            self.end_headers()
            for _ in range(100):
                self.wfile.write(CONTENT)
        else:
            super().do_GET()


class Site:
    """A web server over a folder. asked: the paths that were asked for, in order."""

    def __init__(self, folder: Path, context: ssl.SSLContext | None) -> None:
        self.folder, self.asked = folder, []
        folder.mkdir(exist_ok=True)
        (folder / "w.pt").write_bytes(CONTENT)
        handler = type("Own", (Handler,), {"asked": self.asked})
        self.server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), partial(handler, directory=folder)
        )
        self.server.handle_error = lambda *_: None  # clients hang up, as they should
        if context is not None:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        scheme = "http" if context is None else "https"
        self.address = f"{scheme}://127.0.0.1:{self.server.server_port}"


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    threading.Thread(target=site.server.serve_forever, daemon=True).start()
    try:
        yield site
    finally:
        site.server.shutdown()
        site.server.server_close()


def certified(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """An https server whose certificate this process trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving(Site(tmp_path / "web", certified(authority))) as running:
        yield running


@pytest.fixture
def plain_site(tmp_path: Path) -> Iterator[Site]:
    with serving(Site(tmp_path / "plain", None)) as running:
        yield running


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def left(kept: Path) -> list[str]:
    return sorted(path.name for path in kept.iterdir()) if kept.exists() else []


def test_a_file_is_kept_under_its_digest_and_asked_for_once(site: Site, kept: Path) -> None:
    for _ in range(2):
        assert download(f"{site.address}/w.pt?token=x", DIGEST, kept).read_bytes() == CONTENT
    assert download(f"{site.address}/another/name.pth", DIGEST, kept).name == f"{DIGEST}.pt"
    assert (site.asked, left(kept)) == (["/w.pt?token=x"], [f"{DIGEST}.pt"])
    (kept / f"{DIGEST}.pt").write_bytes(b"damaged since")
    assert download(f"{site.address}/w.pt", DIGEST, kept).read_bytes() == CONTENT


def test_a_redirect_within_https_is_followed(site: Site, kept: Path) -> None:
    assert download(f"{site.address}/to?{site.address}/w.pt", DIGEST, kept).read_bytes() == CONTENT
    assert download(f"{site.address}/to?/w.pt", DIGEST, kept).read_bytes() == CONTENT


@pytest.mark.parametrize("scheme", ["http", "ftp", "file", "data", "HTTP"])
def test_only_https(scheme: str, kept: Path) -> None:
    with pytest.raises(
        UserError, match=rf"^weights={scheme}://127.0.0.1/w.pt: must be a file or an https address$"
    ):
        download(f"{scheme}://127.0.0.1/w.pt", DIGEST, kept)


def test_without_a_digest_nothing_is_asked_for(site: Site, kept: Path) -> None:
    with pytest.raises(UserError, match="needs scorer.sha256"):
        download(f"{site.address}/w.pt", None, kept)
    assert not site.asked


@pytest.mark.parametrize("where", ["{plain}/w.pt", "ftp://127.0.0.1/w.pt", "file:///etc/passwd"])
def test_a_redirect_out_of_https_is_refused(
    where: str, site: Site, plain_site: Site, kept: Path
) -> None:
    where = where.format(plain=plain_site.address)
    with pytest.raises(
        UserError, match=rf": leads to {where}: must stay with https$|'{where}' is not allowed\)$"
    ):
        download(f"{site.address}/to?{where}", DIGEST, kept)
    assert not plain_site.asked and not left(kept)


def test_what_is_not_the_named_file_leaves_nothing(
    site: Site, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "MAX_BYTES", 20_000_000)
    cases = {
        "w.pt": "is another file than scorer.sha256=0+ names",
        "gone.pt": r"cannot be downloaded \(HTTP Error 404",
        "cut": r"cannot be downloaded \(it broke off after 70000 of 2304000 bytes|IncompleteRead",
        "huge": "has more than 20000000 bytes",
        "endless": "has more than 20000000 bytes",
        f"to?{site.address}/to": "cannot be downloaded",
    }
    for name, message in cases.items():
        with pytest.raises(UserError, match=message) as caught:
            download(f"{site.address}/{name}", "0" * 64, kept)
        assert "\n" not in str(caught.value)
        assert not left(kept), name
    site.server.socket.close()
    with pytest.raises(UserError, match="cannot be downloaded"):
        download(f"{site.address}/w.pt", DIGEST, kept)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="downloads cannot be kept there"):
        download(f"{site.address}/w.pt", DIGEST, tmp_path / "file" / "folder")


def test_a_certificate_that_nobody_vouches_for(site: Site, kept: Path, tmp_path: Path) -> None:
    with serving(Site(tmp_path / "other", certified(trustme.CA()))) as other:
        with pytest.raises(UserError, match="cannot be downloaded .*certificate verify failed"):
            download(f"{other.address}/w.pt", DIGEST, kept)
        assert not other.asked and not left(kept)


def test_the_scorer_takes_its_weights_from_an_address(site: Site, tmp_path: Path) -> None:
    torch.save(build("srcnn", 2).state_dict(), site.folder / "net.pt")
    digest = hashlib.sha256((site.folder / "net.pt").read_bytes()).hexdigest()
    load = partial(PretrainedUpscaler, backbone="srcnn", scale=2, cache=tmp_path / "cache")
    there = load(f"{site.address}/net.pt", sha256=digest.upper())
    assert there.key() == load(str(site.folder / "net.pt"), sha256=digest).key()
    with pytest.raises(UserError, match="is another file than scorer.sha256="):
        load(str(site.folder / "w.pt"), sha256=digest)
    with pytest.raises(
        UserError,
        match="scorer.sha256=abc: must be the SHA-256 of the weights, 64 hexadecimal digits",
    ):
        load(str(site.folder / "net.pt"), sha256="abc")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("http://127.0.0.1:1/w.pt", "must be a file or an https address"),
        ("https://127.0.0.1:1/w.pt", "needs scorer.sha256"),
    ],
)
def test_the_command_says_so_in_one_line(weights: str, message: str, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "stdo.train",
        "scorer=pretrained",
        f"scorer.weights={weights}",
        "backbone=srcnn",
    ]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"stdo: weights={weights}: {message}")
    assert "Traceback" not in done.stderr and not list(tmp_path.iterdir())
