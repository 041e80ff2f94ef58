import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashgaze.errors import InputError
from dashgaze.session import (
    TABLES,
    Camera,
    Cameras,
    ClockFit,
    Consent,
    DriverToRoad,
    EgoToFace,
    Rig,
    SessionHeader,
    Source,
    Versions,
    read_session,
    without_credentials,
    write_session,
)

ROOT = Path(__file__).parents[1]
EYE3 = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
HEADER = SessionHeader(
    session_id="s-1",
    created=datetime(2026, 1, 2, tzinfo=UTC),
    driver_id="p07",
    hand_of_drive="right",
    glasses="clear",
    passengers=1,
    cameras=Cameras(
        driver=Camera(size_px=(1280, 720), mirrored=False),
        ego=Camera(
            size_px=(1088, 1080),
            K=((760.0, 0.0, 540.0), (0.0, 760.0, 540.0), (0.0, 0.0, 1.0)),
            distortion=(0.1, -0.2, 0.0, 0.0, 0.05, 0.0, 0.0, 0.01),
            mirrored=False,
        ),
    ),
    rig=Rig(
        driver_to_road=DriverToRoad(R=((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0)), t_mm=(0.0, 0.0, -40.0)),
        ego_to_face=EgoToFace(R=EYE3, method="procrustes", residual_deg=1.5),
    ),
    sources=(Source(name="front.mp4", sha256="ab" * 32),),
    clocks={"ego": ClockFit(offset_s=1.25, drift_ppm=-14.0, method="audio", margin=3.0, residual_ms=2.0)},
    primary_stream="road",
    versions=Versions(dashgaze="0.1.0", python="3.11.9", libraries={"numpy": "2.4.0"}),
    consent=Consent(form="2026-01", uses=("research", "training")),
)


def frames(first: int, count: int) -> dict[str, object]:
    index = np.arange(first, first + count)
    return {
        "t_s": index / 30,
        "road_frame": index,
        "angle_status": ["ok"] * count,
        "location_status": ["propagated"] * count,
        "azimuth_deg": np.where(index % 3 == 0, np.nan, 10.0),
        "zone": ["road_ahead"] * count,
    }


def make(path: Path) -> Path:
    with write_session(path) as session:
        session.append("frames", frames(0, 50))
        session.append("gps", {"t_s": [0.5], "latitude_deg": [48.1], "longitude_deg": [11.6]})
        session.append("frames", frames(50, 7))
        (session.folder / "road.mp4").write_bytes(b"video")
        session.describe(HEADER)
    return path


def test_a_session_is_read_as_it_was_written(tmp_path) -> None:
    session = read_session(make(tmp_path / "new" / "s"))
    assert session.header == HEADER
    assert session.tables == ("frames", "gps")
    table = session.table("frames")
    assert list(table) == [column.name for column in TABLES["frames"]]
    np.testing.assert_array_equal(table["t_s"], np.arange(57) / 30)
    np.testing.assert_array_equal(np.isnan(table["azimuth_deg"]), np.arange(57) % 3 == 0)
    assert table["driver_frame"].mask.all()
    assert list(session.table("frames", ["zone"])) == ["zone"]
    assert session.video("road") is not None
    assert session.video("ego") is None


def test_a_session_is_only_for_its_owner_and_has_no_leftovers(tmp_path) -> None:
    path = make(tmp_path / "s")
    assert path.stat().st_mode & 0o077 == 0
    assert os.listdir(tmp_path) == ["s"]
    assert sorted(os.listdir(path)) == ["frames.parquet", "gps.parquet", "road.mp4", "session.json"]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_when_the_writing_block_fails(tmp_path, failure) -> None:
    def fail() -> None:
        with write_session(tmp_path / "s") as session:
            session.append("frames", frames(0, 5))
            raise failure

    with pytest.raises(failure):
        fail()
    assert os.listdir(tmp_path) == []


def test_a_session_needs_its_description(tmp_path) -> None:
    with pytest.raises(InputError, match=r"session.json: was not described"), write_session(tmp_path / "s"):
        pass
    assert os.listdir(tmp_path) == []


