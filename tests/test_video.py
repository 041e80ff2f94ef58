"""Videos come back frame by frame, at their times, and the same from the same pictures."""

import cv2
import numpy as np
import pytest

from dashgaze.errors import DashgazeError
from dashgaze.training.video import write_video


def pictures(count):
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (count, 9, 16, 3), dtype=np.uint8)
    return [cv2.resize(picture, (160, 90), interpolation=cv2.INTER_CUBIC) for picture in coarse]


def write(path, frames, times_s, crf=18):
    with write_video(path, (160, 90), 0.25, crf) as video:
        for picture, t_s in zip(frames, times_s, strict=True):
            video.write(picture, t_s)


def test_pictures_and_times_come_back(tmp_path):
    frames, times_s = pictures(5), [0.0, 0.2, 0.5, 0.6, 1.75]
    write(tmp_path / "a.mp4", frames, times_s)
    video = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    for picture, t_s in zip(frames, times_s, strict=True):
        there, read = video.read()
        assert there
        assert video.get(cv2.CAP_PROP_POS_MSEC) == pytest.approx(1000 * t_s, abs=1)
        assert np.abs(read.astype(int) - picture).mean() < 6
    assert not video.read()[0]


def test_the_last_frame_lasts_as_long_as_the_others(tmp_path):
    write(tmp_path / "a.mp4", pictures(4), [0.0, 0.25, 0.5, 0.75])
    video = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(4)


def test_the_same_pictures_give_the_same_bytes(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        write(tmp_path / name, pictures(4), [0.0, 1.0, 2.0, 3.0])
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_full_disk_is_said_in_one_line():
    with pytest.raises(DashgazeError, match=r"no space left.*free some space"):
        write("/dev/full", [np.random.default_rng(0).integers(0, 255, (90, 160, 3), np.uint8)] * 200, np.arange(200.0))


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DashgazeError, match=r"none/a\.mp4"):
        write(tmp_path / "none" / "a.mp4", pictures(2), [0.0, 1.0])
