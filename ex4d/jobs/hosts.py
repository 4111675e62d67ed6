"""Servers on other machines that this user knows, and the key by which they know this user.

The user's configuration folder has a folder `hosts`, private to this user:

    client.key      this user's key pair, created when first needed; a server's administrator gets the public key
    servers.json    name, address and public key of each server

A server is added to the list from the file that `ex4d server invite` makes. Nothing in that file is secret, but anyone
who can change it in transit can substitute another server, so it should arrive over a trusted channel.
Blender, the command line and scripts share the list.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from ex4d.errors import InputError
from ex4d.jobs import private_files
from ex4d.jobs.address import EVERYWHERE, parse_address
from ex4d.jobs.keys import ClientKeys, KeyPair, config_folder, read_key, read_pair, shown_key, write_pair

CLIENT, SERVERS = "client.key", "servers.json"
MOST_SERVERS = 20
MOST_FILE_BYTES = 4096
NAME = r"\w[\w .-]{0,39}"
_MAKE_AGAIN = "import your servers again"


@dataclass(frozen=True)
class KnownServer:
    """A server on another machine: its name, its address, and its public key (40 characters of Z85).

    Raises:
        InputError: the name or the address is invalid.
    """

    name: str
    address: str
    key: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not re.fullmatch(NAME, self.name):
            raise InputError(
                "The name of a server begins with a letter or digit, and has at most 40 letters, digits, spaces,"
                " dots and hyphens."
            )
        host, port = parse_address(self.address)
        if not port or host == EVERYWHERE:
            raise InputError(f"{self.address} is an address to listen on, not one to connect to.")

    @property
    def keys(self) -> ClientKeys:
        """The keys to connect with: the server's public key, and this user's pair, see `own_pair`."""
        return ClientKeys(self.key, own_pair())

    def to_file(self) -> str:
        """The text of the server file, which clients import."""
        plain = {"ex4d_server": self.name, "address": self.address, "key": shown_key(self.key)}
        return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"


def folder() -> Path:
    """The folder `hosts`. Nothing is created."""
    return config_folder() / "hosts"


def own_pair() -> KeyPair:
    """This user's key pair for servers on other machines; created if there is none yet.

    Raises:
        InputError: others can read it, it cannot be read or created, or ZeroMQ cannot encrypt here.
    """
    path = _private_folder() / CLIENT
    try:
        if not path.exists():
            write_pair(path, KeyPair.new())
        return read_pair(path, "press Copy My Key again, and send the new key to your servers' administrator")
    except OSError as error:
        raise InputError(f"{path} cannot be read or written ({error.strerror}).") from error


def known() -> tuple[KnownServer, ...]:
    """All servers in the list, sorted by name.

    Raises:
        InputError: others can change the list, it is damaged, or it cannot be read.
    """
    path = folder() / SERVERS
    try:
        private_files.check_folder(path.parent, _MAKE_AGAIN)
        text = private_files.read(path, _MAKE_AGAIN)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from error
    try:
        return tuple(sorted(map(_server, json.loads(text)), key=lambda server: server.name.casefold()))
    except (ValueError, TypeError, RecursionError, InputError) as error:
        raise InputError(f"The list of servers {path} is damaged: delete it and {_MAKE_AGAIN}.") from error


def find(name: str) -> KnownServer:
    """The server with this name.

    Raises:
        InputError: there is no such server in the list; see also `known`.
    """
    servers = known()
    for server in servers:
        if server.name == name:
            return server
    there = " and ".join(", ".join(server.name for server in servers).rsplit(", ", 1))
    only = f"no server named {name}, only {there}" if servers else "no servers"
    raise InputError(f"Your list has {only}: import {name}'s server file.")


def at(address: str) -> KnownServer | None:
    """The server at an address; None if the list has no such server.

    Raises:
        InputError: see `known`.
    """
    return next((server for server in known() if parse_address(server.address) == parse_address(address)), None)


def read_file(text: str | bytes) -> KnownServer:
    """The server described by a server file's text.

    Raises:
        InputError: it is not a server file.
    """
    try:
        if len(text) > MOST_FILE_BYTES:
            raise ValueError("too long")
        return _server(json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(
            "This is not a server file: ask the server's administrator for one, which the server's invite command"
            " makes."
        ) from error


def add(server: KnownServer) -> None:
    """Add a server to the list. A server with the same name and key gets the new address.

    Raises:
        InputError: the list has its name with another key or its address under another name, or is full; see `known`.
    """
    others = [each for each in known() if each.name != server.name]
    for each in known():
        if each.name == server.name and each.key != server.key:
            raise InputError(
                f"Your list has a server named {server.name} with another key, so this file may be somebody else's."
                f" If the administrator of {server.name} says that its key is new, remove it from the list first."
            )
    for each in others:
        if parse_address(each.address) == parse_address(server.address):
            raise InputError(f"{server.address} is in your list already, as {each.name}: remove that first.")
    if len(others) >= MOST_SERVERS:
        raise InputError(f"Your list has {MOST_SERVERS} servers, and no room for more: remove one first.")
    _write((*others, server))


def remove(name: str) -> None:
    """Remove a server from the list.

    Raises:
        InputError: see `find`.
    """
    gone = find(name)
    _write(tuple(server for server in known() if server != gone))


def _server(plain: object) -> KnownServer:
    if not isinstance(plain, dict) or set(plain) != {"ex4d_server", "address", "key"}:
        raise ValueError("no server")
    name, address, key = plain["ex4d_server"], plain["address"], plain["key"]
    if not all(isinstance(each, str) for each in (name, address, key)):
        raise TypeError("no text")
    return KnownServer(name, address, read_key(key))


def _write(servers: tuple[KnownServer, ...]) -> None:
    path = _private_folder() / SERVERS
    try:
        private_files.write(path, json.dumps([json.loads(server.to_file()) for server in servers], indent=2))
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}).") from error


def _private_folder() -> Path:
    try:
        folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        private_files.check_folder(folder(), _MAKE_AGAIN)
    except OSError as error:
        raise InputError(f"The folder {folder()} cannot be used ({error.strerror}).") from error
    return folder()
