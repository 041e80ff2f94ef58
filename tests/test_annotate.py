import resource
import shutil
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashgaze.device.outputs import LEVEL_RGB, MUTED_RGB, ZONE_RGB, annotate
from dashgaze.device.outputs.annotate import AnnotateSettings, Annotator, pixelate_faces
from dashgaze.device.outputs.drawing import bgr, put_text, text_width_px
from dashgaze.device.outputs.video import LONGEST_GAP_S, AnnotatedVideo
from dashgaze.device.records import (
    Alert,
    AlertKind,
    Attention,
    Eyes,
    Face,
    Frame,
    Gaze,
    HeadPose,
    Level,
)
from dashgaze.errors import DashgazeError, InputError
from dashgaze.geometry import FACING, Camera, rays_from_angles
from dashgaze.tables import Status
from dashgaze.zones import Zone

SIZE_PX = (640, 480)
CAMERA = Camera.from_fov(SIZE_PX, 60.0)
OUTLINES = {
    Zone.ROAD_AHEAD: np.array([[-14.0, 12], [14, 12], [14, -12], [-14, -12]]),
    Zone.PHONE_LAP: np.array([[-40.0, -35], [40, -35], [60, -60], [-60, -60]]),
}
CALM = Attention(Level.NONE, buffer_s=2.0, perclos_frac=0.05)


def picture(value=0, size_px=SIZE_PX):
    return np.full((size_px[1], size_px[0], 3), value, np.uint8)


def landmarks(centre=(320.0, 240.0), width_px=160.0):
    rng = np.random.default_rng(7)
    points = rng.uniform(-0.5, 0.5, (478, 3)) * width_px
    points[:, :2] += centre
    return points.astype(np.float32)


def face(**kwargs):
    points = landmarks()
    box = (*points[:, :2].min(axis=0).tolist(), *points[:, :2].max(axis=0).tolist())
    return Face(Status.OK, 0.99, box, points, faces_visible=1) if not kwargs else Face(**kwargs)


def gaze(az=0.0, el=0.0, zone=Zone.ROAD_AHEAD, status=Status.OK, error_deg=4.0, **kwargs):
    head = HeadPose(FACING, np.array([0.0, 0.0, 600.0]), 0.0, 0.0, 0.0, 1.0)
    values = {
        "ray": FACING @ rays_from_angles(az, el),
        "eye_mid_mm": head.position_mm,
        "car_azimuth_deg": az,
        "car_elevation_deg": el,
        "head": head,
        "eyes": Eyes(0.9, 0.8, False, 0.1),
    }
    return Gaze(status, error_deg=error_deg, zone=zone, **(values | kwargs))


def annotator(**kwargs):
    return Annotator(AnnotateSettings(**kwargs), CAMERA.project, OUTLINES)


def part(canvas, rect):
    x, y, width, height = rect
    return canvas[y : y + height, x : x + width]


def close_to(image, colour, distance=30):
    return (np.abs(image.astype(int) - bgr(colour)).sum(axis=-1) < distance).sum()


def drawn(gaze_, attention=CALM, face_=None, road=None, **kwargs):
    return annotator(**kwargs).draw(Frame(0, 0.0, picture()), face_ or face(), gaze_, attention, road)


@pytest.mark.parametrize("size_px", [(1, 1), (176, 144), (1920, 1080), (40, 2000), (3001, 90)])
def test_every_source_size_gives_one_canvas_and_is_left_alone(size_px):
    image = picture(90, size_px)
    before = image.copy()
    canvas = annotator().draw(Frame(0, 0.0, image), face(), gaze(), CALM)
    assert canvas.shape == (720, 1280, 3)
    assert canvas.dtype == np.uint8
    assert (image == before).all()


def test_a_picture_is_not_changed_by_the_next_one():
    drawer = annotator()
    first = drawer.draw(Frame(0, 0.0, picture(10)), face(), gaze(), CALM)
    kept = first.copy()
    drawer.draw(Frame(1, 0.1, picture(200)), face(), gaze(20.0), CALM)
    assert (first == kept).all()


