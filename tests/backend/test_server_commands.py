"""`ex4d server`: what a state folder holds, and what is removed from it, while a server is running."""

import os
import time

from command_line import ex4d
from server_process import PATIENCE, until


def age(folder, hours: float) -> None:
    """Set the last use of files to `hours` ago, leaving their stamp unchanged."""
    for path in folder.iterdir():
        used = time.time_ns() - int(hours * 3600e9)
        os.utime(path, ns=(used, path.stat().st_mtime_ns))


def test_usage_and_clean_beside_a_server_with_a_job(server, connect, shot):
    server.start()
    client = connect(server)
    job, files = shot("copy", os.urandom(3_000_000))
    assert client.wait(client.submit(job, files), timeout=PATIENCE).state == "done"
    slow, slow_files = shot("slow", os.urandom(2_000_000))
    slow_id = client.submit(slow, slow_files)
    until(lambda update: update.stage == "wait", client)
    blobs = server.state / "blobs"
    shown = ex4d("server", "usage", "--state", server.state)
    assert shown.returncode == 0, shown.stderr
    assert "0.01 GB in 4 files, of 50.00 GB at most" in shown.stdout  # two clips, one depth, one empty result

    kept = ex4d("server", "clean", "--state", server.state, "--gb", 0)
    assert "Removed 0.00 GB" in kept.stdout, "what was used in the last ten minutes stays"
    server.terminate()
    age(blobs, 1)
    server.start()
    until(lambda update: update.stage == "wait", client)
    cleaned = ex4d("server", "clean", "--state", server.state, "--gb", 0)
    assert cleaned.returncode == 0, cleaned.stderr
    assert {path.name for path in blobs.iterdir()} == {blob.sha256 for blob in (*slow.source.clip, *slow.source.depth)}
    assert not (server.state / "clean.json").exists()
    server.terminate()
    assert "Removed 0.00 GB" in ex4d("server", "clean", "--state", server.state, "--gb", 0).stdout
    assert len(list(blobs.iterdir())) == 2, "what a job in the queue needs stays, also where no server runs"
    server.start()
    client.cancel(slow_id)
    assert client.wait(slow_id, timeout=PATIENCE).state == "cancelled"
    again = client.wait(client.submit(job, files), timeout=PATIENCE)
    assert again.state == "done", "what was removed is sent again"


def test_limits_are_kept_in_the_state_folder_and_a_running_server_reads_them(server):
    server.start()
    said = ex4d("server", "limit", "--state", server.state, "--gb", 20, "--days", 7)
    assert said.stdout.strip() == "Keeps at most 20.00 GB, and nothing unused for 7 days."
    assert "of 20.00 GB at most" in ex4d("server", "usage", "--state", server.state).stdout
    (server.state / "store.json").write_text("{")
    assert "of 50.00 GB at most" in ex4d("server", "usage", "--state", server.state).stdout


def test_a_folder_that_is_none_of_a_server_is_refused(tmp_path):
    for command in ("usage", "clean", "limit"):
        refused = ex4d("server", command, "--state", tmp_path)
        assert refused.returncode == 2
        assert "is not the state folder of a server" in refused.stderr
    assert list(tmp_path.iterdir()) == []
