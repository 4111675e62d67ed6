"""Sentences for the client's user that say why client and server cannot work together."""

from ex4d.jobs.address import is_loopback, parse_address
from ex4d.jobs.hosts import KnownServer

_OWN = "choose another address here, such as tcp://127.0.0.1:5751, and start your own server there."


def someone_elses(address: str, server: KnownServer | None) -> str:
    """The listener has not proved that it is the intended server."""
    if server is not None:
        return (
            f"What listens at {address} is not {server.name}, so nothing was sent to it. Its server may not be"
            f" running, or may have new keys: ask the administrator of {server.name}, and for a new server file if"
            " it has."
        )
    return (
        f"The server at {address} belongs to someone else on this machine, or is of an EX-4D version without keys,"
        f" so nothing was sent to it: stop it if it is yours, or {_OWN}"
    )


def not_admitted(address: str, server: KnownServer | None) -> str:
    """The server does not let this key in, or no longer does."""
    if server is not None:
        return (
            f"{server.name} does not let you in: send your key to its administrator (Copy My Key in Blender's"
            " preferences, or ex4d hosts key). If you were let in before, your key was removed from its list."
        )
    return (
        f"The server at {address} does not accept this program's key, which may have been removed from its list: {_OWN}"
    )


def no_answer(address: str, server: KnownServer | None) -> str:
    """Nothing listens at the address, or it does not answer."""
    if server is not None and is_loopback(parse_address(address)[0]):
        return (
            f"{server.name} does not answer at {address}, which is on this machine: start its tunnel, or ask its"
            " administrator whether its server is running."
        )
    if server is not None:
        return (
            f"{server.name} does not answer at {address}: check your network or VPN, or ask its administrator"
            " whether its server is running and its firewall lets you through."
        )
    return f"The EX-4D server at {address} does not answer: start it, or check the address."


def no_files(address: str, port: int, server: KnownServer | None) -> str:
    """The server answers, but its port for files does not."""
    name = f"The server at {address}" if server is None else server.name
    return (
        f"{name} answers, but no file gets through: its firewall, or the tunnel, has to let port {port} through as"
        " well; ask its administrator."
    )


def no_such_name(host: str, server: KnownServer) -> str:
    """The machine's name cannot be resolved."""
    return (
        f"The machine {host} of {server.name} cannot be found: check your network or VPN, or ask its administrator"
        " for a server file with another address."
    )


def not_in_list(address: str) -> str:
    """The server is on another machine, and only its address is known."""
    return (
        f"No server at {address} is in your list, so it is not known who listens there: import the server file"
        " first (Import Server File in Blender's preferences, or ex4d hosts add)."
    )
