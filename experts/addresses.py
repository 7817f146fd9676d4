"""Addresses that hand out a cloud machine's credentials to whoever on it asks. No conversation ever goes there.

`forbidden` says so of an address however it is written; `guarded_socket` holds it where a connection is made, so that
a name which meant something else when it was registered helps nobody. Link-local addresses may not be registered over
HTTP either, but machines that are cabled to each other have them: a configuration file may name them.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

Address = IPv4Address | IPv6Address
METADATA_NAMES = frozenset({"metadata.google.internal", "metadata.goog", "metadata", "instance-data"})
METADATA = tuple(
    ip_network(each)
    for each in (
        "169.254.169.254/32",  # nearly everybody's
        "169.254.170.0/24",  # Amazon: containers and pods
        "169.254.42.42/32",  # Scaleway
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure
        "192.0.0.192/32",  # Oracle
        "fd00:ec2::254/128",  # Amazon
        "fd00:ec2::23/128",
        "fd20:ce::254/128",  # Google
    )
)
LINK_LOCAL = (ip_network("169.254.0.0/16"), ip_network("fe80::/10"))
CARRIERS = tuple(ip_network(each) for each in ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96"))
"""IPv6 networks whose last four bytes are an IPv4 address: NAT64 (RFC 6052, 8215), IPv4-compatible (RFC 4291),
IPv4-translated (RFC 2765)."""


def forbidden(text: str) -> bool:
    """Say whether a text is an address that nobody may register, in any of the ways to write it; a name is not."""
    return _within(text, METADATA + LINK_LOCAL)


def hands_out_credentials(text: str) -> bool:
    """Say whether a text is the address of a cloud's metadata service, in any of the ways to write it."""
    return _within(text, METADATA)


def _within(text: str, networks: Sequence[Any]) -> bool:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return any(each in network for each in (address, plain(address)) for network in networks)


def plain(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one carries (mapped, compatible, 6to4, Teredo, NAT64), else itself."""
    if isinstance(address, IPv4Address):
        return address
    if any(address in network for network in CARRIERS):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or teredo or address


def guarded_socket(info: tuple[Any, ...]) -> socket.socket:
    """Return a socket for an address that `getaddrinfo` found, as aiohttp's connector asks for one.

    Raises:
        PermissionError: it is a cloud's metadata service.
    """
    family, kind, protocol, _, place = info
    if hands_out_credentials(str(place[0])):
        raise PermissionError(errno.EACCES, "nothing is sent to a cloud's metadata service")
    return socket.socket(family, kind, protocol)
