"""Videos that are written while other work goes on."""

import threading
import time
from fractions import Fraction

import numpy as np
import pytest

from ex4d.errors import Cancelled, InputError
from ex4d.media.movie import write_movie
from ex4d.pipeline.writing import STAGE, WAITING, Writer
from ex4d.progress import silent

FPS = Fraction(24)


def noise(count, side=64):
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_the_files_are_those_that_are_written_without_threads(tmp_path):
    frames, mask = noise(12), noise(12)[..., 0]
    write_movie(tmp_path / "colour.mp4", frames, FPS, metadata={"comment": "a"})
    write_movie(tmp_path / "mask.mp4", mask, FPS, lossless=True)
    with Writer(silent) as writer:
        writer.write(tmp_path / "colour2.mp4", frames, FPS, metadata={"comment": "a"})
        writer.write(tmp_path / "mask2.mp4", mask, FPS, lossless=True)
    for name in ("colour", "mask"):
        assert (tmp_path / f"{name}2.mp4").read_bytes() == (tmp_path / f"{name}.mp4").read_bytes()


def test_they_are_written_while_the_work_goes_on_and_waited_for_at_its_end(tmp_path):
    told = []
    with Writer(lambda *step: told.append((*step[:3], threading.current_thread()))) as writer:
        writer.write(tmp_path / "a.mp4", noise(5), FPS)
        wait_for((tmp_path / "a.mp4").exists)
        writer.progress("Sampling", 1, 2)
        writer.write(tmp_path / "b.mp4", noise(40, 256), FPS)
    assert (tmp_path / "b.mp4").stat().st_size > 1000
    here = threading.current_thread()
    assert told[0] == ("Sampling", 1, 2, here)
    assert (STAGE, 1, 2, here) in told
    assert told[-1] == (STAGE, 2, 2, here)


def test_a_video_that_cannot_be_written_ends_the_work_at_its_next_step(tmp_path):
    (tmp_path / "file").touch()
    steps = []

    def work():
        with Writer(silent) as writer:
            writer.write(tmp_path / "file" / "a.mp4", noise(2), FPS)
            for step in range(2000):
                steps.append(step)
                writer.progress("Sampling", step, 2000)
                time.sleep(0.01)

    with pytest.raises(InputError, match=r"a\.mp4"):
        work()
    assert len(steps) < 2000


def test_a_video_that_cannot_be_written_is_told_of_where_no_step_comes_after_it(tmp_path):
    with pytest.raises(InputError, match="both sides must be even"), Writer(silent) as writer:
        writer.write(tmp_path / "odd.mp4", noise(2)[:, :63], FPS)


def long_video(writer, path):
    writer.write(path, np.broadcast_to(noise(1, 512), (3000, 512, 512, 3)), FPS)  # a minute of encoding


def test_work_that_is_stopped_does_not_wait_for_videos(tmp_path):
    def work():
        with Writer(silent) as writer:
            for name in "abc":
                long_video(writer, tmp_path / f"{name}.mp4")
            raise Cancelled("stop")

    began = time.monotonic()
    with pytest.raises(Cancelled, match="stop"):
        work()
    assert time.monotonic() - began < 5
    assert list(tmp_path.iterdir()) == []


def test_it_can_be_stopped_while_it_waits_for_videos(tmp_path):
    def stop(stage, step, steps, picture=None):
        raise Cancelled("stop")

    began = time.monotonic()
    with pytest.raises(Cancelled, match="stop"), Writer(stop) as writer:
        long_video(writer, tmp_path / "a.mp4")
    assert time.monotonic() - began < 5
    assert list(tmp_path.iterdir()) == []


def fed(writer, path, count):
    return writer.feed(lambda frames, progress: write_movie(path, frames, FPS, progress=progress), count)


def test_a_video_that_is_fed_is_the_one_that_is_written_at_once(tmp_path):
    frames = noise(12)
    write_movie(tmp_path / "a.mp4", frames, FPS)
    with Writer(silent) as writer:
        feed = fed(writer, tmp_path / "b.mp4", len(frames))
        for frame in frames:
            feed.add(frame)
    assert (tmp_path / "b.mp4").read_bytes() == (tmp_path / "a.mp4").read_bytes()


def test_few_frames_wait_for_a_slow_video(tmp_path):
    taken, may_go_on = [], threading.Event()

    def slowly(frames, progress):
        for frame in frames:
            taken.append(frame)
            may_go_on.wait(20)

    with Writer(silent) as writer:
        feed, added = writer.feed(slowly, 10), []

        def work():
            for number in range(10):
                feed.add(number)
                added.append(number)

        adding = threading.Thread(target=work)
        adding.start()
        wait_for(lambda: len(added) == 1 + WAITING)
        time.sleep(0.3)
        assert len(added) == 1 + WAITING
        may_go_on.set()
        adding.join()
    assert taken == list(range(10))


def test_a_fed_video_that_cannot_be_written_ends_the_work_at_the_next_frame(tmp_path):
    def work():
        with Writer(silent) as writer:
            feed = fed(writer, tmp_path / "missing" / "a.mp4", 1000)
            for frame in noise(1).repeat(1000, 0):
                feed.add(frame)

    with pytest.raises(InputError, match=r"a\.mp4"):
        work()


def test_a_fed_video_is_given_up_with_the_work(tmp_path):
    def work():
        with Writer(silent) as writer:
            fed(writer, tmp_path / "a.mp4", 1000).add(noise(1)[0])
            raise Cancelled("stop")

    began = time.monotonic()
    with pytest.raises(Cancelled, match="stop"):
        work()
    assert time.monotonic() - began < 5
    assert list(tmp_path.iterdir()) == []
