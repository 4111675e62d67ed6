"""Drop a file into a window of another program, as a file manager does: `python drop.py FILE X Y`.

The source's side of the XDND protocol, version 5 (https://freedesktop.org/wiki/Specifications/XDND). The pointer has to
be at (X, Y) of the screen already. Ends with an error when the window under it takes no files.
"""

import sys
import time
from pathlib import Path

from Xlib import X, display
from Xlib.protocol import event
from Xlib.xobject.drawable import Window

VERSION = 5
PATIENCE_S = 10.0


def target_at(screen: Window, aware: int, x: int, y: int) -> Window:
    """The window under a place of the screen that takes drops; raises LookupError where there is none."""
    window = screen
    while True:
        child = window.translate_coords(screen, x, y).child
        if child == X.NONE or isinstance(child, int):
            raise LookupError(f"no window at ({x}, {y}) takes files")
        window = child
        if window.get_full_property(aware, X.AnyPropertyType) is not None:
            return window


def drop(file: Path, x: int, y: int) -> None:
    """Drop it; returns once the other program has taken it.

    Raises:
        LookupError: nothing there takes files.
        TimeoutError: the other program did not answer.
    """
    server = display.Display()
    screen = server.screen().root
    atom = server.intern_atom
    uris = atom("text/uri-list")
    target = target_at(screen, atom("XdndAware"), x, y)
    source = screen.create_window(0, 0, 1, 1, 0, X.CopyFromParent)
    selection = atom("XdndSelection")
    source.set_selection_owner(selection, X.CurrentTime)

    def send(kind: str, *data: int) -> None:
        words = [source.id, *data, *[0] * (4 - len(data))]
        target.send_event(event.ClientMessage(window=target, client_type=atom(kind), data=(32, words)))
        server.flush()

    def answer(request: event.SelectionRequest) -> None:
        text = f"{file.resolve().as_uri()}\r\n".encode()
        request.requestor.change_property(request.property, uris, 8, text)
        told = event.SelectionNotify(
            time=request.time,
            requestor=request.requestor,
            selection=request.selection,
            target=request.target,
            property=request.property,
        )
        request.requestor.send_event(told)
        server.flush()

    def wait_for(kind: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if not server.pending_events():
                time.sleep(0.01)
                continue
            heard = server.next_event()
            if heard.type == X.SelectionRequest:
                answer(heard)
            elif heard.type == X.ClientMessage and heard.client_type == atom(kind):
                return
        raise TimeoutError(f"the window sent no {kind}")

    send("XdndEnter", VERSION << 24, uris)
    send("XdndPosition", 0, (x << 16) | y, X.CurrentTime, atom("XdndActionCopy"))
    wait_for("XdndStatus")
    send("XdndDrop", 0, X.CurrentTime)
    wait_for("XdndFinished")


if __name__ == "__main__":
    drop(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
