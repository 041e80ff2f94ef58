"""The peer's side of `benchmarks.device`, run in an environment of its own: MediaPipe's Face Landmarker.

usage: peer_mediapipe.py MODEL.task FACES CLIP OUT.npz
Writes landmarks (n, FACES, 478, 2) in pixels, NaN where no face was found, and the seconds from opening the clip to
its end. A video runs in VIDEO mode (with one face MediaPipe smooths landmarks over time, with more it does not), a
folder of pictures in IMAGE mode.
"""

import re
import sys
import time
from pathlib import Path

import cv2
import mediapipe as mp
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision


def pictures(clip: Path):
    """BGR pictures and stamps in ms of a video or a folder of pictures."""
    if clip.is_dir():
        numbers = re.compile(r"\d+")
        paths = sorted(clip.glob("*.jpg"), key=lambda path: [int(n) for n in numbers.findall(path.name)[:3]])
        for i, path in enumerate(paths):
            yield cv2.imread(str(path)), i * 1000
        return
    capture = cv2.VideoCapture(str(clip), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    last = -1
    while True:
        ok, image = capture.read()
        if not ok:
            return
        last = max(last + 1, int(capture.get(cv2.CAP_PROP_POS_MSEC)))
        yield image, last


def run(model: str, faces: int, clip: Path) -> tuple[np.ndarray, float, np.ndarray]:
    """Landmarks of every picture, total seconds, milliseconds of each picture."""
    mode = "IMAGE" if clip.is_dir() else "VIDEO"
    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=model),
        running_mode=vision.RunningMode[mode],
        num_faces=faces,
    )
    rows, each_ms = [], []
    with vision.FaceLandmarker.create_from_options(options) as landmarker:
        began = before = 0.0
        for image, stamp_ms in pictures(clip):
            began = began or time.perf_counter()  # with the first decoded picture, as on the other side
            before = before or began
            height, width = image.shape[:2]
            picture = mp.Image(mp.ImageFormat.SRGB, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
            result = landmarker.detect_for_video(picture, stamp_ms) if mode == "VIDEO" else landmarker.detect(picture)
            found = np.full((faces, 478, 2), np.nan)
            for face, points in zip(found, result.face_landmarks, strict=False):
                face[:] = [(p.x * width, p.y * height) for p in points]
            rows.append(found)
            now = time.perf_counter()
            each_ms.append((now - before) * 1000)
            before = now
    return np.array(rows), time.perf_counter() - began, np.array(each_ms)


if __name__ == "__main__":
    landmarks, seconds, frame_ms = run(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
    np.savez(sys.argv[4], landmarks=landmarks, seconds=seconds, frame_ms=frame_ms)
