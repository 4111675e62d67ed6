"""States, attempts and events in the journal."""

import contextlib
import sqlite3

import pytest
from ex4d_server.journal import MAX_ATTEMPTS, Journal
from hypothesis import given
from hypothesis import strategies as st

from ex4d.errors import ServerError
from ex4d.jobs.messages import TERMINAL, Result
from ex4d.pipeline.requests import Blob, Generate, Preview, Reconstruct, Source

BLOB = Blob("0" * 64, 1, "a.mp4")
JOB = Reconstruct(Source((BLOB,), (BLOB,)))
RESULT = Result({"width": 16}, (BLOB,))
TAKE = Generate(Source((BLOB,), (BLOB,)), BLOB)
AS_IN_2 = "".join(
    f"ALTER TABLE jobs DROP COLUMN {column};" for column in ("file", "shot", "front", "urgent", "fetched")
)


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    yield journal
    journal.close()


def test_what_was_added_is_there_after_opening_again(tmp_path, journal):
    journal.add("a", JOB, "local")
    journal.close()
    again = Journal(tmp_path / "journal.sqlite")
    assert again.get("a").state == "queued"
    assert again.job("a") == JOB
    again.close()


def test_state_changes_are_synchronous_and_progress_is_not(journal):
    journal.add("a", JOB, "local")
    assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)
    journal.start("a")
    journal.progress("a", "read", 1, 2, 0.1)
    assert journal._db.execute("PRAGMA synchronous").fetchone() == (1,)
    journal.finish("a", "done", result=RESULT)
    assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_every_attempt_has_a_lease_of_its_own(journal):
    journal.add("a", JOB, "local")
    journal.add("b", JOB, "local")
    leases = [journal.start("a"), journal.start("b")]
    journal.lost("a", "gone")
    leases.append(journal.start("a"))
    assert leases == sorted(set(leases))
    assert journal.get("a").lease == leases[-1]


def test_a_job_is_lost_only_so_often(journal):
    journal.add("a", JOB, "local")
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert journal.get("a").state == "queued"
        journal.start("a")
        assert journal.get("a").attempt == attempt
        journal.lost("a", "The worker is gone.")
    assert journal.get("a").state == "failed"
    assert journal.events("a", 0)[-1].message == "The worker is gone."


def test_progress_keeps_the_latest_of_each_stage_under_rising_numbers(journal):
    journal.add("a", JOB, "local")
    journal.start("a")
    for stage in ("read", "render"):
        for step in range(1, 51):
            journal.progress("a", stage, step, 50, step / 10)
    events = journal.events("a", 0)
    assert [(event.stage, event.step) for event in events] == [("", 0), ("", 0), ("read", 50), ("render", 50)]
    assert [event.seq for event in events] == [1, 2, 52, 102]
    assert [event.seq for event in journal.events("a", 52)] == [102]


def test_the_last_event_of_a_finished_job_has_its_result(journal):
    journal.add("a", JOB, "local")
    journal.start("a")
    journal.finish("a", "done", result=RESULT)
    assert [event.result for event in journal.events("a", 0)] == [None, None, RESULT]


ACTIONS = ("start", "progress", "done", "failed", "cancel", "cancelled", "lost", "recover")


@given(st.lists(st.sampled_from(ACTIONS), max_size=12))
def test_whatever_happens_final_states_stay_and_numbers_rise(actions):
    journal = Journal(":memory:")
    journal.add("a", JOB, "local")
    final = None
    for action in actions:
        before = journal.get("a")
        try:
            if action == "start":
                journal.start("a")
            elif action == "progress" and before.state == "running":
                journal.progress("a", "read", 1, 2, 0.0)
            elif action in TERMINAL:
                journal.finish("a", action, result=RESULT if action == "done" else None)
            elif action == "cancel":
                journal.ask_to_cancel("a")
            elif action == "lost" and before.state == "running":
                journal.lost("a", "gone")
            elif action == "recover":
                journal.recover()
        except ServerError:
            assert journal.get("a") == before, "what is refused changes nothing"
        row = journal.get("a")
        assert row.attempt <= MAX_ATTEMPTS
        assert row.seq >= before.seq
        assert final is None or row.state == final
        if row.state in TERMINAL:
            final = row.state
    numbers = [event.seq for event in journal.events("a", 0)]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == journal.get("a").seq
    journal.close()


