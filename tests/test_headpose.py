"""Head pose: a face put somewhere is found there."""

import cv2
import numpy as np
import pytest
from heads import CAMERA, landmarks_of
from hypothesis import given, settings
from hypothesis import strategies as st

from dashgaze.bundle import packaged_bundle
from dashgaze.device.faces import FaceSettings, FaceTracker
from dashgaze.device.headpose import MESH, CanonicalFace, HeadPoseEstimator, MeshFaults
from dashgaze.device.records import Frame
from dashgaze.geometry import Camera, angle_between_deg, facing_rotation

FACE = CanonicalFace.from_bundle(packaged_bundle())
ESTIMATOR = HeadPoseEstimator(FACE, CAMERA)


@settings(max_examples=40, deadline=None)
@given(st.floats(-60, 60), st.floats(-30, 30), st.floats(-40, 40), st.floats(-150, 150), st.floats(450, 1200))
def test_a_posed_face_is_found_where_it_is(yaw, pitch, roll, x, z):
    landmarks, rotation = landmarks_of(FACE, (yaw, pitch, roll), (x, 40.0, z))
    pose = ESTIMATOR.fit(landmarks)
    assert pose is not None
    for axis in np.eye(3):
        # The mesh's depth is weakly perspective, hence not exact.
        assert angle_between_deg(pose.rotation @ axis, rotation @ axis) < 2.5
    assert pose.position_mm == pytest.approx([x, 40, z], rel=0.02, abs=4)
    assert pose.error_px < 1


def test_angles_and_rotation_say_the_same():
    landmarks, _ = landmarks_of(FACE, (25, -10, 8))
    pose = ESTIMATOR.fit(landmarks)
    assert pose is not None
    assert (pose.yaw_deg, pose.pitch_deg, pose.roll_deg) == pytest.approx((25, -10, 8), abs=2)


def test_a_distorting_lens_does_not_turn_the_head():
    lens = Camera.from_parameters((1280, 720), CAMERA.matrix, [-0.25, 0.08, 0.001, -0.001])
    landmarks, _ = landmarks_of(FACE, (20, 5, 0), (120, -60, 500), camera=lens)
    straight = HeadPoseEstimator(FACE, CAMERA).fit(landmarks)
    told = HeadPoseEstimator(FACE, lens).fit(landmarks)
    assert straight is not None
    assert told is not None
    assert (told.yaw_deg, told.pitch_deg) == pytest.approx((20, 5), abs=2)
    assert told.error_px < straight.error_px


@given(st.floats(-90, 90), st.floats(-40, 40), st.floats(-40, 40), st.floats(-300, 300))
def test_faults_are_the_same_in_the_mirror(yaw, pitch, roll, x):
    here = MESH.turn_deg(facing_rotation(yaw, pitch, roll), np.array([x, 50.0, 700.0]))
    mirrored = MESH.turn_deg(facing_rotation(-yaw, pitch, -roll), np.array([-x, 50.0, 700.0]))
    assert mirrored == pytest.approx(here * [1, -1, -1])
    assert np.linalg.norm(here) <= np.hypot(MESH.short_deg, MESH.raised_deg) + 1e-9, "bounded, however wrong a pose is"


def test_a_face_that_looks_into_the_lens_is_not_corrected_wherever_it_is():
    position = np.array([-260.0, 0.0, 600.0])
    facing = facing_rotation(np.degrees(np.arctan2(-260, 600)), 20, 0)
    assert MESH.turn_deg(facing, position) == pytest.approx(np.zeros(3), abs=1e-9)


def test_a_real_head_that_turns_does_not_nod(data):
    """A woman turns her head from -37 to 58 deg and keeps it level: nothing here is rendered."""
    clip = cv2.VideoCapture(str(data / "face_videos_intel_preview" / "preview" / "head-pose-face-detection-female.gif"))
    tracker = FaceTracker(packaged_bundle(), FaceSettings(), "left")
    faces = []
    while (picture := clip.read())[0]:
        faces.append(tracker.find(Frame(len(faces), len(faces) / 10, picture[1])))
    size_px = int(clip.get(cv2.CAP_PROP_FRAME_WIDTH)), int(clip.get(cv2.CAP_PROP_FRAME_HEIGHT))
    camera = Camera.from_fov(size_px, 50)
    nods = []
    for faults in (MeshFaults(short_deg=0, raised_deg=0), MESH):
        estimator = HeadPoseEstimator(FACE, camera, faults)
        poses = [estimator.fit(face.landmarks_px) for face in faces if face.landmarks_px is not None]
        aside = np.sin(np.radians([pose.seen_from_deg[0] for pose in poses]))
        nods.append(np.polyfit(aside**2, [pose.pitch_deg for pose in poses], 1)[0])
    assert np.ptp(aside) > 1
    assert abs(nods[1]) < abs(nods[0]) / 2


def test_estimates_that_disagree_are_said_to():
    landmarks, _ = landmarks_of(FACE, (0, 0, 0))
    flattened = landmarks.copy()
    flattened[:, 2] += 0.3 * (flattened[:, 1] - flattened[:, 1].mean())  # depth that claims another pitch
    honest, doubtful = ESTIMATOR.fit(landmarks), ESTIMATOR.fit(flattened)
    assert honest is not None
    assert doubtful is not None
    assert doubtful.spread_deg > honest.spread_deg + 5


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_landmarks_that_are_no_face_have_no_pose(value):
    assert ESTIMATOR.fit(np.full((478, 3), value, np.float32)) is None


def test_eyeballs_lie_behind_and_between_the_lid_corners():
    assert FACE.eyeballs_mm.mean(axis=0) == pytest.approx([0, 0, 0], abs=1e-9)
    right, left = FACE.eyeballs_mm
    assert right[0] > 0 > left[0], "x is to the driver's right"
    assert right[0] - left[0] == pytest.approx(63, abs=3), "pupils are 63 mm apart"
    assert FACE.vertices_mm[1, 2] > 40, "the nose points out of the face"
    assert FACE.vertices_mm[152, 1] > 60, "the chin is below"