def test_a_source_that_changes_its_size_is_laid_out_anew():
    drawer = annotator()
    wide = drawer.draw(Frame(0, 0.0, picture(255, (1280, 720))), face(), gaze(), CALM)
    narrow = drawer.draw(Frame(1, 0.1, picture(255, (480, 640))), face(), gaze(), CALM)
    assert close_to(wide[100:400, 20:200], (255, 255, 255)) > 0.9 * 300 * 180
    assert close_to(narrow[100:400, 20:200], (255, 255, 255)) == 0


wild = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))


@settings(max_examples=60, deadline=None)
@given(
    az=wild,
    el=wild,
    error=wild,
    ray=st.tuples(*[st.floats()] * 3),
    eye=st.tuples(*[st.floats()] * 3),
    share=wild,
    road=st.one_of(st.none(), st.tuples(st.floats(), st.floats())),
    scale=st.sampled_from([0.0, 1.0, 1e30, np.nan, np.inf]),
)
def test_no_number_stops_the_drawing(az, el, error, ray, eye, share, road, scale):
    strange = gaze(
        error_deg=error,
        car_azimuth_deg=az,
        car_elevation_deg=el,
        ray=np.array(ray),
        eye_mid_mm=np.array(eye),
        eyes=Eyes(share, share, None, share),
        road_px=road,
        road_error_px=error,
        location_status=Status.OK,
    )
    with np.errstate(all="ignore"):
        found = Face(Status.OK, 0.5, (scale,) * 4, landmarks() * np.float32(scale), faces_visible=1)
    drawer = annotator(blur_face=True)
    attention = Attention(Level.WARNING, (AlertKind.SLEEP,), buffer_s=share, perclos_frac=share)
    for index in range(2):
        canvas = drawer.draw(Frame(index, index / 10, picture()), found, strange, attention, picture(9))
    assert canvas.shape == (720, 1280, 3)


def test_a_gaze_to_the_drivers_right_lies_right_on_the_map_and_up_is_up():
    blank = part(drawn(Gaze(Status.NO_FACE), face_=face(status=Status.NO_FACE)), annotate._MAP).astype(int)

    def place(az, el):
        shown = part(drawn(gaze(az, el, zone=None)), annotate._MAP).astype(int)
        ys, xs = np.nonzero(np.abs(shown - blank).sum(axis=-1) > 60)
        return xs.mean(), ys.mean()

    middle, right, up = place(0, -15), place(50, -15), place(0, 15)
    assert right[0] > middle[0] + 60
    assert up[1] < middle[1] - 30


def test_without_a_face_the_map_stays_empty_and_the_picture_says_so():
    nobody = drawn(Gaze(Status.NO_FACE), face_=face(status=Status.NO_FACE))
    asleep = drawn(Gaze(Status.EYES_CLOSED, zone=None))
    assert (part(nobody, annotate._MAP) == part(asleep, annotate._MAP)).all()
    assert close_to(nobody[480:560, 300:580], (232, 237, 243)) > 50


def test_the_beam_is_green_on_the_road_amber_off_it_and_red_under_a_critical_alert():
    view = (slice(150, 450), slice(100, 780))
    nowhere = face(status=Status.OK)
    on_road = drawn(gaze(40.0), face_=nowhere)[view]
    off_road = drawn(gaze(40.0, zone=Zone.CONSOLE), face_=nowhere)[view]
    alert = drawn(gaze(40.0, zone=Zone.CONSOLE), Attention(Level.CRITICAL), face_=nowhere)[view]
    for shown, level in ((on_road, Level.NONE), (off_road, Level.WARNING), (alert, Level.CRITICAL)):
        counts = {other: close_to(shown, LEVEL_RGB[other]) for other in LEVEL_RGB}
        assert max(counts, key=counts.get) is level
        assert counts[level] > 100


