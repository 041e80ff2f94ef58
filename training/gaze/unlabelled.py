"""Real pictures without labels: which of them training may see, and as the network's inputs.

There is no gaze ground truth for real drivers here, so real pictures serve twice: a consistency loss makes the network
say the same of two looks at one of them, and a benchmark asks how it does on them. Each picture belongs to one half
by a rule on its name alone (`half_of`): training and selection see `tuning`, numbers are reported on `held-out`.
"""

import dataclasses
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dashgaze.bundle import Bundle, packaged_bundle
from dashgaze.device.crops import CropPlan, GazeInputs, take_inputs
from dashgaze.device.eyes import EyeJudge, EyeSettings
from dashgaze.device.faces import FaceSettings, FaceTracker
from dashgaze.device.headpose import CanonicalFace, HeadPoseEstimator
from dashgaze.device.lens import LensSettings
from dashgaze.device.records import Frame
from dashgaze.device.source_files import STILL_SUFFIXES, natural_key
from dashgaze.device.sources import SourceSettings, open_source
from dashgaze.errors import InputError
from dashgaze.geometry import Camera

Half = Literal["tuning", "held-out"]

CLIP_HALVES: dict[str, Half] = {
    "carphone": "tuning",
    "left_pane_5fps": "tuning",
    "demo-mediapipe": "tuning",
    "no": "tuning",
    "yes": "tuning",
    "face-demographics-walking": "tuning",
    "hungry": "held-out",
    "thanks": "held-out",
    "face-demographics-walking-and-pause": "held-out",
    "head-pose-face-detection-female": "held-out",
    "head-pose-face-detection-male": "held-out",
    "head-pose-face-detection-female-and-male": "held-out",
}
"""Clips by name: clips that show the same person are in the same half."""
CLIP_SUFFIXES = frozenset({".avi", ".gif", ".mkv", ".mov", ".mp4", ".webm"})
FOV_DEG, NEAREST_MM = 60.0, 600.0
"""Horizontal field of view that is assumed where nothing is known of the lens; narrower where with it a face would be
nearer than that: such a picture was cut out of a larger one, and no driver's camera is so near."""
CLIP_STEP_S = 1.0
"""Neighbouring frames of a clip are one picture twice: so far apart are those that are taken."""
APART_S = 1000.0
"""Pictures of different files are so far apart in time for the face tracker: it forgets one before the next."""

_EXPORTED = re.compile(r"_(?:jpe?g|png)\.rf\..*")  # a suffix of annotation services: number, then a checksum


def half_of(path: Path) -> Half:
    """The half that a file belongs to: as listed, else by its last number (odd is tuning), else by its name's CRC-32.

    One file more or less in a folder moves no other. One person's stills may be in both halves, as the only real
    driver's are; FairFace has one picture a person.
    """
    name = _EXPORTED.sub("", path.stem)
    if path.suffix.lower() in CLIP_SUFFIXES and name in CLIP_HALVES:
        return CLIP_HALVES[name]
    numbers = re.findall(r"[0-9]+", name)
    number = int(numbers[-1]) if numbers else zlib.crc32(name.encode())
    return "tuning" if number % 2 else "held-out"


def real_files(folder: Path, half: Half) -> list[Path]:
    """Pictures and clips of a half below a folder, in natural order of their paths. Raises InputError."""
    if not folder.is_dir():
        raise InputError(str(folder), "is not a folder", "name a folder of real pictures")
    suffixes = STILL_SUFFIXES | CLIP_SUFFIXES
    found = [path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file()]
    found = [path for path in found if path.name[0] != "." and half_of(path) == half]
    if not found:
        kinds = " ".join(sorted(suffixes))
        raise InputError(str(folder), f"holds no pictures or clips of the {half} half ({kinds})", "name another folder")
    return sorted(found, key=lambda path: natural_key(str(path.relative_to(folder))))


def assumed_camera(image: NDArray[np.uint8], landmarks_px: NDArray[np.float32], canonical: CanonicalFace) -> Camera:
    """A camera for a picture of whose lens nothing is known, but that it shows a face (478, 3)."""
    width, height = image.shape[1], image.shape[0]
    camera = LensSettings(fov_deg=FOV_DEG).camera((width, height))
    head = HeadPoseEstimator(canonical, camera).fit(landmarks_px)
    near = 1.0 if head is None else NEAREST_MM / float(np.linalg.norm(head.position_mm))
    if near <= 1:
        return camera
    fov_deg = 2 * float(np.degrees(np.arctan(np.tan(np.radians(FOV_DEG / 2)) / min(near, 4.0))))
    return LensSettings(fov_deg=fov_deg).camera((width, height))


def unlabelled_samples(
    folder: Path, plan: CropPlan, limit: int | None, half: Half = "tuning", bundle: Bundle | None = None
) -> dict[str, NDArray[Any]]:
    """The network's inputs, by name (n, ...), of real pictures with a face whose eyes are open as the device sees them.

    Pictures and clips (a frame a second) anywhere below the folder. Files come in the order of their names' CRC-32, so
    that a `limit` takes some of every kind, the same each time. Files that cannot be read are passed over. Raises
    InputError where there is no folder, no file of this half, or no face in any.
    """
    files = sorted(real_files(folder, half), key=lambda path: (zlib.crc32(path.name.encode()), path))
    reader = _Reader(bundle or packaged_bundle(), plan)
    taken: list[GazeInputs] = []
    for path in files:
        for inputs in reader.read(path):
            if limit is None or len(taken) < limit:
                taken.append(inputs)
        if limit is not None and len(taken) >= limit:
            break
    if not taken:
        raise InputError(str(folder), f"shows no open-eyed face in {len(files)} files", "name a folder of real faces")
    names = [field.name for field in dataclasses.fields(GazeInputs)]
    return {name: np.stack([getattr(inputs, name) for inputs in taken]) for name in names}


class _Reader:
    """From files to inputs, each frame by itself."""

    def __init__(self, bundle: Bundle, plan: CropPlan) -> None:
        self._tracker = FaceTracker(bundle, FaceSettings(driver_side="middle"), "left")
        self._canonical, self._plan = CanonicalFace.from_bundle(bundle), plan
        self._now_s = 0.0

    def read(self, path: Path) -> Iterator[GazeInputs]:
        try:
            with open_source(str(path), SourceSettings()) as source:
                next_s = 0.0
                for frame in source:
                    if frame is not None and frame.t_s >= next_s:
                        next_s = frame.t_s + CLIP_STEP_S
                        inputs = self._inputs(frame)
                        if inputs is not None:
                            yield inputs
        except InputError:
            return

    def _inputs(self, frame: Frame) -> GazeInputs | None:
        self._now_s += APART_S
        frame = dataclasses.replace(frame, t_s=self._now_s)
        face = self._tracker.find(frame)
        if face.landmarks_px is None:
            return None
        camera = assumed_camera(frame.image, face.landmarks_px, self._canonical)
        head = HeadPoseEstimator(self._canonical, camera).fit(face.landmarks_px)
        if head is None:
            return None
        eyes, _ = EyeJudge(EyeSettings(), self._tracker.blendshape_names).judge(frame.t_s, face, head)
        if eyes.closed is not False:
            return None
        return take_inputs(frame.image, camera, face.landmarks_px, head, self._plan)
