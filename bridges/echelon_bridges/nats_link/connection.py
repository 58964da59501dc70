"""Where the server is, how it is spoken to, and what is wrong when it is not reached. No secret leaves this module."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import importlib.util
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from echelon_engine.config import Config, Nats
from echelon_engine.errors import UserError

if TYPE_CHECKING:
    from nats.aio.client import Client

EMBEDDED = "embedded"
CONNECT_S = 3.0
WAITING_MESSAGES, WAITING_BYTES = 1024, 1 << 20  # of one subscription, before messages are dropped


@dataclass(frozen=True)
class Server:
    """One server of the URL; `shown` is how it may be printed."""

    url: str
    shown: str
    secure: bool
    user: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"Server({self.shown!r})"


def servers_of(url: str) -> list[Server]:
    """Return the servers of a URL (several are separated by commas). Raises `UserError`, without any password."""
    return [_server(part.strip()) for part in url.split(",")]


def _server(url: str) -> Server:
    example = "write nats://host:4222, tls://user:password@host, or embedded"
    try:
        parts = urlsplit(url if "://" in url else f"nats://{url}")
        port, host = parts.port or 4222, parts.hostname or ""
    except ValueError:
        raise UserError("nats.url", "is no address", example) from None
    if parts.scheme not in ("nats", "tls") or not host or parts.path not in ("", "/") or parts.query or parts.fragment:
        shown = f"{parts.scheme}://{host}" if host else "nats.url"
        raise UserError(shown, "is no address of a NATS server", example)
    bracketed = f"[{host}]" if ":" in host else host
    shown = f"{parts.scheme}://{bracketed}:{port}"
    user, password = (unquote(word) if word is not None else None for word in (parts.username, parts.password))
    return Server(shown, shown, parts.scheme == "tls", user, password)


def check(config: Config) -> None:
    """Refuse what can be known to be wrong before anything is started: raises `UserError`.

    An address that is none, a file that cannot be read, an extra that is not installed.
    """
    nats = config.nats
    if not nats.url:
        return
    missing = [name for name in ("nats", "nkeys") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError("nats.url", f"needs {' and '.join(missing)}", "pip install 'echelon-engine[nats]'")
    if nats.url == EMBEDDED:
        from echelon_bridges.nats_link.server import binary

        binary()
    else:
        servers_of(nats.url)
    for key in ("credentials", "nkey", "tls_ca", "tls_cert", "tls_key"):
        path = getattr(nats, key)
        try:
            if path:
                with Path(path).expanduser().open("rb"):
                    pass
        except OSError as error:
            raise UserError(f"nats.{key} = {path}", f"cannot be read ({error.strerror})", "name a file") from None
    if nats.credentials and nats.nkey:
        raise UserError("nats.nkey", "goes without nats.credentials", "set one of them")
    if bool(nats.tls_cert) != bool(nats.tls_key):
        raise UserError("nats.tls_cert", "goes with nats.tls_key", "set both or none")
    if any((nats.tls_ca, nats.tls_cert)):
        _tls(nats)


def _tls(nats: Nats) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(Path(nats.tls_ca).expanduser()) if nats.tls_ca else None)
        if nats.tls_cert:
            context.load_cert_chain(Path(nats.tls_cert).expanduser(), Path(nats.tls_key).expanduser())
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(path for path in (nats.tls_ca, nats.tls_cert, nats.tls_key) if path)
        raise UserError(files, f"cannot be used for TLS ({_reason(error)})", "name PEM files") from None
    return context


async def connect(
    server: Server,
    nats: Nats,
    name: str,
    closed: Callable[[Exception | None], None],
    forbidden: Callable[[str], None],
) -> Client:
    """Return a connection called `name`, or raise `UserError` that says what is wrong; takes some seconds at most.

    It does not reconnect by itself: `closed(error)` is called once when it ends, for whatever reason. `forbidden(what)`
    is told what the server does not let this user do; the connection goes on.
    """
    from nats.aio.client import Client
    from nats.errors import Error

    class Connection(Client):
        """A client that sends no password over a line that should be TLS and is not, and bounds what waits."""

        def __init__(self) -> None:
            super().__init__()
            self._takers: dict[int, Callable[[str, bytes], None]] = {}

        async def take(self, subject: str, taker: Callable[[str, bytes], None]) -> None:
            """Subscribe; `taker(subject, data)` gets each message at once, so that no sender fills a queue of all."""
            self._takers[self._sid + 1] = taker
            await self.subscribe(subject)

        def _build_message(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: Any) -> Any:
            taker = self._takers.get(sid)
            if taker is None:
                return super()._build_message(sid, subject, reply, data, headers)
            taker(subject.decode("utf-8", "replace"), bytes(data))
            return None

        def _connect_command(self) -> bytes:
            if server.secure and not self._server_info.get("tls_required"):
                raise Error("the server does not offer TLS")
            return super()._connect_command()

        async def subscribe(self, subject: str, *args: Any, **options: Any) -> Any:
            options.setdefault("pending_msgs_limit", WAITING_MESSAGES)
            options.setdefault("pending_bytes_limit", WAITING_BYTES)
            return await super().subscribe(subject, *args, **options)

    client = Connection()
    failed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
    last: list[Exception | None] = [None]

    async def on_error(error: Exception) -> None:
        last[0] = error
        if not failed.done():
            failed.set_result(error)
        if "permissions violation" in str(error).lower():
            forbidden(str(error).removeprefix("nats: ").strip("'"))

    async def on_closed() -> None:
        closed(last[0] or client.last_error)

    options: dict[str, Any] = {}
    if nats.credentials:
        options["user_credentials"] = str(Path(nats.credentials).expanduser())
    elif nats.nkey:
        options["nkeys_seed"] = str(Path(nats.nkey).expanduser())
    if server.user is not None:
        if server.password is None:
            options["token"] = server.user
        else:
            options["user"], options["password"] = server.user, server.password
    trying: asyncio.Task[None] | None = None
    try:
        if server.secure or nats.tls_ca or nats.tls_cert:
            options["tls"] = _tls(nats)
        trying = asyncio.ensure_future(
            client.connect(
                [server.url],
                name=name,
                allow_reconnect=False,
                connect_timeout=CONNECT_S,  # type: ignore[arg-type]
                error_cb=on_error,
                closed_cb=on_closed,
                drain_timeout=1,
                **options,
            )
        )
        await asyncio.wait((trying, failed), timeout=2.0 * CONNECT_S, return_when=asyncio.FIRST_COMPLETED)
        if failed.done() and not (trying.done() and trying.exception() is None):
            raise failed.result()
        if not trying.done():
            raise TimeoutError
        await trying
    except BaseException as error:
        if trying is not None:
            trying.cancel()
            with contextlib.suppress(BaseException):
                await trying
        abort(client)
        if not isinstance(error, Exception):
            raise  # nobody waits for the connection any more
        raise UserError(server.shown, *explain(error, nats)) from None
    return client


def command(subject: str, payload: bytes) -> bytes:
    """Return the command that publishes a message."""
    return b"PUB %s %d\r\n%s\r\n" % (subject.encode(), len(payload), payload)


def post(client: Client, commands: list[bytes]) -> None:
    """Send whole commands now, in one piece; what the system does not take waits in the transport."""
    if commands:
        client._transport.write(b"".join(commands))  # type: ignore[union-attr]


def backlog_bytes(client: Client) -> int:
    """Return how much waits for the system to take it."""
    transport = client._transport._io_writer.transport  # type: ignore[union-attr]
    return int(client.pending_data_size + transport.get_write_buffer_size())


def abort(client: Client) -> None:
    """Cut the line without waiting for anybody."""
    with contextlib.suppress(Exception):
        client._transport._io_writer.transport.abort()  # type: ignore[union-attr]


async def within(seconds: float, task: Awaitable[Any]) -> bool:
    """Wait for a task for so long at most; return whether it was done, whatever it raised."""
    running = asyncio.ensure_future(task)
    done, _ = await asyncio.wait((running,), timeout=seconds)
    if not done:
        running.cancel()
        await asyncio.wait((running,), timeout=0.1)
        return False
    return not running.cancelled() and running.exception() is None


_REFUSED = f"[Errno {errno.ECONNREFUSED}]"  # as asyncio says it of a name with several addresses


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", "") or getattr(error, "reason", "") or error or type(error).__name__)


def explain(error: BaseException, nats: Nats) -> tuple[str, str]:
    """Return the rule that was broken and the remedy, for whatever a connection raised."""
    text = str(error)
    lower = text.lower()
    identity = "nats.credentials" if nats.credentials else "nats.nkey" if nats.nkey else "user and password in nats.url"
    if isinstance(error, UserError):
        return error.rule, error.remedy
    if "authorization" in lower or "authentication" in lower or "nkeys" in type(error).__module__:
        return "refuses these credentials", f"check {identity}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"has a certificate that is not trusted ({error.verify_message})", "name its authority in nats.tls_ca"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({_reason(error)})", "check nats.tls_ca, nats.tls_cert and nats.tls_key"
    if "does not offer tls" in lower:
        return "does not offer TLS", "turn it on there, or write nats:// if nobody may listen in"
    if isinstance(error, ConnectionRefusedError) or (isinstance(error, OSError) and _REFUSED in text):
        return "refuses the connection: nothing listens there", "start the server, or change nats.url"
    if isinstance(error, socket.gaierror):
        return f"is not known ({_reason(error)})", "change nats.url"
    if isinstance(error, TimeoutError | asyncio.TimeoutError) or "timeout" in lower:
        return f"did not answer within {CONNECT_S:g} s", "check the server and the network"
    if "expecting info" in lower or "json parse" in lower:
        return "is no NATS server", "change nats.url"
    if "unexpected eof" in lower or isinstance(error, ConnectionResetError | BrokenPipeError):
        return "ended the connection", "check the server"
    if isinstance(error, FileNotFoundError | PermissionError):
        return f"needs a file that cannot be read ({_reason(error)})", f"check {identity}"
    if isinstance(error, ValueError | TypeError | AttributeError | AssertionError):
        return "cannot be given these credentials (the file is not what it should be)", f"check {identity}"
    return f"cannot be reached ({_reason(error)})", "check the server and the network"