def test_the_beam_points_to_the_picture_left_where_the_driver_looks_right():
    shown = drawn(gaze(40.0), face_=face(status=Status.OK))[150:450, 40:844]
    xs = np.nonzero(np.abs(shown.astype(int) - bgr(LEVEL_RGB[Level.NONE])).sum(axis=-1) < 30)[1] + 40
    assert xs.mean() < 12 + 860 / 2 - 40


def test_a_direction_of_the_head_alone_is_grey_and_thin():
    sure = drawn(gaze(40.0), face_=face(status=Status.OK))[150:450, 100:780]
    doubtful = drawn(gaze(40.0, status=Status.LOW_QUALITY), face_=face(status=Status.OK))[150:450, 100:780]
    assert close_to(doubtful, LEVEL_RGB[Level.NONE]) == 0
    assert 0 < close_to(doubtful, MUTED_RGB) < close_to(sure, LEVEL_RGB[Level.NONE])


def test_the_road_view_covers_nothing_but_its_own_place():
    looked = gaze(5.0, road_px=(300.0, 200.0), road_error_px=30.0, location_status=Status.OK)
    without, with_road = drawn(looked), drawn(looked, road=picture(130))
    changed = (without != with_road).any(axis=-1)
    x, y, width, height = annotate._ROAD_PANEL
    inside = changed[y : y + height, x : x + width].sum()
    assert inside > 1000
    assert changed.sum() == inside


def test_an_unknown_location_draws_no_crosshair():
    known = gaze(road_px=(320.0, 240.0), location_status=Status.OK)
    unknown = gaze(road_px=(320.0, 240.0), location_status=Status.NO_MATCH)
    middle = (slice(590, 610), slice(1066, 1086))
    assert np.ptp(drawn(known, road=picture(130))[middle].astype(int)) > 50
    assert np.ptp(drawn(unknown, road=picture(130))[middle].astype(int)) == 0


def strip(canvas):
    return canvas[610:, :872]


def watch_for(drawer, seconds, begin_s=0.0, zone=Zone.ROAD_AHEAD, rate=20):
    canvas = None
    for k in range(round(seconds * rate)):
        frame = Frame(k, begin_s + k / rate, picture())
        seen = gaze(zone=zone)
        if k == round(seconds * rate) - 1:
            canvas = drawer.draw(frame, face(), seen, CALM)
        else:
            drawer.observe(frame, seen, CALM)
    return canvas


