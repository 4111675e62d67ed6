"""The job under way as the .blend remembers it, so that it is followed again when the file is opened."""

from bpy.props import StringProperty

from ..work import state


class JobMemory:
    """The memory, as a part of `scene.ex4d`."""

    job_id: StringProperty(name="Job", description="The job under way, followed again when the file is opened")
    request: StringProperty(name="Request", description="What the job under way was asked, in JSON")

    def remember(self, request: state.Request, job_id: str) -> None:
        """Keep a job."""
        self.job_id, self.request = job_id, state.request_to_json(request)

    def forget(self) -> None:
        """No job is under way any more."""
        self.job_id = self.request = ""

    @property
    def remembered(self) -> tuple[state.Request, str] | None:
        """What was asked and the job's id; None without a job, or with one of another version of the add-on."""
        request = state.request_from_json(self.request) if self.job_id else None
        return None if request is None else (request, self.job_id)
