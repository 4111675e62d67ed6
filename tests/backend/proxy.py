"""A TCP proxy between a client and a real server that cuts connections at a chosen byte.

It listens on 127.0.0.2 at the ports that the server has on 127.0.0.1, so the ports the server announces stay valid.
"""

import contextlib
import selectors
import socket
import threading

from raw import Raw


class Proxy:
    """The proxy.

    Attributes:
        address: where clients connect.
        cuts: how many times it has cut connections.
        refuses: whether it currently refuses connections.
        swallows: whether it discards everything but file content until the connections are cut.
        moved: bytes moved since it was made: file content "up" and "down", and everything else as "control".
    """

    def __init__(self, server_address: str, bulk: int | None = None) -> None:
        self.cuts, self.refuses, self.swallows = 0, False, False
        self.moved = {"up": 0, "down": 0, "control": 0}
        self._cut_at: tuple[str, int] | None = None
        self._next_cut = iter(())
        if bulk is None:
            raw = Raw(server_address)
            bulk = raw.welcome.bulk_port
            raw.close()
        control = int(server_address.rsplit(":", 1)[1])
        self.address = f"tcp://127.0.0.2:{control}"
        self._selector = selectors.DefaultSelector()
        self._listeners = []
        for port in {control, bulk}:
            listener = socket.create_server(("127.0.0.2", port))
            self._selector.register(listener, selectors.EVENT_READ, ("listen", port, port == bulk))
            self._listeners.append(listener)
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._closing = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut_each(self, direction: str, distances) -> None:
        """Cut both connections after each of these numbers of further file bytes, one after another."""
        self._next_cut = iter(distances)
        self._direction = direction
        self._set_next()

    def cut_now(self) -> None:
        self._cut_at = (self._cut_at or ("down", 0))[0], 0

    def cut_control_now(self) -> None:
        """Cut all connections in the middle of the next message without file content."""
        self._cut_at = "control", 0

    @property
    def is_idle(self) -> bool:
        """Whether it has no connections."""
        return not self._pairs

    def close(self) -> None:
        self._closing = True
        self._thread.join()

    def _set_next(self) -> None:
        distance = next(self._next_cut, None)
        self._cut_at = None if distance is None else (self._direction, self.moved[self._direction] + distance)

    def _run(self) -> None:
        while not self._closing:
            for key, _ in self._selector.select(0.02):
                if key.fileobj.fileno() == -1:
                    continue  # closed by a cut in this round
                if key.data[0] == "listen":
                    self._accept(key)
                else:
                    self._move(key)
        self._cut()
        for listener in self._listeners:
            listener.close()
        self._selector.close()

    def _accept(self, key) -> None:
        near, _ = key.fileobj.accept()
        if self.refuses:
            near.close()
            return
        try:
            far = socket.create_connection(("127.0.0.1", key.data[1]))
        except OSError:
            near.close()
            return
        self._pairs.append((near, far))
        is_bulk = key.data[2]
        self._selector.register(near, selectors.EVENT_READ, ("move", far, "up" if is_bulk else "control"))
        self._selector.register(far, selectors.EVENT_READ, ("move", near, "down" if is_bulk else "control"))

    def _move(self, key) -> None:
        _, other, direction = key.data
        cut = self._cut_at is not None and self._cut_at[0] == direction
        room = max(self._cut_at[1] - self.moved[direction], 1) if cut else 1 << 18
        try:
            data = key.fileobj.recv(min(room, 1 << 18))
            if not data:
                raise ConnectionError
            if not (self.swallows and direction == "control"):
                other.sendall(data)
        except OSError:
            self._drop(next(pair for pair in self._pairs if other in pair))
            return
        self.moved[direction] += len(data)
        if cut and self.moved[direction] >= self._cut_at[1]:
            self._cut()
            self.cuts += 1
            self._set_next()

    def _cut(self) -> None:
        for pair in self._pairs.copy():
            self._drop(pair)
        self.swallows = False

    def _drop(self, pair: tuple[socket.socket, socket.socket]) -> None:
        """Close a connection that one of its ends has closed, or that is cut."""
        for end in pair:
            with contextlib.suppress(KeyError):
                self._selector.unregister(end)
            end.close()
        self._pairs.remove(pair)
