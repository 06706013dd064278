"""The socket and the signals around the application, by uvicorn."""

import signal
import socket
import sys

import uvicorn

from codequarry.common.errors import UserError
from codequarry.integrations.serve.app import Service
from codequarry.integrations.serve.requests import Limits

_LEAVING = 5  # seconds for the last answers to be read
# Open connections, those of slow or silent clients included, per request that may be worked on; beyond,
# uvicorn answers 503.
_CONNECTIONS = 4


class _Server(uvicorn.Server):
    """uvicorn's server, which stops the service with itself and prints its address."""

    def __init__(self, service: Service, config: uvicorn.Config, about: str) -> None:
        super().__init__(config)
        self._service = service
        self._about = about

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(self._about, file=sys.stderr, flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.stop()
        await super().shutdown(sockets)


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to `host` and `port`, 0 for any that is free, and not listening yet.

    Raises UserError where it cannot be bound.
    """
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Connections inherit it. Without, the body of an answer waits 40 ms for the client to confirm its head.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise UserError(
            f"{host} port {port} cannot be listened on ({error.strerror or error}). "
            "Pass another --port or --host."
        ) from error
    return bound


def serve(service: Service, bound: socket.socket, *, name: str, limits: Limits) -> None:
    """Answer requests on `bound` until SIGTERM or Ctrl-C; then finish what waits, and return.

    limits: those that `service` has. Ctrl-C raises KeyboardInterrupt once all is finished.
    """
    host, port = bound.getsockname()[:2]
    config = uvicorn.Config(
        service.app,
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS * limits.requests,
        timeout_graceful_shutdown=int(limits.finish_seconds) + _LEAVING,
    )
    address = f"[{host}]" if ":" in host else host
    server = _Server(service, config, f"{name} answers at http://{address}:{port}; Ctrl-C stops it")
    # uvicorn raises the signal once more when it has finished; the default action would end the process by
    # SIGTERM after a clean end.
    before = signal.signal(signal.SIGTERM, server.handle_exit)
    try:
        server.run(sockets=[bound])
    finally:
        signal.signal(signal.SIGTERM, before)
        bound.close()