def test_a_file_belongs_to_whose_job_names_or_makes_it(journal):
    made = Blob("1" * 64, 1, "result.mp4")
    journal.add("a", JOB, "key a")
    journal.start("a")
    journal.finish("a", "done", result=Result({}, (made,)))
    for sha256 in (BLOB.sha256, made.sha256):
        assert journal.owns("key a", sha256)
        assert not journal.owns("key b", sha256)


def test_keys_take_turns_and_so_do_the_connections_with_one_key(journal):
    for turn in ("x", "x", "y"):
        for _ in range(2):
            journal.add(f"a{turn}{len(journal._read('SELECT 1 FROM jobs'))}", JOB, "key a", turn)
    journal.add("b1", JOB, "key b", "z")
    journal.add("b2", JOB, "key b", "z")
    ran = []
    while job_id := journal.next_queued():
        journal.start(job_id)
        ran.append(job_id[:2])
        journal.finish(job_id, "cancelled")
    assert ran == ["ax", "b1", "ay", "b2", "ax", "ay", "ax", "ax"]


def test_a_journal_of_version_1_is_taken_over_and_its_jobs_belong_to_nobody(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    journal.add("a", JOB, "connection")
    journal.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.sqlite")) as db:
        db.executescript(
            f"DROP INDEX jobs_by_turn; {AS_IN_2} ALTER TABLE jobs DROP COLUMN turn; DROP TABLE owned;"
            " CREATE INDEX jobs_by_owner ON jobs (owner, lease); PRAGMA user_version = 1;"
        )
    journal = Journal(tmp_path / "journal.sqlite")
    assert journal.next_queued() == "a"
    journal.add("b", JOB, "key", "x")
    assert journal.owns("key", BLOB.sha256)
    assert not journal.owns("connection", BLOB.sha256)
    journal.close()
    Journal(tmp_path / "journal.sqlite").close()


def test_takes_of_version_2_are_not_offered_again_and_go_on_as_they_were(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    for job_id in ("a", "b"):
        journal.add(job_id, TAKE, "anna", "x")
    journal.start("a")
    journal.finish("a", "done", result=RESULT)
    assert journal.not_fetched("anna") == ["a"]
    journal.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.sqlite")) as db:
        db.executescript(f"{AS_IN_2} PRAGMA user_version = 2;")
    journal = Journal(tmp_path / "journal.sqlite")
    assert (journal.not_fetched("anna"), journal.in_turn(9)) == ([], [("b", "anna")])
    assert journal.entry("b")[1].file == ""
    journal.close()


def order(journal) -> str:
    return " ".join(job_id for job_id, _owner in journal.in_turn(100))


def test_a_job_that_is_put_first_passes_its_owners_others_and_nobody_elses_also_after_a_restart(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    for job_id, owner, turn in (
        *(("a1", "anna", "x"), ("a2", "anna", "x"), ("a3", "anna", "x"), ("a4", "anna", "y")),
        *(("b1", "bert", "z"), ("b2", "bert", "z")),
    ):
        journal.add(job_id, TAKE, owner, turn)
    assert order(journal) == "a1 b1 a4 b2 a2 a3"
    journal.put_first("a3", of_all=False)
    assert order(journal) == "a3 b1 a4 b2 a1 a2"
    journal.put_first("b2", of_all=False)
    assert order(journal) == "a3 b2 a4 b1 a1 a2", "Bert's own turn is where it was"
    journal.put_first("a2", of_all=False)
    assert order(journal) == "a2 b2 a3 b1 a4 a1", "the last that was put first is the first, whichever window it is of"
    journal.close()
    journal = Journal(tmp_path / "journal.sqlite")
    assert order(journal) == "a2 b2 a3 b1 a4 a1"
    journal.add("preview", Preview(Source((BLOB,), (BLOB,)), BLOB), "carl", "w")
    assert order(journal).startswith("preview a2"), "what somebody waits for at a screen still comes before takes"
    journal.close()


def test_what_the_servers_user_puts_first_passes_everybody(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    for job_id, owner in (("a1", "anna"), ("a2", "anna"), ("b1", "bert"), ("b2", "bert")):
        journal.add(job_id, TAKE, owner)
    journal.put_first("b2", of_all=True)
    assert order(journal) == "b2 a1 b1 a2", "which counts as a turn of Bert's"
    journal.put_first("a2", of_all=True)
    journal.close()
    journal = Journal(tmp_path / "journal.sqlite")
    assert order(journal) == "a2 b2 a1 b1"
    journal.start("a2")
    with pytest.raises(ServerError, match="is not queued"):
        journal.put_first("a2", of_all=True)
    journal.close()
