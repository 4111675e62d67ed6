"""Who is who: the CURVE keys by which a server and its user's programs know each other, and where they are kept.

A state folder has a folder `keys`, which the server makes at its first start:

    server.key        the key pair of the server
    client.key        the key pair of this user's programs
    clients/*.pub     public keys of further programs that the server lets in, one in each file

A client finds the state folder of its server by the address: the user's configuration folder has a file for each
address, which the server writes when it starts. All of this is for the user alone (mode 700 and 600), and is not used
where it is not: a key that others can read proves nothing. Windows keeps such folders for the user by itself.
"""

import json
import os
import secrets
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from zmq.utils import z85

from ex4d.errors import InputError
from ex4d.jobs.address import parse_address

KEYS, SERVER, CLIENT, CLIENTS = "keys", "server.key", "client.key", "clients"
MOST_BYTES = 16 * 1024
MOST_CLIENTS = 1000


@dataclass(frozen=True)
class KeyPair:
    """A CURVE key pair, each key as 40 characters of Z85."""

    public: str
    secret: str = field(repr=False)

    @classmethod
    def new(cls) -> "KeyPair":
        """A pair that nobody has seen."""
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
        """Keys with which no handshake succeeds: they show whether somebody listens, and tell nothing to anybody."""
        return cls(KeyPair.new().public, KeyPair.new())

    def put_on(self, socket: zmq.Socket) -> None:
        """Let a socket that is not connected yet talk to this server only."""
        socket.curve_serverkey = self.server.encode()
        socket.curve_publickey, socket.curve_secretkey = self.own.public.encode(), self.own.secret.encode()


def check_curve() -> None:
    """Raises `InputError` where this Python's ZeroMQ cannot encrypt."""
    if not zmq.has("curve"):
        raise InputError(
            "The ZeroMQ library of this Python has no CURVE, without which anybody on this machine could use the"
            " server: install pyzmq again, from a wheel; in Blender, install the extension again."
        )


def make_keys(state: Path) -> KeyPair:
    """The server's key pair; it and that of the user's programs are made where they are missing.

    Raises:
        InputError: others can read them, or they cannot be read or written; ZeroMQ has no CURVE.
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
                pair = KeyPair.new()
                _write(folder / name, json.dumps({"public": pair.public, "secret": pair.secret}))
    except OSError as error:
        raise InputError(f"The keys in {folder} cannot be made ({error.strerror}): choose another folder.") from error
    return _pair(folder / SERVER)


def client_keys(state: Path) -> ClientKeys | None:
    """The keys by which this user's programs talk to the server of a state folder; None where it has made none yet.

    Raises:
        InputError: others can read them, or they cannot be read.
    """
    folder = state / KEYS
    try:
        check_folder(folder)
        return ClientKeys(_pair(folder / SERVER).public, _pair(folder / CLIENT))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"The keys in {folder} cannot be read ({error.strerror}).") from error


def admitted(state: Path) -> frozenset[str]:
    """Public keys of all whom the server of a state folder lets in. A file that others can write admits nobody.

    Raises:
        OSError: something that is there cannot be read now.
    """
    folder, found = state / KEYS, set()
    with suppress(FileNotFoundError, InputError):
        check_folder(folder)
        found.add(_pair(folder / CLIENT).public)
    with suppress(FileNotFoundError, InputError):
        check_folder(folder / CLIENTS)
        for path in sorted((folder / CLIENTS).glob("*.pub"))[:MOST_CLIENTS]:
            with suppress(FileNotFoundError, InputError):
                found.add(_key(_read(path).strip(), path))
    return frozenset(found)


def registry() -> Path:
    """The folder of the user in which servers write where their state folders are."""
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    return base / "ex4d" / "servers"


def announce(address: str, state: Path) -> None:
    """Write down for this user's clients which state folder the server at an address uses.

    Raises:
        OSError, InputError: it cannot be written, or others could.
    """
    folder = registry()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_folder(folder)
    entry, text = _entry(address), json.dumps({"address": address, "state": str(state)})
    for other in folder.glob("*.json"):  # where this folder, or one that is gone, was served earlier
        with suppress(OSError, InputError):
            where = _state(other)
            if other != entry and (where == state or not where.is_dir()):
                other.unlink()
    with suppress(OSError, InputError):
        if _read(entry) == text:
            return  # so a full disk is no trouble
    _write(entry, text)


def find_state(address: str) -> Path | None:
    """The state folder of this user's server at an address; None where no server of this user was there.

    Raises:
        InputError: others can write there, or it cannot be read.
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
    return registry() / f"{host}_{port}.json"


def _state(entry: Path) -> Path:
    try:
        return Path(json.loads(_read(entry))["state"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{entry} is damaged: start the server again.") from error


def _pair(path: Path) -> KeyPair:
    try:
        plain = json.loads(_read(path))
        pair = KeyPair(_key(plain["public"], path), _key(plain["secret"], path))
        if zmq.curve_public(pair.secret.encode()).decode() != pair.public:
            raise ValueError("the two do not belong together")
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"The key file {path} is damaged: delete it and start the server again.") from error
    return pair


def _key(text: str, path: Path) -> str:
    try:
        if len(text) == 40 and len(z85.decode(text)) == 32:
            return text
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise InputError(f"The key file {path} is damaged: delete it and start the server again.")


def _read(path: Path) -> str:
    """Content of a small file that is for this user alone.

    Raises:
        OSError: it cannot be read. InputError: others can use it, too.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    if path.is_symlink():
        raise InputError(f"{path} is a link, and none is followed here: delete it and start the server again.")
    with os.fdopen(os.open(path, flags), "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise InputError(f"{path} is no file: delete it and start the server again.")
        _check_private(path, about)
        return file.read(MOST_BYTES).decode("utf-8")


def check_folder(folder: Path) -> None:
    """Raises `InputError` where a folder is not for this user alone, `OSError` where it cannot be looked at."""
    about = os.lstat(folder)
    if not stat.S_ISDIR(about.st_mode):
        raise InputError(f"{folder} is no folder, and no link is followed here: delete it and start the server again.")
    _check_private(folder, about)


def _check_private(path: Path, about: os.stat_result) -> None:
    """Raises `InputError` where somebody else can read or change a file; systems without users' modes know none."""
    user = getattr(os, "getuid", None)
    if user is None:
        return
    if about.st_uid != user():
        raise InputError(f"{path} belongs to another user of this machine: use a state folder of your own.")
    if about.st_mode & 0o077:
        raise InputError(
            f"{path} is open to other users of this machine, who may have seen or changed it: delete it and start the"
            " server again, which makes it anew."
        )


def _write(path: Path, text: str) -> None:
    """Write a file for this user alone, in one step."""
    written = path.with_name(f".{secrets.token_hex(4)}.new")
    try:
        with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(written, path)
    except BaseException:
        written.unlink(missing_ok=True)
        raise