def test_what_a_killed_writer_left_is_no_session_and_is_cleared_by_the_next(tmp_path) -> None:
    code = f"""
from pathlib import Path
import os, signal
from dashgaze.session import write_session
with write_session(Path({str(tmp_path / "s")!r})) as session:
    (session.folder / "faces").mkdir()
    (session.folder / "faces" / "old.png").write_bytes(b"x")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == [".s.partial"]
    assert not (make(tmp_path / "s") / "faces").exists()
    assert os.listdir(tmp_path) == ["s"]


def test_two_writers_do_not_disturb_each_other(tmp_path) -> None:
    with write_session(tmp_path / "s") as first:
        first.append("frames", frames(0, 5))
        with (
            pytest.raises(InputError, match="is being written by another process"),
            write_session(tmp_path / "s"),
        ):
            pass
        first.describe(HEADER)
    assert len(read_session(tmp_path / "s").table("frames")["t_s"]) == 5


def test_an_existing_session_is_not_overwritten(tmp_path) -> None:
    before = (make(tmp_path / "s") / "frames.parquet").read_bytes()
    with pytest.raises(InputError, match="is there already"), write_session(tmp_path / "s"):
        pass
    assert (tmp_path / "s" / "frames.parquet").read_bytes() == before


def test_an_error_names_the_row_of_the_table_not_of_the_chunk(tmp_path) -> None:
    with write_session(tmp_path / "s") as session:
        session.append("frames", frames(0, 5))
        wrong = frames(5, 3) | {"zone": ["road_ahead", "moon", None]}
        with pytest.raises(InputError, match=r"frames.parquet, column zone, row 6: 'moon' is none of road_ahead"):
            session.append("frames", wrong)
        with pytest.raises(InputError, match=r"frames.parquet, column t_s, row 5: goes backward"):
            session.append("frames", frames(3, 2))
        session.append("frames", frames(5, 1))
        session.describe(HEADER)
    assert len(read_session(tmp_path / "s").table("frames")["t_s"]) == 6


def test_a_table_that_is_not_there_is_named(tmp_path) -> None:
    with pytest.raises(InputError, match=r"s/gaze.parquet: is not part of this session"):
        read_session(make(tmp_path / "s")).table("gaze")


def test_a_folder_without_description_is_no_session(tmp_path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match=r"is not a session: it has no session.json"):
            read_session(path)


def test_a_description_cut_anywhere_is_an_input_error(tmp_path) -> None:
    file = make(tmp_path / "s") / "session.json"
    whole = file.read_bytes()
    for size in range(len(whole) - 2):
        file.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"session.json: Invalid JSON"):
            read_session(tmp_path / "s")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[]", b"[" * 100_000, b"null", b"{}", b" " * (17 << 20)])
def test_a_file_that_is_no_description_is_an_input_error(tmp_path, content) -> None:
    (make(tmp_path / "s") / "session.json").write_bytes(content)
    with pytest.raises(InputError, match=r"session.json") as caught:
        read_session(tmp_path / "s")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        ('"schema_version": 1', '"schema_version": 2', "schema_version: is not 1"),
        ('"schema_version": 1', '"schema_version": 1, "driver_idd": "p8"', "driver_idd: Extra"),
        ('"driver_id": "p07"', '"driver_id": "Jo Doe <jo@doe.org>"', "driver_id: "),
        ('"passengers": 1', '"passengers": "1"', "passengers: "),
        ('"passengers": 1', '"passengers": -1', "passengers: "),
        ('"hand_of_drive": "right"', '"hand_of_drive": "rhd"', "hand_of_drive: "),
        ('"offset_s": 1.25', '"offset_s": NaN', "clocks.ego.offset_s: "),
        ('"residual_deg": 1.5', '"residual_deg": 1e999', "rig.ego_to_face.residual_deg: "),
        ("760.0", "-760.0", "cameras.ego.K: is not a camera matrix"),
        ("-1.0", "1.0", "rig.driver_to_road.R: is not a rotation"),
        ("0.05", "0.05, 0.1", "cameras.ego.distortion: needs 0, 4, 5 or 8"),
        ('"ego": {\n   "offset_s"', '"moon": {\n   "offset_s"', "clocks.moon"),
        ("2026-01-02T00:00:00Z", "2026-01-02T00:00:00", "created: "),
    ],
)
def test_a_wrong_field_is_named(tmp_path, before, after, field) -> None:
    file = make(tmp_path / "s") / "session.json"
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))
    with pytest.raises(InputError, match=f"session.json, {field}"):
        read_session(tmp_path / "s")


_word = st.text("abc123%:/", min_size=1, max_size=8)


@given(
    user=_word,
    password=_word,
    host=st.sampled_from(["cam", "10.0.0.4:554"]),
    query=st.text("abc=&", max_size=5),
)
def test_no_credentials_of_a_url_survive(user, password, host, query) -> None:
    clean = without_credentials(f"lost rtsp://{user}:p{password}@{host}/live?{query} again")
    assert clean == f"lost rtsp://{host}/live again"
