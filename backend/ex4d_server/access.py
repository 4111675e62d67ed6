"""Who may use a server on this machine from other machines: one named public key per client, in the state folder.

A running server picks up changes within half a second.
"""

import json
import re
import socket
from pathlib import Path

from ex4d.errors import InputError
from ex4d.jobs import private_files
from ex4d.jobs.address import DEFAULT_ADDRESS, EVERYWHERE, is_loopback, is_numeric, parse_address
from ex4d.jobs.hosts import KnownServer
from ex4d.jobs.keys import CLIENTS, KEYS, further_clients, make_keys, read_key

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}"
"""Pattern for a client's name, which is also its file name."""
LAST_PORT = 65535
RESERVED = r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?"
"""File names that Windows reserves, whatever follows the first dot."""


def place_to_listen(address: str) -> tuple[str, int]:
    """IPv4 address and port of an address to listen on.

    Raises:
        InputError: it is not an address to listen on.
    """
    host, port = parse_address(address)
    if not is_numeric(host):
        raise InputError(
            f"{address} names a machine, but a server listens on an address: write the IPv4 address of this"
            f" machine, or tcp://{EVERYWHERE}:{port or '*'} for all of its addresses."
        )
    return host, port


def port_for_files(address: str) -> int:
    """The port after an address's own; 0, meaning any free port, on loopback or if the address has port 0.

    Raises:
        InputError: it is not an address to listen on, or its port is the last one.
    """
    host, port = place_to_listen(address)
    if is_loopback(host) or not port:
        return 0
    if port == LAST_PORT:
        raise InputError(f"There is no port after that of {address} for files: give one with --files-port.")
    return port + 1


def check_guarded(address: str, state: Path) -> None:
    """Raise `InputError` if other machines could reach a server that lets none of them in."""
    if not is_loopback(parse_address(address)[0]) and not clients(state):
        raise InputError(
            f"Other machines can reach {address}, but no client is let in yet: let one in with `ex4d server"
            " authorize KEY --name NAME`; the key comes from Copy My Key in the client's Blender preferences, or"
            " from `ex4d hosts key`."
        )


def prepare(state: Path) -> str:
    """The server's public key. The folder and the keys are created if they are missing.

    Raises:
        InputError: the folder or a key is open to other users, or cannot be created.
    """
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        private_files.check_folder(state.resolve(), "start the server again")
    except OSError as error:
        raise InputError(f"The state folder {state} cannot be used ({error.strerror}): choose another.") from error
    return make_keys(state).public


def authorize(state: Path, key: str, name: str) -> str:
    """Let a client in; returns its name, which is the earlier one if the key was already listed.

    Args:
        key: public key, as `ex4d.jobs.keys.read_key` takes it.
        name: what the server's administrator calls the client.

    Raises:
        InputError: the key or the name is invalid, or the name already belongs to another key; see also `prepare`.
    """
    try:
        public = read_key(key)
    except ValueError as error:
        raise InputError(
            "That is not a key. A key has 64 hexadecimal digits; get it with Copy My Key in Blender's preferences or"
            " `ex4d hosts key`."
        ) from error
    if not re.fullmatch(NAME, name):
        raise InputError("A client's name has up to 60 letters from a to z, digits, dots, hyphens and underscores.")
    if re.fullmatch(RESERVED, name, re.IGNORECASE):
        raise InputError(f"Windows can have no file named {name}: choose another name.")
    if public == prepare(state):
        raise InputError("This is the key of this server itself: ask for the client's key.")
    there = clients(state)
    for known, other in there.items():
        if other == public:
            return known
    # The file systems of macOS and Windows do not distinguish Anna from anna.
    if taken := next((known for known in there if known.casefold() == name.casefold()), ""):
        raise InputError(
            f"{taken} already has another key: choose another name, or first run `ex4d server revoke {taken}`."
        )
    path = state / KEYS / CLIENTS / f"{name}.pub"
    try:
        private_files.write_new(path, f"{public}\n")
    except FileExistsError as error:
        raise InputError(f"{path} already exists and is not a usable key: delete it first.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}).") from error
    return name


def revoke(state: Path, who: str) -> str:
    """Stop letting in the client with this name or key; returns the name.

    Raises:
        InputError: there is no such client, or its file cannot be removed.
    """
    there = clients(state)
    try:
        key = read_key(who)
    except ValueError:
        key = ""
    names = [name for name, known in there.items() if name == who or known == key]
    if not names:
        known = f"The clients are {', '.join(there)}." if there else "No client is let in."
        raise InputError(f"No client named {who[:100]} is let in. {known}")
    path = state / KEYS / CLIENTS / f"{names[0]}.pub"
    try:
        path.unlink()
    except OSError as error:
        raise InputError(f"{path} cannot be removed ({error.strerror}).") from error
    return names[0]


def clients(state: Path) -> dict[str, str]:
    """Public keys of the clients that the server lets in, by name.

    Raises:
        InputError: the list cannot be read.
    """
    try:
        return further_clients(state)
    except OSError as error:
        raise InputError(f"The keys in {state / KEYS} cannot be read ({error.strerror}).") from error


def invitation(state: Path, name: str | None, address: str | None) -> KnownServer:
    """What a client has to know about the server.

    Args:
        name: what clients call the server; None for this machine's name.
        address: where clients reach the server; None for the running server's own address, with this machine's name
            if it listens on all addresses.

    Raises:
        InputError: no address is given, and other machines cannot reach that of the server; see also `KnownServer`
            and `prepare`.
    """
    key, here = prepare(state), socket.gethostname()
    if address is None:
        host, port = parse_address(_served(state))
        if is_loopback(host):
            raise InputError(
                "As it runs now, only this machine can reach the server: start it with `ex4d serve --address"
                " tcp://0.0.0.0:5750`, or say with --address how clients reach it, for example through a tunnel."
            )
        address = f"tcp://{here if host == EVERYWHERE else host}:{port}"
    return KnownServer(name or here, address, key)


def _served(state: Path) -> str:
    """Where the server of a state folder listens; the default address if none is running."""
    try:
        return str(json.loads((state / "server.json").read_text(encoding="utf-8"))["address"])
    except (OSError, ValueError, KeyError, TypeError):
        return DEFAULT_ADDRESS
