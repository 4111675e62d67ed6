"""Identities: the CURVE keys by which a server and its user's programs know each other, and where they are kept.

A state folder has a folder `keys`, which the server creates when it first starts:

    server.key        the key pair of the server
    client.key        the key pair of this user's programs
    clients/*.pub     public keys of further programs that the server lets in, one per file

A client finds its server's state folder by address: the user's configuration folder has a file for each address,
which the server writes when it starts. All of this is private to the user (`ex4d.jobs.private_files`).
Servers on other machines, and the key for them, are in `ex4d.jobs.hosts`.
"""

import json
import os
import re
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from zmq.utils import z85

from ex4d.errors import InputError
from ex4d.jobs.address import EVERYWHERE, parse_address
from ex4d.jobs.private_files import START_AGAIN, check_folder, read, write

KEYS, SERVER, CLIENT, CLIENTS = "keys", "server.key", "client.key", "clients"
MOST_CLIENTS = 1000


@dataclass(frozen=True)
class KeyPair:
    """A CURVE key pair, each key as 40 characters of Z85."""

    public: str
    secret: str = field(repr=False)

    @classmethod
    def new(cls) -> "KeyPair":
        """Generate a pair.

        Raises:
            InputError: ZeroMQ cannot encrypt here.
        """
        check_curve()
        public, secret = zmq.curve_keypair()
        return cls(public.decode(), secret.decode())


@dataclass(frozen=True)
class ClientKeys:
    """What a client needs: the public key of its server, and its own pair."""

    server: str
    own: KeyPair

    @classmethod
    def nobodys(cls) -> "ClientKeys":
        """Throwaway keys with which no handshake succeeds: they show whether anything listens, and reveal nothing."""
        return cls(KeyPair.new().public, KeyPair.new())

    def put_on(self, socket: zmq.Socket) -> None:
        """Make a socket, before it is connected, talk to this server only."""
        socket.curve_serverkey = self.server.encode()
        socket.curve_publickey, socket.curve_secretkey = self.own.public.encode(), self.own.secret.encode()


def check_curve() -> None:
    """Raise `InputError` if this Python's ZeroMQ cannot encrypt."""
    if not zmq.has("curve"):
        raise InputError(
            "The ZeroMQ library of this Python does not support CURVE, without which anybody on this machine could"
            " use the server: install pyzmq again, from a wheel; in Blender, install the extension again."
        )


def make_keys(state: Path) -> KeyPair:
    """The server's key pair. It and the pair for the user's programs are created if they are missing.

    Raises:
        InputError: others can read the keys, they cannot be read or written, or ZeroMQ has no CURVE.
    """
    folder = state / KEYS
    check_curve()
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / CLIENTS).mkdir(mode=0o700, exist_ok=True)
        for private in (folder, folder / CLIENTS):
            check_folder(private)
        for name in (SERVER, CLIENT):
            if not (folder / name).exists():
                write_pair(folder / name, KeyPair.new())
    except OSError as error:
        raise InputError(f"The keys in {folder} cannot be made ({error.strerror}): choose another folder.") from error
    return read_pair(folder / SERVER)


def client_keys(state: Path) -> ClientKeys | None:
    """The keys with which this user's programs talk to the server of a state folder; None if there are none yet.

    Raises:
        InputError: others can read the keys, or they cannot be read.
    """
    folder = state / KEYS
    try:
        check_folder(folder)
        return ClientKeys(read_pair(folder / SERVER).public, read_pair(folder / CLIENT))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"The keys in {folder} cannot be read ({error.strerror}).") from error


def admitted(state: Path) -> frozenset[str]:
    """Public keys of all clients that the server of a state folder lets in. A file open to other users is ignored.

    Raises:
        OSError: an existing file cannot be read now.
    """
    own = set()
    with suppress(FileNotFoundError, InputError):
        check_folder(state / KEYS)
        own.add(read_pair(state / KEYS / CLIENT).public)
    return frozenset(own | set(further_clients(state).values()))


