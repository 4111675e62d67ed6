"""Addresses of servers."""

import ipaddress
import re

from ex4d.errors import InputError

DEFAULT_ADDRESS = "tcp://127.0.0.1:5750"


def parse_address(address: str) -> tuple[str, int]:
    """Host and port (0 for any free one) of a loopback address such as "tcp://127.0.0.1:5750".

    Raises:
        InputError: another transport, a name or address that other machines can reach, or no port.
    """
    match = re.fullmatch(r"tcp://([^/:\s]+):(\d{1,5}|\*)", address)
    if not match or (match[2] != "*" and int(match[2]) > 65535):
        raise InputError(f"{address!r} is not a server address: write it like {DEFAULT_ADDRESS}.")
    host = "127.0.0.1" if match[1] == "localhost" else match[1]
    try:
        loopback = ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise InputError(
            f"{address} can be reached from other machines, and this version guards only this one:"
            f" use a loopback address such as {DEFAULT_ADDRESS}."
        )
    return host, 0 if match[2] == "*" else int(match[2])
