"""Passwords, NKeys and TLS: right ones work, wrong ones are said without being shown, nothing is sent in the clear."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from engines import wait_for
from nats_rig import Server, Stage, needs_nats

from echelon_bridges.nats_link.connection import check, servers_of
from echelon_engine.config import Config, Nats
from echelon_engine.errors import UserError

pytestmark = needs_nats
SECRET = "s3cret-w0rd"


def outcome(url: str, **nats: Any) -> Stage:
    """Return a closed stage that was connected or had something to say."""
    stage = Stage(url=url, **nats)
    try:
        wait_for(lambda: stage.connected() or stage.said, "an outcome")
    finally:
        stage.close()
    return stage


def connected(stage: Stage) -> bool:
    """Return whether it ever was."""
    return stage.outlet.report()["connections"] > 0


def test_user_and_password(tmp_path: Path) -> None:
    """User and password of the URL are used, and never said, neither right nor wrong."""
    server = Server(tmp_path, {"authorization": {"user": "stage", "password": SECRET}})
    try:
        right = outcome(f"nats://stage:{SECRET}@127.0.0.1:{server.port}")
        assert connected(right)
        wrong = outcome(f"nats://stage:{SECRET}x@127.0.0.1:{server.port}")
        assert wrong.said_with(server.url, "refuses these credentials", "user and password in nats.url")
        none = outcome(server.url)
        assert none.said_with("refuses these credentials")
        for stage in (right, wrong, none):
            assert SECRET not in repr(stage.said) + repr(stage.outlet.report())
    finally:
        server.close()


def test_password_with_special_letters(tmp_path: Path) -> None:
    """A password that is percent-encoded in the URL is sent as it is meant."""
    server = Server(tmp_path, {"authorization": {"user": "a@b", "password": "p:/w"}})
    try:
        assert connected(outcome(f"nats://a%40b:p%3A%2Fw@127.0.0.1:{server.port}"))
    finally:
        server.close()


def test_token(tmp_path: Path) -> None:
    """A word alone before the @ is a token."""
    server = Server(tmp_path, {"authorization": {"token": SECRET}})
    try:
        assert connected(outcome(f"nats://{SECRET}@127.0.0.1:{server.port}"))
    finally:
        server.close()


def test_nkey(tmp_path: Path) -> None:
    """An NKey seed file connects; another key is refused; a file that is none is said."""
    import nkeys

    def seed(letter: str) -> tuple[str, str]:
        made = nkeys.encode_seed(letter.encode() * 32, nkeys.PREFIX_BYTE_USER)
        file = tmp_path / f"{letter}.nk"
        file.write_bytes(made)
        return str(file), nkeys.from_seed(bytearray(made)).public_key.decode()

    file, public = seed("a")
    other, _ = seed("b")
    broken = tmp_path / "broken.nk"
    broken.write_text("not a seed")
    server = Server(tmp_path, {"authorization": {"users": [{"nkey": public}]}})
    try:
        assert connected(outcome(server.url, nkey=file))
        assert outcome(server.url, nkey=other).said_with("refuses these credentials", "nats.nkey")
        assert outcome(server.url, nkey=str(broken)).said_with("credentials", "nats.nkey")
        assert outcome(server.url, credentials=str(broken)).said_with("credentials", "nats.credentials")
    finally:
        server.close()


def openssl(*arguments: str) -> None:
    """Run openssl."""
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def certificate(folder: Path, name: str) -> tuple[str, str]:
    """Make a self-signed certificate of 127.0.0.1 and return its file and its key's."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subject = ("-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1")
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-keyout", str(key), "-out", str(cert), *subject)  # fmt: skip
    return str(cert), str(key)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, which makes the certificates, is not installed")
def test_tls(tmp_path: Path) -> None:
    """A trusted server is connected to, one that is not trusted is refused, with the remedy."""
    cert, key = certificate(tmp_path, "server")
    other, _ = certificate(tmp_path, "other")
    server = Server(tmp_path, {"tls": {"cert_file": cert, "key_file": key}})
    url = server.url.replace("nats://", "tls://")
    try:
        assert connected(outcome(url, tls_ca=cert))
        assert outcome(url).said_with("not trusted", "nats.tls_ca")
        assert outcome(url, tls_ca=other).said_with("not trusted", "nats.tls_ca")
    finally:
        server.close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, which makes the certificates, is not installed")
def test_client_certificate(tmp_path: Path) -> None:
    """A server that wants a certificate gets it; without one the connection fails with a sentence."""
    cert, key = certificate(tmp_path, "both")
    server = Server(tmp_path, {"tls": {"cert_file": cert, "key_file": key, "ca_file": cert, "verify": True}})
    url = server.url.replace("nats://", "tls://")
    try:
        assert connected(outcome(url, tls_ca=cert, tls_cert=cert, tls_key=key))
        assert any(event == "warning" for event, _ in outcome(url, tls_ca=cert).said)
    finally:
        server.close()


def test_no_password_in_the_clear(tmp_path: Path) -> None:
    """A tls:// server that offers no TLS gets no password."""
    server = Server(tmp_path, {"authorization": {"user": "stage", "password": SECRET}})
    try:
        stage = outcome(f"tls://stage:{SECRET}@127.0.0.1:{server.port}")
        assert not connected(stage)
        assert stage.said_with("does not offer TLS")
    finally:
        server.close()


@pytest.mark.parametrize(
    "url",
    ["http://x", "nats://", "nats://host:99999", "nats://a:b@host:x", f"nats://u:{SECRET}@host/path", "nats://[::1"],
)
def test_wrong_addresses(url: str) -> None:
    """What is no address is refused before anything is started, without its password."""
    with pytest.raises(UserError) as refused:
        check(Config(nats=Nats(url=url)))
    assert SECRET not in str(refused.value)
    assert "nats://host:4222" in str(refused.value)


def test_several_servers() -> None:
    """Several servers are separated by commas; none shows its password."""
    first, second = servers_of(f"nats://u:{SECRET}@one, tls://[::1]:5222")
    assert (first.shown, first.user, first.password, first.secure) == ("nats://one:4222", "u", SECRET, False)
    assert (second.shown, second.secure) == ("tls://[::1]:5222", True)
    assert SECRET not in repr(first)


@pytest.mark.parametrize(
    ("nats", "words"),
    [
        ({"credentials": "/no/such/file"}, ("nats.credentials", "cannot be read")),
        ({"nkey": "/no/such/file"}, ("nats.nkey", "cannot be read")),
        ({"tls_cert": __file__}, ("nats.tls_key",)),
        ({"tls_ca": __file__}, ("cannot be used for TLS",)),
        ({"nkey": __file__, "credentials": __file__}, ("nats.credentials",)),
    ],
)
def test_wrong_files(nats: dict[str, str], words: tuple[str, ...]) -> None:
    """Files that are missing, wrong or without their other half are refused before anything is started."""
    with pytest.raises(UserError) as refused:
        check(Config(nats=Nats(url="nats://host", **nats)))
    for word in words:
        assert word in str(refused.value)