def further_clients(state: Path) -> dict[str, str]:
    """Public keys, by name, of the clients that the server lets in besides this user's own programs.

    Raises:
        OSError: an existing file cannot be read now.
    """
    folder, found = state / KEYS / CLIENTS, {}
    with suppress(FileNotFoundError, InputError):
        check_folder(folder)
        for path in sorted(folder.glob("*.pub"))[:MOST_CLIENTS]:
            with suppress(FileNotFoundError, InputError):
                found[path.stem] = _read_public(path)
    return found


def config_folder() -> Path:
    """The user's configuration folder for EX-4D. Nothing is created."""
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    return base / "ex4d"


def registry() -> Path:
    """The user's folder in which servers record where their state folders are. Nothing is created."""
    return config_folder() / "servers"


def announce(address: str, state: Path) -> None:
    """Record for this user's clients which state folder the server at an address uses.

    Raises:
        OSError: the record cannot be written.
        InputError: other users could change it, or the address is invalid.
    """
    folder = registry()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_folder(folder)
    entry, text = _entry(address), json.dumps({"address": address, "state": str(state)})
    for other in folder.glob("*.json"):  # earlier addresses of this state folder, and of folders that are gone
        with suppress(OSError, InputError):
            where = _state(other)
            if other != entry and (where == state or not where.is_dir()):
                other.unlink()
    with suppress(OSError, InputError):
        if read(entry, START_AGAIN) == text:
            return  # so that a full disk does no harm
    write(entry, text)


def find_state(address: str) -> Path | None:
    """The state folder of this user's server at an address; None if this user never had a server there.

    Raises:
        InputError: other users can access the record, it cannot be read, or the address is invalid.
    """
    entry = _entry(address)
    try:
        check_folder(entry.parent)
        return _state(entry)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{entry} cannot be read ({error.strerror}).") from error


def _entry(address: str) -> Path:
    host, port = parse_address(address)
    host = "127.0.0.1" if host == EVERYWHERE else host  # where programs on this machine connect to it
    return registry() / f"{host}_{port}.json"


def _state(entry: Path) -> Path:
    try:
        return Path(json.loads(read(entry, START_AGAIN))["state"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{entry} is damaged: start the server again.") from error


def read_pair(path: Path, remedy: str = START_AGAIN) -> KeyPair:
    """A key pair from a file private to this user; `remedy` says what to do if it is damaged.

    Raises:
        OSError: the file cannot be read.
        InputError: others can read it, or it is damaged.
    """
    try:
        plain = json.loads(read(path, remedy))
        pair = KeyPair(read_key(plain["public"]), read_key(plain["secret"]))
        if zmq.curve_public(pair.secret.encode()).decode() != pair.public:
            raise ValueError("the two do not belong together")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"The key file {path} is damaged: delete it and {remedy}.") from error
    return pair


def write_pair(path: Path, pair: KeyPair) -> None:
    """Write a key pair to a file private to this user."""
    write(path, json.dumps({"public": pair.public, "secret": pair.secret}))


def shown_key(key: str) -> str:
    """A key in the form that people copy: 64 hexadecimal digits, which no shell or mail program garbles."""
    return z85.decode(key).hex()


def read_key(text: str) -> str:
    """A key as 40 characters of Z85, from that form or from the one that `shown_key` gives.

    Raises:
        ValueError: the text is not a key.
    """
    text = text.strip()
    if re.fullmatch("[0-9a-fA-F]{64}", text):
        return z85.encode(bytes.fromhex(text)).decode()
    try:
        if len(text) == 40 and len(z85.decode(text)) == 32:
            return text
    except (KeyError, struct.error) as error:
        raise ValueError("no key") from error
    raise ValueError("no key")


def _read_public(path: Path) -> str:
    try:
        return read_key(read(path, START_AGAIN))
    except ValueError as error:
        raise InputError(f"The key file {path} is damaged: delete it and authorize the client again.") from error