def test_the_strip_shows_zones_where_they_were_seen_and_nothing_before():
    drawer = annotator()
    watch_for(drawer, 10)
    canvas = watch_for(drawer, 5, 10.0, Zone.PHONE_LAP)
    x, y, width, height = annotate._lanes((12, 612, 860, 96))["zone"]
    row = canvas[y + height // 2, x : x + width]
    counts = [close_to(row[None], ZONE_RGB[zone], 6) / width * 30 for zone in (Zone.ROAD_AHEAD, Zone.PHONE_LAP)]
    assert counts == pytest.approx([10.0, 5.0], abs=0.3)
    assert (row[: width // 3] == row[0]).all()


def test_the_strip_depends_on_the_last_seconds_alone_however_long_the_drive():
    old, young = annotator(), annotator()
    for k in range(12_000):
        zone = Zone.CONSOLE if k % 700 < 100 else Zone.ROAD_AHEAD
        old.observe(Frame(k, k / 100, picture()), gaze(zone=zone), CALM)
    for k in range(8_500, 12_000):
        zone = Zone.CONSOLE if k % 700 < 100 else Zone.ROAD_AHEAD
        young.observe(Frame(k, k / 100, picture()), gaze(zone=zone), CALM)
    last = Frame(12_000, 120.0, picture()), face(), gaze(), CALM
    assert (strip(old.draw(*last)) == strip(young.draw(*last))).all()


def test_a_gap_in_time_is_a_gap_in_the_strip():
    drawer = annotator()
    watch_for(drawer, 2)
    canvas = watch_for(drawer, 2, begin_s=12.0)
    x, y, width, height = annotate._lanes((12, 612, 860, 96))["zone"]
    row = canvas[y + height // 2, x : x + width]
    assert close_to(row[None], ZONE_RGB[Zone.ROAD_AHEAD], 6) / width * 30 == pytest.approx(4 + 1.2, abs=0.3)


def banner_rows(canvas):
    column = canvas[14:100, 68:82].astype(int)
    return int((column.sum(axis=-1) > 60).all(axis=1).sum())


def test_the_banner_slides_in_stays_and_leaves():
    drawer = annotator()
    start = Alert(AlertKind.PHONE_DOWN, Level.WARNING, 1.0, "rule", "Look at the road")
    heights = []
    for k in range(60):
        t_s = k * 0.05
        level = Level.WARNING if 1.0 <= t_s < 2.0 else Level.NONE
        active = (AlertKind.PHONE_DOWN,) if level else ()
        changes = (start,) if k == 20 else ()
        canvas = drawer.draw(Frame(k, t_s, picture()), face(), gaze(), Attention(level, active, changes))
        heights.append(banner_rows(canvas))
    assert heights[19] == 0
    assert 0 < heights[20] < heights[30]
    assert heights[26:39] == [heights[30]] * 13
    assert heights[-1] == 0


def test_a_face_is_squares_and_the_rest_of_the_picture_is_untouched():
    image = np.random.default_rng(1).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    hidden = pixelate_faces(image, face(status=Status.OK, box_px=(200.0, 100.0, 300.0, 220.0), faces_visible=1))
    inside = hidden[100:221, 200:301].reshape(-1, 3)
    assert len(np.unique(inside, axis=0)) < 120
    changed = (hidden != image).any(axis=-1)
    ys, xs = np.nonzero(changed)
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (180, 320, 64, 256)


@pytest.mark.parametrize(
    "found",
    [
        None,
        Face(Status.NO_FACE),
        Face(Status.OK),
        Face(Status.OK, box_px=(np.nan, 0.0, 1.0, 1.0)),
    ],
)
def test_where_the_face_is_not_known_nothing_is_recognisable(found):
    image = np.random.default_rng(1).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    assert len(np.unique(pixelate_faces(image, found).reshape(-1, 3), axis=0)) < 30 * 30


def test_another_face_stays_hidden_while_faces_are_not_counted():
    image = np.random.default_rng(1).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    drawer = annotator(blur_face=True)
    box = (200.0, 100.0, 300.0, 220.0)

    def detail(t_s, faces_visible):
        found = Face(Status.OK, box_px=box, faces_visible=faces_visible)
        canvas = drawer.draw(Frame(0, t_s, image), found, Gaze(Status.UNKNOWN), CALM)
        return np.abs(np.diff(canvas[400:500, 500:700].astype(int), axis=1)).mean()

    alone, together, just_after, later = detail(0, 1), detail(1, 2), detail(1.5, 1), detail(9, 1)
    assert together == just_after < 0.2 * alone
    assert later == alone


@pytest.mark.parametrize("text", ["", "±4.5° right", "naïve — 視線", "a" * 500, "\x1b[31m\n"])
def test_any_text_can_be_written_anywhere(text):
    image = picture()
    for at in ((0, 0), (-50, 20), (639, 479), (10_000, 10_000)):
        put_text(image, text, at, 9.0, (255, 255, 255), align="centre")
    assert text_width_px(text, 9.0) >= 1


# The video


@pytest.fixture(params=["ffmpeg", "opencv"])
def encoder(request, monkeypatch):
    if request.param == "opencv":
        monkeypatch.setenv("PATH", "")
    elif shutil.which("ffmpeg") is None:
        pytest.skip("the ffmpeg program is not installed")
    return request.param


def frames_of(path: Path) -> list[float]:
    capture = cv2.VideoCapture(str(path))
    values = []
    while True:
        ok, image = capture.read()
        if not ok:
            return values
        values.append(float(image.mean()))


def small(value):
    return picture(value, (64, 48))


@pytest.mark.usefixtures("encoder")
def test_the_video_keeps_real_time_when_pictures_come_irregularly(tmp_path):
    times = [5.0, 5.1, 5.12, 5.13, 5.5, 5.6, 6.0]
    path = tmp_path / "a.webm"
    with AnnotatedVideo(path, 10.0) as video:
        for k, t_s in enumerate(times):
            video.write(small(30 * (k + 1)), t_s)
    expected = [30, 60, 60, 60, 60, 150, 180, 180, 180, 180, 210]
    assert frames_of(path) == pytest.approx(expected, abs=8)
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(10.0)
    assert [p.name for p in tmp_path.iterdir()] == ["a.webm"]


@settings(max_examples=200, deadline=None)
@given(rate=st.floats(5, 240), fps=st.sampled_from([10.0, 15.0, 30.0]))
def test_a_steady_source_fills_every_slot_it_can(rate, fps):
    video = AnnotatedVideo(Path("never.webm"), fps)
    video._start_s = 0.0
    slots = {video._slot_at(k / rate) for k in range(200)}
    highest = video._slot_at(199 / rate)
    if rate >= fps:
        assert slots == set(range(highest + 1))
    assert highest == int(199 / rate * fps + 1e-3)


def test_a_long_gap_is_cut(tmp_path):
    path = tmp_path / "a.webm"
    with AnnotatedVideo(path, 5.0) as video:
        for t_s in (0.0, 3600.0, 3600.2):
            video.write(small(100), t_s)
    assert len(frames_of(path)) == 3 + LONGEST_GAP_S * 5


def test_time_that_goes_back_adds_nothing(tmp_path):
    path = tmp_path / "a.webm"
    with AnnotatedVideo(path, 5.0) as video:
        for t_s in (1.0, 0.2, 0.9, 1.2):
            video.write(small(100), t_s)
    assert len(frames_of(path)) == 2


def test_without_pictures_there_is_no_file(tmp_path):
    with AnnotatedVideo(tmp_path / "a.webm", 5.0):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("encoder")
def test_a_failed_run_leaves_the_older_file_as_it_was(tmp_path):
    path = tmp_path / "a.webm"
    path.write_bytes(b"older")

    def fail():
        with AnnotatedVideo(path, 5.0) as video:
            video.write(small(100), 0.0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_bytes() == b"older"
    assert [p.name for p in tmp_path.iterdir()] == ["a.webm"]


@pytest.mark.usefixtures("encoder")
def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path):
    rng = np.random.default_rng(3)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))

    def record():
        with AnnotatedVideo(tmp_path / "a.webm", 10.0) as video:
            for k in range(40):
                video.write(rng.integers(0, 256, (240, 320, 3), dtype=np.uint8), k / 10)

    try:
        with pytest.raises(DashgazeError, match=r"a\.webm: could not be (encoded|written)"):
            record()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []
    assert "annotated video" not in [thread.name for thread in threading.enumerate()]


def test_a_live_loop_never_waits_for_the_encoder(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)
    with AnnotatedVideo(tmp_path / "a.webm", 30.0, live=True) as video:
        wanted = [video.wants(k / 30) or None for k in range(20) if video.write(noise, k / 30) is None]
        assert wanted.count(True) < 20
        assert not video.wants(19 / 30)
    assert 1 <= len(frames_of(tmp_path / "a.webm")) <= 20


@pytest.mark.parametrize(
    ("name", "problem"),
    [("a.mp4", "is not a name"), ("absent/a.webm", "does not exist"), ("folder.webm", "is a folder")],
)
def test_a_place_that_cannot_be_written_to_is_refused_before_the_run(tmp_path, name, problem):
    (tmp_path / "folder.webm").mkdir()
    with pytest.raises(InputError, match=problem):
        AnnotatedVideo(tmp_path / name, 15.0)
