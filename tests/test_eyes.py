"""Lids: closed, open, hidden, and this driver's normal."""

import numpy as np
import pytest
from heads import CAMERA, landmarks_of

from dashgaze.bundle import packaged_bundle
from dashgaze.device.eyes import EyeJudge, EyeSettings
from dashgaze.device.headpose import CanonicalFace, HeadPoseEstimator
from dashgaze.device.records import Face
from dashgaze.tables import Status

BUNDLE = packaged_bundle()
NAMES = BUNDLE.part("blendshapes").labels
CANONICAL = CanonicalFace.from_bundle(BUNDLE)
LIDS = [(159, 145), (158, 153), (160, 144), (386, 374), (385, 380), (387, 373)]
CORNERS = [(33, 133)] * 3 + [(362, 263)] * 3


def face_with(aperture, blink=0.15, yaw=0.0, mouth=0.0):
    """A face whose lids are apart by this share of the eye's width."""
    landmarks, _ = landmarks_of(CANONICAL, (yaw, 0, 0))
    for (up, down), corners in zip(LIDS, CORNERS, strict=True):
        a, b = landmarks[list(corners), :2]
        across = (b - a) if b[0] > a[0] else (a - b)
        middle, half = (a + b) / 2, np.array([-across[1], across[0]]) / np.cos(np.radians(yaw)) * aperture / 2
        landmarks[up, :2], landmarks[down, :2] = middle - half, middle + half
    width = np.linalg.norm(landmarks[61, :2] - landmarks[291, :2])
    landmarks[14, :2] = landmarks[13, :2] + [0, mouth * width]
    shapes = np.zeros(52, np.float32)
    shapes[[NAMES.index("eyeBlinkLeft"), NAMES.index("eyeBlinkRight")]] = blink
    shapes[NAMES.index("jawOpen")] = mouth
    pose = HeadPoseEstimator(CANONICAL, CAMERA).fit(landmarks)
    return Face(Status.OK, 1.0, (0, 0, 1, 1), landmarks, shapes), pose


def judge_of():
    return EyeJudge(EyeSettings(), NAMES)


def test_open_eyes_are_open_and_closed_ones_closed():
    eyes, _ = judge_of().judge(0.0, *face_with(0.30))
    assert eyes.closed is False
    assert eyes.openness_left_frac == pytest.approx(1, abs=0.15)
    eyes, _ = judge_of().judge(0.0, *face_with(0.08, blink=0.65))
    assert eyes.closed is True
    assert eyes.openness_right_frac < 0.1


def test_openness_falls_as_the_lids_do():
    values = [
        judge_of().judge(0.0, *face_with(a, b))[0].openness_left_frac
        for a, b in ((0.3, 0.15), (0.2, 0.35), (0.12, 0.5))
    ]
    assert values == sorted(values, reverse=True)


def test_the_far_eye_of_a_turned_head_is_not_judged():
    right, _ = judge_of().judge(0.0, *face_with(0.3, yaw=45))
    assert (right.openness_right_frac, right.closed) == (None, False)
    assert right.openness_left_frac is not None
    left, _ = judge_of().judge(0.0, *face_with(0.3, yaw=-45))
    assert left.openness_left_frac is None


def test_a_turned_head_does_not_open_the_eyes():
    straight = judge_of().judge(0.0, *face_with(0.25))[1].mean
    turned = judge_of().judge(0.0, *face_with(0.25, yaw=30))[1].mean
    assert turned == pytest.approx(straight, rel=0.15)


def test_narrow_eyes_become_normal_after_a_while():
    judge = judge_of()
    first, _ = judge.judge(0.0, *face_with(0.2))
    face, pose = face_with(0.2)
    for i in range(1, 1200):
        last, _ = judge.judge(i / 10, face, pose)
    assert first.openness_left_frac < 0.85
    assert last.openness_left_frac == pytest.approx(1, abs=0.08)
    assert judge.normal_aperture_frac == pytest.approx(0.2, abs=0.02)


def test_long_sleep_does_not_become_normal():
    judge = judge_of()
    asleep, pose = face_with(0.07, blink=0.65)
    for i in range(3000):
        eyes, _ = judge.judge(i / 10, asleep, pose)
    assert eyes.closed is True
    assert judge.normal_aperture_frac == pytest.approx(0.3, abs=0.02)


def test_closed_eyes_need_to_open_clearly_to_count_as_open():
    judge = judge_of()
    assert judge.judge(0.0, *face_with(0.08, blink=0.65))[0].closed is True
    between = face_with(0.145, blink=0.49)
    openness = judge.judge(0.1, *between)[0].openness_left_frac
    assert 0.2 < openness < 0.3
    assert judge.judge(0.2, *between)[0].closed is True
    assert judge_of().judge(0.0, *between)[0].closed is False


def test_a_yawn_opens_the_mouth_and_talk_does_not_open_it_wide():
    assert judge_of().judge(0.0, *face_with(0.3, mouth=0.7))[0].mouth_open_frac == pytest.approx(0.7, abs=0.05)
    assert judge_of().judge(0.0, *face_with(0.3, mouth=0.1))[0].mouth_open_frac < 0.2
