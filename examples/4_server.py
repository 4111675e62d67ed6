"""4. A job on a server: `python examples/4_server.py [CLIP] [OUT_FOLDER]`, with `ex4d serve` running.

The server stores files by content, so files that it already has are not sent again.
"""

import sys
from pathlib import Path

from ex4d.errors import EX4DError
from ex4d.jobs.address import DEFAULT_ADDRESS
from ex4d.jobs.client import Client, JobUpdate
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.requests import Generate, Source
from ex4d.pipeline.settings import GenerateSettings, PathSettings
from ex4d.storage.names import beside

SAMPLE = Path(__file__).resolve().parent.parent / "sample" / "clip.mp4"


def main(clip: Path = SAMPLE, out: Path = Path("from_server"), address: str = DEFAULT_ADDRESS) -> None:
    """Generate an orbit of 30 degrees on the server, and download the take."""
    depth = beside(clip)
    source = Source((blob_of(clip),), (blob_of(depth),) if depth else ())
    files = {blob_of(path).sha256: path for path in (clip, depth) if path is not None}
    job = Generate(source, preset=PathSettings(cam="30"), generation=GenerateSettings(seed=1))

    client = Client(address, out)
    try:
        update = client.wait(client.submit(job, files), say)
    except EX4DError as error:
        sys.exit(str(error))
    finally:
        client.close()
    if update.state != "done":
        sys.exit(f"The job ended as {update.state}: {update.message}")
    print(*update.facts["notes"], *update.files.values(), sep="\n")


def say(update: JobUpdate) -> None:
    """Show the job's progress."""
    print(f"{update.state} {update.stage} {update.step}/{update.steps}", end="\r", flush=True)


if __name__ == "__main__":
    main(*(Path(word) for word in sys.argv[1:3]), *sys.argv[3:4])
