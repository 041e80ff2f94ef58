"""The face tracker on real pictures: the driver among others, hidden, lost, turned, in the dark."""

import cv2
import numpy as np
import pytest

from dashgaze.device.faces import FaceSettings, FaceTracker
from dashgaze.device.records import Frame
from dashgaze.tables import Status


@pytest.fixture(scope="module")
def man(carphone):
    """A face of some 70 x 90 px on a picture of 176 x 144."""
    return np.asarray(cv2.VideoCapture(str(carphone)).read()[1], np.uint8)


@pytest.fixture
def tracker(bundle):
    return FaceTracker(bundle, FaceSettings(), "left")


def cabin(*people, size_px=(1280, 720)):
    """A picture with people at places: (picture, x, y, width)."""
    canvas = np.full((size_px[1], size_px[0], 3), 60, np.uint8)
    for picture, x, y, width in people:
        height = width * picture.shape[0] // picture.shape[1]
        canvas[y : y + height, x : x + width] = cv2.resize(picture, (width, height))
    return canvas


def middle_x(face):
    return (face.box_px[0] + face.box_px[2]) / 2


def test_a_face_has_landmarks_inside_its_box_and_eyes_above_the_mouth(tracker, man):
    face = tracker.find(Frame(0, 0.0, man))
    assert face.status is Status.OK
    assert face.score > 0.9
    assert face.landmarks_px.shape == (478, 3)
    assert face.landmarks_px[[33, 263], 1].max() < face.landmarks_px[[61, 291], 1].min()
    assert face.landmarks_px[33, 0] < face.landmarks_px[263, 0], "the driver's right eye is on the left"
    assert face.blendshapes.shape == (52,)
    assert 0 <= face.blendshapes.min() <= face.blendshapes.max() <= 1


@pytest.mark.parametrize(("hand", "driver_x"), [("left", 900), ("right", 300)])
def test_the_driver_is_who_sits_on_the_drivers_side(bundle, man, hand, driver_x):
    picture = cabin((man, 100, 150, 420), (man, 700, 150, 420))
    face = FaceTracker(bundle, FaceSettings(), hand).find(Frame(0, 0.0, picture))
    assert middle_x(face) == pytest.approx(driver_x, abs=120)


def test_the_larger_of_two_on_the_same_side_is_the_driver(tracker, man):
    face = tracker.find(Frame(0, 0.0, cabin((man, 520, 60, 260), (man, 700, 200, 560))))
    assert middle_x(face) > 800


def test_a_passenger_is_not_taken_for_a_driver_who_is_not_to_be_seen(tracker, man):
    both, alone = cabin((man, 100, 150, 420), (man, 700, 150, 420)), cabin((man, 100, 150, 420))
    assert tracker.find(Frame(0, 0.0, both)).status is Status.OK
    assert tracker.find(Frame(1, 0.2, alone)).status is Status.NO_FACE
    for i in range(2, 60):
        assert tracker.find(Frame(i, float(i), alone)).status is Status.NO_FACE
    changed = tracker.find(Frame(60, 62.0, alone))
    assert middle_x(changed) < 400, "after a minute the other one drives"


def test_the_driver_is_found_again(tracker, man):
    there, empty = cabin((man, 700, 150, 420)), cabin()
    assert tracker.find(Frame(0, 0.0, there)).status is Status.OK
    for i in range(1, 10):
        assert tracker.find(Frame(i, i / 10, empty)).status is not Status.OK
    assert tracker.find(Frame(10, 1.0, there)).status is Status.OK


def test_tracking_follows_a_moving_face_without_the_detector(bundle, man):
    tracker = FaceTracker(bundle, FaceSettings(redetect_s=1000), "left")
    for i in range(20):
        face = tracker.find(Frame(i, i / 30, cabin((man, 500 + 10 * i, 150 + 4 * i, 420))))
        assert face.status is Status.OK
    detected = FaceTracker(bundle, FaceSettings(), "left").find(Frame(0, 0.0, cabin((man, 690, 226, 420))))
    apart = np.linalg.norm(face.landmarks_px[:, :2] - detected.landmarks_px[:, :2], axis=1)
    assert np.median(apart) < 0.05 * (detected.box_px[2] - detected.box_px[0])


@pytest.mark.parametrize("angle", [-45, 45])
def test_a_tilted_head_gets_a_second_chance(tracker, man, angle):
    picture = cabin((man, 400, 150, 480))
    turned = cv2.warpAffine(picture, cv2.getRotationMatrix2D((640, 340), angle, 1), (1280, 720))
    assert tracker.find(Frame(0, 0.0, np.asarray(turned, np.uint8))).status is Status.OK


def test_a_small_face_gets_a_second_chance(tracker, man):
    assert tracker.find(Frame(0, 0.0, cabin((man, 600, 200, 200)))).status is Status.OK


def test_a_face_in_the_dark_gets_a_second_chance(tracker, man):
    rng = np.random.default_rng(0)
    picture = cabin((man, 500, 100, 560)) * 0.08 + rng.normal(0, 2, (720, 1280, 3))
    assert tracker.find(Frame(0, 0.0, np.clip(picture, 0, 255).astype(np.uint8))).status is Status.OK


@pytest.mark.parametrize("level", [0, 12, 128, 255])
def test_a_covered_or_blinded_camera_is_blocked(tracker, level):
    noise = np.random.default_rng(0).normal(0, 2, (720, 1280, 3))
    picture = np.clip(level + noise, 0, 255).astype(np.uint8)
    assert tracker.find(Frame(0, 0.0, picture)).status is Status.BLOCKED


def test_an_empty_seat_is_no_face_and_has_no_numbers(tracker):
    picture = cabin((np.random.default_rng(0).integers(0, 255, (144, 176, 3), np.uint8), 300, 100, 700))
    face = tracker.find(Frame(0, 0.0, picture))
    assert face.status is Status.NO_FACE
    assert (face.landmarks_px, face.box_px, face.score, face.blendshapes) == (None, None, None, None)


@pytest.mark.parametrize("size_px", [(1, 1), (3, 2), (2, 400), (7680, 4320)])
def test_any_size_of_picture_is_answered(tracker, size_px):
    picture = np.zeros((size_px[1], size_px[0], 3), np.uint8)
    assert tracker.find(Frame(0, 0.0, picture)).status in (Status.BLOCKED, Status.NO_FACE)


def test_a_real_driver_is_found_on_all_stills_but_the_hidden_ones(bundle, data):
    tracker = FaceTracker(bundle, FaceSettings(), "left")
    missed = []
    for i, path in enumerate(sorted((data / "incar_driver_ood_coco" / "imgs").glob("*.jpg"))):
        image = np.asarray(cv2.imread(str(path)), np.uint8)
        if tracker.find(Frame(i, 10.0 * i, image)).status is not Status.OK:
            missed.append(path.name.split("_jpg")[0])
    # 28: only hair is to be seen; 238: bent down behind the wheel.
    assert set(missed) <= {"GOPR0492_MP4-28", "GOPR0492_MP4-238"}
