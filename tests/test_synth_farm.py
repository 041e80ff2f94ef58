"""Sets refuse what makes no sense before they render; what they render is whole, the same, and can be resumed."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from dashgaze.errors import DashgazeError, InputError
from dashgaze.session import read_session
from dashgaze.training.synth.drives import SetPlan
from dashgaze.training.synth.farm import render_set
from dashgaze.training.synth.stills import StillsPlan

PLAN = SetPlan(sessions=2, seed=4, duration_s=2.0, rate_hz=1.0, light="day")


class Tally:
    def __init__(self):
        self.begun, self.frames, self.sessions = None, 0, 0

    def start(self, sessions, done, frames):
        self.begun = sessions, done, frames

    def frame(self):
        self.frames += 1

    def session(self):
        self.sessions += 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sessions": 0}, "--sessions: is 0; use 1 to"),
        ({"sessions": -3}, "--sessions: is -3"),
        ({"seed": -1}, "--seed: is -1; use 0 to"),
        ({"seed": 2**31}, "--seed"),
        ({"duration_s": float("nan")}, "--duration: is nan"),
        ({"duration_s": 0.0}, "--duration"),
        ({"rate_hz": 1000.0}, "--rate: is 1000"),
        ({"duration_s": 2.0, "rate_hz": 0.1}, "less than one frame"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_and_nothing_is_made(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        render_set(replace(PLAN, **change), tmp_path / "set", 1, Tally())
    assert not (tmp_path / "set").exists()


def test_no_workers_are_refused(tmp_path):
    with pytest.raises(InputError, match="--workers: is 0"):
        render_set(PLAN, tmp_path / "set", 0, Tally())


def test_stills_refuse_no_people(tmp_path):
    with pytest.raises(InputError, match="--people: is 0"):
        render_set(StillsPlan(1, 0, "faces", people=0), tmp_path / "set", 1, Tally())


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds something else"):
        render_set(PLAN, tmp_path, 1, Tally())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": 5}, "seed: is 5, but 4 is asked for"),
        ({"rate_hz": 2.0}, "rate_hz: is 2.0, but 1.0 is asked for"),
        ({"masks": True}, "masks: is True, but False"),
    ],
)
def test_a_set_is_not_continued_with_other_settings(tmp_path, settings, message):
    record = {"schema_version": 1, "kind": "drives", "settings": PLAN.settings() | settings}
    (tmp_path / "set.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=message):
        render_set(PLAN, tmp_path, 1, Tally())


def test_a_set_of_faces_is_not_continued_as_drives(tmp_path):
    (tmp_path / "set.json").write_text(json.dumps({"schema_version": 1, "kind": "faces", "settings": {}}))
    with pytest.raises(InputError, match="kind: is faces, not drives"):
        render_set(PLAN, tmp_path, 1, Tally())


def test_a_folder_that_cannot_be_made_is_named():
    with pytest.raises(DashgazeError, match="/proc/set: cannot be written"):
        render_set(PLAN, Path("/proc/set"), 1, Tally())


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "session.json")
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
def test_the_same_seed_gives_the_same_files_whatever_the_number_of_workers(tmp_path, opengl):
    tallies = [Tally(), Tally()]
    for workers, tally in enumerate(tallies, start=1):
        render_set(PLAN, tmp_path / str(workers), workers, tally)
        assert (tally.begun, tally.frames, tally.sessions) == ((2, 0, 4), 4, 2)
    assert digests(tmp_path / "1") == digests(tmp_path / "2")
    again = Tally()
    render_set(PLAN, tmp_path / "1", 1, again)
    assert (again.begun, again.frames) == ((2, 2, 0), 0)


@pytest.mark.slow
def test_a_run_that_was_killed_is_resumed_and_leaves_nothing_half_written(tmp_path, opengl):
    out = tmp_path / "set"
    command = [sys.executable, "-m", "dashgaze", "synth", str(out), "--sessions", "3", "--seed", "4", "--workers", "1"]
    command += ["--duration", "2", "--light", "day"]
    run = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 240
    while not (out / "00000").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    whole = sorted(path.name for path in out.iterdir() if path.name.startswith("0"))
    assert whole[:1] == ["00000"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    assert sorted(path.name for path in out.iterdir()) == ["00000", "00001", "00002", "set.json"]
    for number in range(3):
        assert len(read_session(out / f"{number:05d}").table("frames")["t_s"]) == 2


@pytest.mark.slow
def test_a_killed_worker_is_said_and_complete_sessions_stay(tmp_path, opengl):
    class KillOnFirst(Tally):
        def frame(self):
            super().frame()
            if self.frames == 1:
                for child in multiprocessing.active_children():
                    os.kill(child.pid, signal.SIGKILL)

    with pytest.raises(DashgazeError, match=r"a worker: was killed.*fewer --workers"):
        render_set(PLAN, tmp_path / "set", 1, KillOnFirst())
    assert not (tmp_path / "set" / "00000").exists()
