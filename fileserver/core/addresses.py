"""Addresses of clients and proxies, as text that web servers give; the empty one is that of a unix socket."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from fileserver.core.names import quoted

UNIX = "unix"
"""In the settings, whoever is connected through a unix socket."""

_Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class Peers:
    """Some addresses and networks, and perhaps whoever comes through a unix socket."""

    networks: Sequence[object]
    unix: bool

    def __contains__(self, address: str) -> bool:
        if not address:
            return self.unix
        parsed = _parse(address)
        return parsed is not None and any(parsed in network for network in self.networks)  # type: ignore[operator]


def parse_peers(items: Sequence[str]) -> Peers:
    """Read addresses, networks such as `10.0.0.0/8`, and `unix`. Raises ValueError."""
    networks = []
    for item in items:
        if item != UNIX:
            try:
                networks.append(ip_network(item))
            except ValueError:
                raise ValueError(
                    f"{quoted(item)} is not an address, a network without bits of a host, or unix"
                ) from None
    return Peers(networks, UNIX in items)


def forwarded_chain(peer: str, forwarded_for: str, trusted: Peers) -> list[str]:
    """The end of X-Forwarded-For that can be believed, from the client to the proxy nearest to this server.

    Each proxy adds whom it is connected to at the right. So the last address is believed if *peer* is *trusted*, and
    each other one if that on its right is. Without ports; empty if nothing is believed.
    """
    chain: list[str] = []
    adder = peer
    for item in reversed(forwarded_for.split(",")):
        address = _without_port(item.strip())
        if adder not in trusted or address is None:
            break
        chain.insert(0, address)
        adder = address
    return chain


def is_local(address: str) -> bool:
    """Whether *address* is of this machine only: a loopback address, or that of a unix socket."""
    parsed = _parse(address)
    return not address or (parsed is not None and parsed.is_loopback)


def household(address: str) -> str:
    """Who is counted as one: an address, or of IPv6 the network of 64 bits, which one client has all of."""
    parsed = _parse(address)
    return str(IPv6Network((parsed, 64), strict=False)) if isinstance(parsed, IPv6Address) else str(parsed or address)


def _parse(address: str) -> _Address | None:
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    return (isinstance(parsed, IPv6Address) and parsed.ipv4_mapped) or parsed


def _without_port(item: str) -> str | None:
    """The address in *item*, which may have a port; None if there is none."""
    if item.startswith("["):
        item = item[1:].partition("]")[0]
    elif item.count(":") == 1:
        item = item.partition(":")[0]
    parsed = _parse(item)
    return None if parsed is None else str(parsed)
