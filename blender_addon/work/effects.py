"""Carrying out the effects of the state machines: hashing, sending, importing, and storing state in the .blend."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import bpy

from ..scene import motion, objects
from ..shot import detail, drawn_mask, fetched, find, found_camera, playing, proxies, source, takes
from ..work import memory, queue, requests, state
from ..work.handing_over import submitted
from ..work.requests import OpenRequest, TakeRequest

if TYPE_CHECKING:
    from ..work.session import Session


def carry_out(session: Session, effect: state.Effect | queue.QueueEffect) -> None:
    """Carry out an effect of an event; anything that takes long becomes the session's task.

    Raises:
        EX4DError, OSError: the effect cannot be carried out.
    """
    match effect:
        case state.Prepare(requests.FindRequest() as request):
            session.start_task(find.find(request), state.Imported)
        case state.Prepare(requests.DetailRequest() as request):
            session.start_task(detail.change(request), state.Imported)
        case state.Prepare(TakeRequest() as request):
            session.start_task(takes.prepare(request, session.handing_over.known), state.Prepared)
        case state.Prepare(request):
            session.start_task(drawn_mask.prepare(request, _about(request).prepare), state.Prepared)
        case state.Submit(job, files, again):
            session.dispatch(state.Submitted(submitted(session, job, files, session.state.request.shot, again)))
        case state.Remember(request, job_id, taken):
            if (scene := objects.find_scene(request)) is not None:
                scene.ex4d.remember(request, job_id, taken)
        case state.Follow(job_id):
            session.follow(job_id)
        case state.Import(request, update):
            proxies.remove()
            proxies.discard(update.proxy)
            if isinstance(request, requests.FetchRequest):
                session.start_task(fetched.bring_in(request, update), state.Imported)
            elif isinstance(request, OpenRequest):
                session.start_task(_about(request).bring_in(request, update), state.Imported)
            else:
                session.start_task(takes.bring_in(request, update, session.capabilities), state.Imported)
        case state.ShowProxy(request, update):
            proxies.show(request, update)
        case state.CancelJob(job_id):
            session.cancel(job_id)
        case state.Drop():
            session.drop()
        case state.Forget(request):
            if (scene := objects.find_scene(request)) is not None:
                scene.ex4d.forget()
            proxies.remove()
            if isinstance(request, TakeRequest):
                takes.forget_path(request)
            elif isinstance(request, OpenRequest):
                drawn_mask.forget(request)
                if motion.is_recording(request.camera):
                    Path(request.camera).unlink(missing_ok=True)
        case state.ShowResult(request):
            if not bpy.app.background:
                playing.show_arrived(request)
        case queue.HandOver(_) if session.hosts.barred:
            pass  # the next connection hands it over
        case queue.HandOver(request, again):
            session.handing_over.add(request, again)
        case queue.PutFirst(job_id):
            session.connect().put_first(job_id)
        case queue.Discard(gone):
            if gone.job_id:
                session.cancel(gone.job_id)
            takes.forget_path(gone.request)
            for file in gone.results:
                file.unlink(missing_ok=True)
        case queue.Keep():
            memory.keep(session.queue.waiting)
        case state.FindCamera(request, said):
            wanted = found_camera.request(objects.scene_of(request), request.then, said, known=bool(request.camera))
            session.dispatch(state.Pressed(wanted))
        case state.PushUndo(name):
            if bpy.ops.ed.undo_push.poll():
                bpy.ops.ed.undo_push(message=name)


def _about(request: OpenRequest) -> ModuleType:
    """The module that prepares a request and brings in its result."""
    return found_camera if request.only_camera else source
