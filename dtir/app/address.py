"""Where the page is served."""

import errno
import socket

from dtir.core.errors import ConfigError


def listen(host: str, port: int) -> socket.socket:
    """A socket at an address of this machine.

    Args:
        host: Name or address; "0.0.0.0" is all of IPv4, "::" all.
        port: 0 takes any that is free.

    Raises:
        ConfigError: It is none of this machine's, in use, or not allowed.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(f"--port {port} is no port; take one from 1024 to 65535.")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except (socket.gaierror, UnicodeError) as error:
        raise ConfigError(f"--host {host} is no address: {error}.") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"port {port} of {host} is in use, perhaps by another dtir app; choose another: --port {port + 1}."
            ) from error
        raise ConfigError(f"cannot serve on port {port} of {host}: {error.strerror}.") from error


def url_of(address: socket.socket) -> str:
    """Where the page of a socket is found from this machine."""
    host, port = address.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
