"""The socket and the signals around the application, by uvicorn."""

import asyncio
import errno
import os
import signal
import socket
import sys
from contextlib import suppress

import uvicorn

from codequarry.common.errors import UserError
from codequarry.integrations.serve.app import Service, refusing
from codequarry.integrations.serve.connections import Connections, protocol_of
from codequarry.integrations.serve.requests import Limits

LEAVING = 5  # seconds for the last answers to be read, once nothing is embedded any more
_KEEP_ALIVE = 5  # seconds that a connection may be idle between two requests
_FILES = 256  # that a process has open besides connections
_PRIVILEGED = 1024  # the first port that every user may listen on


class Server(uvicorn.Server):
    """uvicorn's server, which stops the service with itself and prints its address.

    Arguments: `limits` are those that `service` has; `about` is printed once it answers.
    """

    def __init__(self, service: Service, limits: Limits, about: str) -> None:
        config = uvicorn.Config(
            service.app,
            http=protocol_of(Connections(limits, refusing)),
            ws="none",
            lifespan="on",
            # Not warnings: uvicorn writes one for each request that is no HTTP.
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=int(limits.finish_seconds) + LEAVING,
        )
        super().__init__(config)
        self._service = service
        self._limits = limits
        self._about = about

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's. Raises UserError where another process has begun to listen on the port."""
        try:
            await super().startup(sockets)
        except OSError as error:  # two processes may bind a port, and only one may listen on it
            host, port = (sockets or [socket.socket()])[0].getsockname()[:2]
            raise _not_bound(host, port, error) from error
        if self.started:
            print(self._about, file=sys.stderr, flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, within `finish_seconds` and five seconds more, whatever clients do."""
        self._service.stop()
        # Before uvicorn cancels what is left, which it logs as an error of the application.
        asyncio.get_running_loop().call_later(self._limits.finish_seconds + LEAVING - 1, self._drop_all)
        await super().shutdown(sockets)

    def _drop_all(self) -> None:
        for connection in list(self.server_state.connections):
            transport = connection.transport
            if isinstance(transport, asyncio.Transport):
                transport.abort()


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to `host` and `port`, 0 for any that is free, and not listening yet.

    Raises UserError where it cannot be bound.
    """
    if not 0 <= port <= 65535:
        raise UserError(f"--port {port} is no port: pass one from 1 to 65535, or 0 for any that is free.")
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Connections inherit it. Without, the body of an answer waits 40 ms for the client to confirm its head.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        bound.bind((host, port))
    except (OSError, UnicodeError, ValueError) as error:  # the last two for a host that is no name at all
        bound.close()
        raise _not_bound(host, port, error) from error
    return bound


def _not_bound(host: str, port: int, error: Exception) -> UserError:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        remedy = "Another program listens there: stop it, or pass another --port (0 for any that is free)."
    elif number in (errno.EACCES, errno.EPERM) and 0 < port < _PRIVILEGED:
        remedy = f"Ports below {_PRIVILEGED} are the administrator's: pass another --port."
    else:
        remedy = "Pass another --host: an address of this machine, or a name of one."
    said = (error.strerror if isinstance(error, OSError) else None) or error
    return UserError(f"{host} port {port} cannot be listened on ({said}). {remedy}")


def serve(service: Service, bound: socket.socket, *, name: str, limits: Limits) -> None:
    """Answer requests on `bound` until SIGTERM or Ctrl-C; then finish what waits, and return.

    limits: those that `service` has. Ctrl-C raises KeyboardInterrupt once all is finished. Where the model
    is still in a batch at the end of the time that clients were promised, the process ends here.
    """
    host, port = bound.getsockname()[:2]
    address = f"[{host}]" if ":" in host else host
    _allow_files(2 * limits.all_connections + _FILES)
    server = Server(service, limits, f"{name} answers at http://{address}:{port}; Ctrl-C stops it")
    # uvicorn raises the signal once more when it has finished; the default action would end the process by
    # SIGTERM after a clean end.
    before = signal.signal(signal.SIGTERM, server.handle_exit)
    interrupted = False
    try:
        server.run(sockets=[bound])
    except KeyboardInterrupt:
        interrupted = True
    finally:
        signal.signal(signal.SIGTERM, before)
        bound.close()
    if service.at_work:
        # Python waits for threads at its end, and a batch of a large model takes minutes. It is nobody's any
        # more: every request has its answer.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(130 if interrupted else 0)
    if interrupted:
        raise KeyboardInterrupt


def _allow_files(count: int) -> None:
    """Let this process have `count` files open, as far as its user may; connections are files."""
    with suppress(ImportError, ValueError, OSError):  # Windows has no such limit
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
