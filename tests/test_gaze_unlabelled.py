"""Real pictures for training: which half they are in, and as the network's inputs."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from heads import CAMERA, landmarks_of
from hypothesis import given
from hypothesis import strategies as st
from test_eyes import BUNDLE, CANONICAL

from dashgaze.device.crops import CropPlan
from dashgaze.device.headpose import HeadPoseEstimator
from dashgaze.errors import InputError
from dashgaze.training.gaze.unlabelled import (
    CLIP_HALVES,
    FOV_DEG,
    NEAREST_MM,
    assumed_camera,
    half_of,
    real_files,
    unlabelled_samples,
)

PLAN = CropPlan(driver_px=(48, 32), face_px=(40, 40), channels=3)


@given(number=st.integers(0, 10**6), folder=st.sampled_from(["", "a", "7/b"]), suffix=st.sampled_from([".jpg", ".PNG"]))
def test_odd_numbers_are_for_tuning_wherever_the_file_lies(number, folder, suffix):
    assert half_of(Path(folder) / f"face_{number:04d}{suffix}") == ("tuning" if number % 2 else "held-out")


@given(frame=st.integers(0, 999), checksum=st.text("0123456789abcdef", min_size=32, max_size=32))
def test_the_checksum_of_an_annotation_service_does_not_choose_the_half(frame, checksum):
    name = f"GOPR0492_MP4-{frame}_jpg.rf.{checksum}.jpg"
    assert half_of(Path(name)) == ("tuning" if frame % 2 else "held-out")


@given(name=st.text("abcdefghij", min_size=1))
def test_a_name_without_a_number_has_a_half_too(name):
    assert half_of(Path(f"{name}.png")) == half_of(Path("elsewhere") / f"{name}.png") in ("tuning", "held-out")


def test_clips_of_one_person_are_in_one_half():
    assert half_of(Path("no.mkv")) == half_of(Path("yes.mkv"))
    people = ("female", "male", "female-and-male")
    assert {half_of(Path(f"head-pose-face-detection-{who}.gif")) for who in people} == {"held-out"}
    assert set(CLIP_HALVES.values()) == {"tuning", "held-out"}


def test_the_halves_share_no_file_and_leave_none_out(tmp_path):
    names = {"1.jpg", "2.jpg", "10.png", "sub/3.jpg", "sub/no.mkv", "hungry.mkv"}
    (tmp_path / "sub").mkdir()
    for name in (*names, "notes.txt", ".5.jpg"):
        (tmp_path / name).write_bytes(b"")
    tuning, held_out = real_files(tmp_path, "tuning"), real_files(tmp_path, "held-out")
    assert {str(path.relative_to(tmp_path)) for path in tuning + held_out} == names
    assert not set(tuning) & set(held_out)
    assert [path.name for path in held_out] == ["2.jpg", "10.png", "hungry.mkv"]


def test_a_folder_that_is_none_or_empty_is_named(tmp_path):
    with pytest.raises(InputError, match="missing: is not a folder"):
        unlabelled_samples(tmp_path / "missing", PLAN, None)
    (tmp_path / "2.jpg").write_bytes(b"")
    with pytest.raises(InputError, match="no pictures or clips of the tuning half"):
        unlabelled_samples(tmp_path, PLAN, None)


def test_files_without_a_face_are_passed_over_and_a_folder_of_them_is_refused(tmp_path):
    (tmp_path / "1.jpg").write_bytes(b"no picture")
    cv2.imwrite(str(tmp_path / "3.png"), np.full((120, 160, 3), 90, np.uint8))
    with pytest.raises(InputError, match="shows no open-eyed face in 2 files"):
        unlabelled_samples(tmp_path, PLAN, None, bundle=BUNDLE)


def test_samples_are_the_networks_inputs_the_same_each_time_and_so_many_as_asked_for(carphone, tmp_path):
    shutil.copy(carphone, tmp_path / "carphone.mp4")
    (tmp_path / "1.jpg").write_bytes(b"no picture")
    samples = unlabelled_samples(tmp_path, PLAN, None, bundle=BUNDLE)
    count = len(samples["pose"])
    assert 3 <= count <= 5  # a frame a second of four seconds
    shapes = {name: values.shape[1:] for name, values in samples.items()}
    assert shapes == {
        "driver": (3, 32, 48),
        "face": (3, 40, 40),
        "right_eye": (3, 50, 100),
        "left_eye": (3, 50, 100),
        "five": (5, 2),
        "mesh": (478, 2),
        "pose": (9,),
    }
    assert all(len(values) == count and np.isfinite(values).all() for values in samples.values())
    fewer = unlabelled_samples(tmp_path, PLAN, 2, bundle=BUNDLE)
    assert all(np.array_equal(fewer[name], values[:2]) for name, values in samples.items())


def test_their_names_are_those_that_the_network_knows(carphone, tmp_path):
    pytest.importorskip("torch", reason="needs the extra training")
    from dashgaze.training.gaze.model import INPUTS

    shutil.copy(carphone, tmp_path)
    assert tuple(unlabelled_samples(tmp_path, PLAN, 1, bundle=BUNDLE)) == INPUTS


@pytest.mark.parametrize("distance_mm", [250.0, 300.0, 500.0, 900.0, 2000.0])
def test_a_face_is_assumed_no_nearer_than_a_drivers_and_a_far_one_with_the_usual_lens(distance_mm):
    picture = np.zeros((CAMERA.size_px[1], CAMERA.size_px[0], 3), np.uint8)
    points, _ = landmarks_of(CANONICAL, (10.0, 5.0, 0.0), (0.0, 0.0, distance_mm))
    camera = assumed_camera(picture, points, CANONICAL)
    head = HeadPoseEstimator(CANONICAL, camera).fit(points)
    assert head is not None
    assert head.position_mm[2] > 0.9 * NEAREST_MM
    if distance_mm > 1000:
        assert np.isclose(camera.matrix[0, 0], CAMERA.size_px[0] / 2 / np.tan(np.radians(FOV_DEG / 2)))


def test_real_faces_of_the_tuning_half_become_samples(data):
    samples = unlabelled_samples(data / "faces_fairface_360", CropPlan(), 6, bundle=BUNDLE)
    assert len(samples["face"]) == 6
    assert (samples["pose"][:, 8] > 0.5).all()
