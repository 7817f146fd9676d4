"""The socket that a gateway listens on: bound before anything else is done, so that a taken port is said at once."""

from __future__ import annotations

import socket

from experts.errors import LaunchError


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a bound socket; port 0 takes any free one.

    Raises:
        LaunchError: the port is taken or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Accepted connections inherit it. Without it a stream's first token waits for the client's delayed ACK, 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise LaunchError("gateway", f"Cannot listen on {host}:{port} ({reason}): choose another --port.") from error
    listener.set_inheritable(True)
    return listener
