"""Background work other than jobs: setting up the server and downloading a model's files, and what follows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..translations import of_parts, told
from ..ui.preferences import preferences
from ..work import server, state

if TYPE_CHECKING:
    from ..work.session import Session


def hear_setup(session: Session) -> bool:
    """Follow Set Up Server. Once it is done, the new server starts and replaces an old one that is idle.

    Returns whether panels have something new to show.
    """
    before, ended = session.environment.progress, session.environment.poll()
    now = session.environment.progress
    if ended:
        waits = now.done and session.state.busy and session.may_stop_server
        later = (
            " " + told("It takes over once you press Stop Server, or the next time Blender starts.") if waits else ""
        )
        session.dispatch(state.Said(of_parts(now.parts, now.done or now.failed) + later, failed=bool(now.failed)))
    if ended and now.done and not preferences().python and not session.hosts.name:
        if not session.state.busy:
            session.stop_server()
        if not server.answers(preferences().address):
            session.start_server()
    return now != before


def hear_model_fetch(session: Session) -> bool:
    """Follow the download of a model's files. Once it is done, reconnect to ask the server again what it can run.

    Reconnecting waits until no job is under way, because the job would lose its connection.

    Returns whether panels have something new to show.
    """
    fetch = session.model_fetch
    before, ended = fetch.progress, fetch.poll()
    now = fetch.progress
    if ended:
        fetch.came = bool(now.done)
        later = (
            " " + told("It can be used once the work under way has ended.") if now.done and session.state.busy else ""
        )
        session.dispatch(state.Said(of_parts(now.parts, now.done or now.failed) + later, failed=bool(now.failed)))
    if fetch.came and not session.state.busy:
        fetch.came = False
        if session.client is not None:
            session.disconnect()
            session.connect()
    return now != before
