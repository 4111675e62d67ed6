"""The process that renders looks for clients, one at a time: `python -m ex4d_server.looker`, started by the lookout.

It ends when its standard input closes, as a worker does, and keeps in memory only what `ex4d.render.looking` does.
"""

import argparse
import os
import signal
import threading
from pathlib import Path

import numpy as np
import zmq

from ex4d.errors import EX4DError
from ex4d.geometry import transforms
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.depth_video import DepthVideo, save_depth
from ex4d.jobs.codec import decode, encode, sentence
from ex4d.jobs.keys import ClientKeys, KeyPair
from ex4d.jobs.messages import Look, Seen, Unseen
from ex4d.render import classes
from ex4d.render.looking import Looker, Others, PlateFile, View
from ex4d_server.content import check, run
from ex4d_server.orders import GONE, KEYS_VARIABLE, LOOKOUT_MESSAGES, TOKEN_VARIABLE, Ready, blob_folder
from ex4d_server.worker import end_with_supervisor, note_exception

WHAT_MOVES, PLATE = "the video of what moves", "the clean plate's depth file"


def answer(looker: Looker, blobs: Path, look: Look) -> Seen | Unseen:
    """The answer to a look: what is visible, or why the look failed."""
    path = blobs / look.depth
    try:
        if not run(check(path, look.depth)):
            return Unseen(look.number, GONE)
        (source,) = transforms.check(np.reshape(look.source_to_world, (1, 4, 4)), name="source_to_world")
        others = others_of(look, blobs)
        view = View(look.frame, look.camera, source, look.render.occlusion, look.render.release_compat, others)
        found = looker.look(look.depth, path, view)
    except FileNotFoundError:
        return Unseen(look.number, GONE)
    except (EX4DError, OSError) as error:
        return Unseen(look.number, said(error, look, blobs))
    except Exception as error:
        note_exception()
        return Unseen(
            look.number, sentence(f"Live Coverage failed on the server ({type(error).__name__}): see logs/looker.log.")
        )
    real = float(np.count_nonzero(found != classes.INVENTED)) / found.size
    has_plate = others is not None and others.plate is not None
    return Seen(look.number, look.width, look.height, real, classes.pack(found), has_plate)


def others_of(look: Look, blobs: Path) -> Others | None:
    """The other frames to fill in from; None if there are to be none, or the video of what moves is gone."""
    if look.moving is None or not look.others or look.render.persistence == "off":
        return None
    path = _whole(blobs, look.moving)
    if path is None:
        return None
    poses = transforms.check(np.reshape(look.others, (-1, 4, 4)), name="others")
    nearby = np.reshape(look.nearby, (-1, 4, 4))
    if len(nearby):  # a shot of one or two frames has none
        nearby = transforms.check(nearby, name="nearby")
    at = None if look.plate is None else _whole(blobs, look.plate)
    plate = None if look.plate is None or at is None else PlateFile(look.plate, at)
    return Others(look.moving, path, poses, nearby, look.render.persistence, plate)


def _whole(blobs: Path, sha256: str) -> Path | None:
    """Where a file is; None if it is gone or damaged."""
    path = blobs / sha256
    try:
        return path if run(check(path, sha256)) else None
    except FileNotFoundError:
        return None


def said(error: Exception, look: Look, blobs: Path) -> str:
    """An error's message, with paths and hashes replaced by what the files hold."""
    text = str(error).replace(str(blobs / look.depth), "the shot's depth file")
    for sha256, told in ((look.moving, WHAT_MOVES), (look.plate, PLATE)):
        if sha256 is not None:
            text = text.replace(str(blobs / sha256), told).replace(sha256, told)
    return sentence(text)


def warm_up(looker: Looker, folder: Path) -> None:
    """Compile the code that looks need, which takes seconds the first time."""
    file, k = folder / "warm_up.npz", np.array([[8.0, 0, 8], [0, 8, 8], [0, 0, 1]])
    save_depth(file, DepthVideo(np.ones((1, 16, 16), np.float32), k, "warm-up"))
    aside = np.eye(4)
    aside[0, 3] = 0.1
    looker.look("warm-up", file, View(0, CameraPath(aside[None], k, 16, 16), np.eye(4)))
    file.unlink()


def main() -> None:
    """Warm up, connect, present the token, then answer looks."""
    parser = argparse.ArgumentParser(prog="python -m ex4d_server.looker")
    parser.add_argument("--connect", required=True)
    parser.add_argument("--state", type=Path, required=True)
    arguments = parser.parse_args()
    token = os.environ.pop(TOKEN_VARIABLE)
    server, public, secret = os.environ.pop(KEYS_VARIABLE).split()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_supervisor, daemon=True).start()
    looker = Looker()
    warm_up(looker, arguments.state / "logs")
    socket = zmq.Context().socket(zmq.DEALER)
    ClientKeys(server, KeyPair(public, secret)).put_on(socket)
    socket.linger = 0
    socket.connect(arguments.connect)
    socket.send(encode(Ready(token)))
    while True:
        socket.send(encode(answer(looker, blob_folder(arguments.state), decode(socket.recv(), LOOKOUT_MESSAGES))))


if __name__ == "__main__":
    main()
