"""Server addresses."""

import ipaddress
import re

from ex4d.errors import InputError

DEFAULT_ADDRESS = "tcp://127.0.0.1:5750"
EVERYWHERE = "0.0.0.0"
"""A server that listens here listens on all networks of its machine; clients cannot connect to this address."""


def parse_address(address: str) -> tuple[str, int]:
    """Host (a name or an IPv4 address) and port (0 for any free one) of an address such as "tcp://gpu-box:5750".

    Raises:
        InputError: the transport is not TCP, or the host or the port is missing or invalid.
    """
    match = re.fullmatch(r"tcp://([A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?):(\d{1,5}|\*)", address)
    if not match or (match[3] != "*" and int(match[3]) > 65535):
        raise InputError(f"{address!r} is not a server address: write it like {DEFAULT_ADDRESS} or tcp://gpu-box:5750.")
    host = "127.0.0.1" if match[1] == "localhost" else match[1]
    return host, 0 if match[3] == "*" else int(match[3])


def parse_own_address(address: str) -> tuple[str, int]:
    """Host and port of an address that only this machine can reach.

    Raises:
        InputError: it is not an address, or other machines can reach it.
    """
    host, port = parse_address(address)
    if not is_loopback(host):
        raise InputError(
            f"{address} is not on this machine: use one such as {DEFAULT_ADDRESS}, and import a server file for a"
            " server elsewhere."
        )
    return host, port


def is_numeric(host: str) -> bool:
    """Whether a host is an IPv4 address rather than a name that has to be looked up."""
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host. A name never counts, because it may mean another host tomorrow."""
    return is_numeric(host) and ipaddress.IPv4Address(host).is_loopback
