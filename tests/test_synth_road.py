import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dashgaze.errors import DashgazeError
from dashgaze.geometry import Camera, Floats, rays_from_angles, rotation_x
from dashgaze.training.synth.records import EYE_HEIGHT_M, RoadType, TimeOfDay, Traffic, Weather
from dashgaze.training.synth.road import VANISHING_POINT, Road, RoadRenderer
from dashgaze.training.synth.road.course import EgoMotion
from dashgaze.training.synth.road.things import KINDS, MODEL_NAMES, VEHICLES
from dashgaze.zones import HandOfDrive

TIMES = np.arange(0, 60.5, 0.5)
CRUISE: dict[RoadType, float] = {"urban": 10.0, "rural": 20.0, "motorway": 31.0}
ROAD_TYPES: tuple[RoadType, ...] = ("urban", "rural", "motorway")
COCO = {"car", "truck", "bus", "motorcycle", "bicycle", "person", "traffic light", "stop sign"}
AHEAD = np.eye(3)
MOUNT = np.array([250.0, -80.0, 550.0])
CAMERA = Camera.from_fov((1280, 720), 65)
STOP_AND_GO = np.clip(9 * np.sin(TIMES / 7) + 4, 0, None)

moments = st.floats(0, 40)
seeds = st.integers(0, 50)


def drive(
    seed: int = 1,
    road_type: RoadType = "urban",
    traffic: Traffic = "moderate",
    *,
    weather: Weather = "clear",
    time_of_day: TimeOfDay = "day",
    speed: Floats | None = None,
    hand: HandOfDrive = "left",
    duration_s: float = 60,
) -> Road:
    speeds = np.full(len(TIMES), CRUISE[road_type]) if speed is None else speed
    return Road(
        seed,
        road_type=road_type,
        weather=weather,
        traffic=traffic,
        time_of_day=time_of_day,
        speed=(TIMES, speeds),
        hand_of_drive=hand,
        duration_s=duration_s,
    )


@given(st.lists(st.floats(0, 40), min_size=2, max_size=20), st.floats(-5, 30))
def test_the_car_moves_by_the_integral_of_its_speed(speeds: list[float], t_s: float) -> None:
    ego = EgoMotion.of_speed(np.arange(len(speeds), dtype=float), speeds)
    fine = np.linspace(0, t_s, 20001)
    assert ego.distance(t_s) == pytest.approx(np.trapezoid(ego.speed(fine), fine), abs=0.02)
    step = (ego.distance(t_s + 1e-4) - ego.distance(t_s - 1e-4)) / 2e-4
    assert step == pytest.approx(ego.speed(t_s), abs=0.05)


@pytest.mark.parametrize("speed", [([0, 1], [5, -1]), ([0, 0], [5, 5]), ([0, 1], [5, np.nan]), ([], []), ([0, 1], [5])])
def test_an_impossible_speed_is_refused(speed: tuple[list[float], list[float]]) -> None:
    with pytest.raises(ValueError, match="speed"):
        EgoMotion.of_speed(*speed)


@settings(deadline=None, max_examples=8)
@given(seeds, moments, st.sampled_from(ROAD_TYPES))
def test_things_move_continuously_past_the_car(seed: int, t_s: float, road_type: RoadType) -> None:
    road, step = drive(seed, road_type), 0.02
    before, after = road.scene(t_s), road.scene(t_s + step)
    _, i, j = np.intersect1d(before.ids, after.ids, return_indices=True)
    moved = np.linalg.norm(after.base_m[j] - before.base_m[i], axis=1)
    # What is 600 m away swings by as much as the car turns.
    turning = abs(road.pose(t_s + step)[2] - road.pose(t_s)[2]) * 650
    assert len(i) > 10
    assert moved.max() < 3 * CRUISE[road_type] * step + 0.3 + turning
    assert len(i) > 0.9 * len(before.ids)


@settings(deadline=None, max_examples=8)
@given(seeds, st.floats(0, 55))
def test_nobody_in_the_own_lane_is_run_into(seed: int, t_s: float) -> None:
    road = drive(seed, "urban", "dense", speed=STOP_AND_GO)
    scene = road.scene(t_s)
    leaders = np.isfinite(scene.things["lag"])
    s = np.sort(scene.s_m[leaders] - scene.things["size"][leaders, 2] / 2)
    assert (s > road.pose(t_s)[3] + 2.2).all()


def test_where_the_car_waits_in_town_a_light_is_red_and_then_green() -> None:
    road = drive(4, speed=STOP_AND_GO)
    begin, end = road.ego.stops()[0]
    for t_s, state in (((begin + end) / 2, 0), (end + 0.5, 2)):
        scene = road.scene(t_s)
        lights = scene.things["model"] == MODEL_NAMES.index("traffic light")
        near = lights & (scene.base_m[:, 2] > 0) & (scene.base_m[:, 2] < 70)
        assert near.any()
        assert (scene.lights()[near] == state).all()


@settings(deadline=None, max_examples=8)
@given(seeds, moments, st.sampled_from(ROAD_TYPES))
def test_a_ray_to_what_is_salient_hits_it(seed: int, t_s: float, road_type: RoadType) -> None:
    road = drive(seed, road_type, "dense")
    salient = road.salient(t_s)
    assert salient[0][0] == VANISHING_POINT
    for object_id, point_mm in salient[1:]:
        where_mm, hit_id, surface = road.hit(t_s, np.zeros(3), point_mm)
        assert hit_id == object_id
        assert surface in {kind.surface for kind in KINDS.values()}
        assert np.linalg.norm(where_mm) <= np.linalg.norm(point_mm)
        assert np.linalg.norm(np.cross(where_mm, point_mm)) < 1e-6 * np.linalg.norm(point_mm) ** 2


@settings(deadline=None, max_examples=15)
@given(seeds, moments, st.floats(-0.6, 0.6), st.floats(0.05, 0.5))
def test_rays_that_go_down_end_on_the_ground_or_before(seed: int, t_s: float, right: float, down: float) -> None:
    point_mm, object_id, surface = drive(seed).hit(t_s, [100, 50, 0], [right, down, 1])
    if surface == "ground":
        assert object_id is None
        assert point_mm[1] == pytest.approx(1000 * EYE_HEIGHT_M)
    else:
        assert point_mm[1] < 1000 * EYE_HEIGHT_M


def alone(road: Road, model: str) -> tuple[Road, float]:
    """The road with nothing on it but one such thing, and when that is 15 to 100 m ahead."""
    road.things = road.things[road.things["model"] == MODEL_NAMES.index(model)]
    for t_s in np.arange(0.0, 60):
        scene = road.scene(t_s)
        near = np.flatnonzero((scene.base_m[:, 2] > 15) & (scene.base_m[:, 2] < 100))
        if len(near):
            road.things = road.things[scene.ids[near[:1]] - 1]
            road._scene = None
            return road, float(t_s)
    raise AssertionError(f"no {model}")


@pytest.mark.parametrize(
    ("model", "road_type", "offset_frac", "surface"),
    [
        ("gantry", "motorway", (0.1, -0.5, 0), None),  # under the beam
        ("gantry", "motorway", (0.1, -0.95, 0), "gantry"),
        ("gantry", "motorway", (0.494, -0.5, 0), "gantry"),
        ("lamp post", "urban", (-0.46, -0.6, 0), "pole"),
        ("lamp post", "urban", (0.0, -0.6, 0), None),  # beside the post, under the arm
        ("lamp post", "urban", (0.0, -0.97, 0), "pole"),
        ("broadleaf", "rural", (0, -0.7, 0), "tree"),
        ("broadleaf", "rural", (0, -0.2, 0), "tree"),
        ("broadleaf", "rural", (0.45, -0.04, 0), None),  # under the crown
    ],
)
def test_one_looks_through_the_holes_of_things(
    model: str, road_type: RoadType, offset_frac: tuple[float, float, float], surface: str | None
) -> None:
    for seed in range(3):
        road, t_s = alone(drive(seed, road_type, "light"), model)
        point_m = road.scene(t_s).from_things(np.array([0]), np.array([offset_frac]))[0, 0]
        seen = road.hit(t_s, np.zeros(3), point_m)[2]
        assert seen == surface if surface else seen in {"ground", "sky"}


def test_a_ray_into_the_sky_ends_a_kilometre_away() -> None:
    point_mm, object_id, surface = drive().hit(3, np.zeros(3), [0, -1, 0.01])
    assert (object_id, surface) == (None, "sky")
    assert np.linalg.norm(point_mm) == pytest.approx(1e6)


def test_a_ray_to_the_vanishing_point_goes_far() -> None:
    far = 0
    for seed in range(12):
        road = drive(seed, "motorway", "light")
        point_mm, _, surface = road.hit(10, np.zeros(3), road.far_point(10))
        far += bool(point_mm[2] > 40_000)
        assert surface != "ground"
    assert far >= 10  # the rest look at the back of a lorry


@settings(deadline=None, max_examples=8)
@given(seeds, moments, st.sampled_from(ROAD_TYPES))
def test_boxes_hold_the_objects_middles_and_lie_in_the_picture(seed: int, t_s: float, road_type: RoadType) -> None:
    road = drive(seed, road_type, "dense")
    scene = road.scene(t_s)
    sightings = road.objects(t_s, CAMERA, AHEAD, MOUNT)
    for seen in sightings:
        assert seen.kind in {*COCO, "road sign"}
        row = int(np.flatnonzero(scene.ids == seen.object_id)[0])
        x, y = CAMERA.project(scene.centres_m[row] * 1000 - MOUNT)
        assert -0.5 <= seen.object_x0_px < seen.object_x1_px <= 1279.5
        assert -0.5 <= seen.object_y0_px < seen.object_y1_px <= 719.5
        if 0 < x < 1279 and 0 < y < 719:
            assert seen.object_x0_px <= x <= seen.object_x1_px
            assert seen.object_y0_px <= y <= seen.object_y1_px
    away = [scene.centres_m[np.flatnonzero(scene.ids == seen.object_id)[0], 2] for seen in sightings]
    assert (np.diff(away) > -1e-6).all() if len(away) > 1 else True


@pytest.mark.parametrize("road_type", ROAD_TYPES)
def test_what_one_glances_at_is_an_object_of_the_road_view(road_type: RoadType) -> None:
    """Unless it is outside of the picture, tiny, or hidden from the camera."""
    eyes, glances, listed = Camera.from_fov((1280, 720), 120), 0, 0
    for t_s in range(0, 60, 3):
        road = drive(2, road_type, "dense")
        ids = {seen.object_id for seen in road.objects(t_s, eyes, AHEAD, np.zeros(3))}
        near = [k for k, point in road.salient(t_s)[1:] if np.linalg.norm(point) < 25e3]
        glances, listed = glances + len(near), listed + len(ids.intersection(near))
    assert glances > 3
    assert listed > 0.9 * glances


def test_signs_are_objects() -> None:
    kinds = {s.kind for t in range(0, 60, 3) for s in drive(2, "motorway", "light").objects(t, CAMERA, AHEAD, MOUNT)}
    assert "road sign" in kinds


def test_a_distorted_camera_sees_the_same_objects_elsewhere() -> None:
    road = drive(2, traffic="dense")
    lens = Camera.from_parameters(CAMERA.size_px, CAMERA.matrix, [-0.2, 0.04])
    plain, bent = road.objects(9, CAMERA, AHEAD, MOUNT), road.objects(9, lens, AHEAD, MOUNT)
    shared = {s.object_id: s for s in plain}
    assert any(s.object_id in shared for s in bent)
    assert np.isfinite([[s.object_x0_px, s.object_y1_px] for s in bent]).all()


def test_the_vanishing_point_follows_the_camera() -> None:
    road = drive(1, "motorway", "light")
    level = road.vanishing_point(5, CAMERA, AHEAD)
    assert abs(level[1] - 359.5) < 1
    assert road.vanishing_point(5, CAMERA, rotation_x(5))[1] > level[1] + 50
    assert np.isnan(road.vanishing_point(5, CAMERA, np.diag([-1.0, 1, -1]))).all()


@pytest.mark.parametrize("road_type", ROAD_TYPES)
def test_denser_traffic_has_more_vehicles(road_type: RoadType) -> None:
    def vehicles(traffic: Traffic) -> float:
        models = [MODEL_NAMES.index(name) for name in VEHICLES]
        scenes = [drive(seed, road_type, traffic).scene(20) for seed in range(12)]
        return float(np.mean([np.isin(s.things["model"], models).sum() for s in scenes]))

    assert vehicles("light") < vehicles("moderate") < vehicles("dense")


@pytest.mark.parametrize(("hand", "side"), [("left", 1), ("right", -1)])
def test_one_drives_on_the_side_away_from_the_driver(hand: HandOfDrive, side: int) -> None:
    for seed in range(4):
        road = drive(seed, "rural", "dense", hand=hand)
        scene = road.scene(15)
        oncoming = scene.things["flow"] < 0
        assert road.side == side
        assert (side * (scene.u_m * road.side)[oncoming] < 0).all()
        near = oncoming & (np.abs(scene.base_m[:, 2]) < 25)
        assert (side * scene.base_m[near, 0] < 0).all()


def test_the_steering_follows_the_road() -> None:
    road = drive(6, "rural")
    t = np.arange(2, 40, 0.01)
    heading = np.array([road.pose(x)[2] for x in t])
    turned = np.gradient(heading, t) / road.ego.speed(t)
    assert np.abs(turned - road.curvature(t)).max() < 3e-4
    assert np.abs(road.curvature(t)).max() > 1e-3
    assert (np.abs(road.curvature(t)) * road.ego.speed(t) ** 2).max() < 2.5


def test_the_same_seed_makes_the_same_road() -> None:
    a, b, c = drive(5), drive(5), drive(6)
    assert a.things.tobytes() == b.things.tobytes()
    assert a.things.tobytes() != c.things.tobytes()
    assert [p[0] for p in a.salient(7)] == [p[0] for p in b.salient(7)]


def test_a_long_drive_needs_little_memory() -> None:
    times = np.arange(0, 1200.0)
    for road_type in ROAD_TYPES:
        road = Road(
            1,
            road_type=road_type,
            weather="clear",
            traffic="dense",
            time_of_day="day",
            speed=(times, np.full(1200, CRUISE[road_type])),
            hand_of_drive="left",
            duration_s=1200,
        )
        assert road.things.nbytes < 12e6


# --- pictures ---


@pytest.fixture(scope="module")
def renderer() -> RoadRenderer:
    try:
        return RoadRenderer()
    except DashgazeError as error:
        pytest.skip(str(error))


def grey(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    encoded: NDArray[np.uint8] = (np.clip(picture[..., 1], 0, 1) ** (1 / 2.2) * 255).astype(np.uint8)
    return encoded


@pytest.mark.parametrize(
    ("road_type", "time_of_day", "weather"), [("urban", "day", "rain"), ("motorway", "night", "clear")]
)
def test_pictures_are_finite_and_the_same_again(
    renderer: RoadRenderer, road_type: RoadType, time_of_day: TimeOfDay, weather: Weather
) -> None:
    road = drive(3, road_type, time_of_day=time_of_day, weather=weather)
    first = renderer.render(road, 8, CAMERA, AHEAD, MOUNT)
    assert first.shape == (720, 1280, 3)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    assert (first >= 0).all()
    renderer.render(road, 9, CAMERA, AHEAD, MOUNT)
    assert np.array_equal(first, renderer.render(road, 8, CAMERA, AHEAD, MOUNT))


def test_night_is_darker_than_dusk_and_dusk_than_day(renderer: RoadRenderer) -> None:
    times: tuple[TimeOfDay, ...] = ("night", "dusk", "day")
    roads = [drive(2, "rural", time_of_day=time) for time in times]
    levels = [float(renderer.render(road, 5, CAMERA, AHEAD, MOUNT).mean()) for road in roads]
    assert levels[0] < levels[1] < levels[2]


def test_the_sun_stands_where_it_is_said_to(renderer: RoadRenderer) -> None:
    road = drive(1, "motorway", "light")
    for azimuth in (-20.0, 20.0):
        sun = rays_from_angles(azimuth, 12.0)
        picture = renderer.render(road, 5, CAMERA, AHEAD, MOUNT, sun)
        row, column = np.unravel_index(picture.sum(axis=2).argmax(), picture.shape[:2])
        assert (column, row) == pytest.approx(CAMERA.project(sun), abs=35)  # its disc and halo


@pytest.mark.parametrize("road_type", ROAD_TYPES)
def test_features_of_successive_pictures_match(renderer: RoadRenderer, road_type: RoadType) -> None:
    road = drive(2, road_type)
    orb = cv2.ORB.create(2000)
    (points, words), (points2, words2) = (
        orb.detectAndCompute(grey(renderer.render(road, t, CAMERA, AHEAD, MOUNT)), None) for t in (10.0, 10.2)
    )
    pairs = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(words, words2)
    a = np.array([points[m.queryIdx].pt for m in pairs])
    b = np.array([points2[m.trainIdx].pt for m in pairs])
    _, inliers = cv2.findHomography(a, b, cv2.RANSAC, 4.0)
    assert inliers.sum() > 100


def test_the_picture_shows_things_where_the_boxes_are(renderer: RoadRenderer) -> None:
    """A picture without traffic differs from one with it inside the boxes, hardly outside of them and their shadows."""
    road = drive(7, "motorway", "moderate", weather="cloudy")
    picture = renderer.render(road, 12, CAMERA, AHEAD, MOUNT)
    sightings = road.objects(12, CAMERA, AHEAD, MOUNT)
    everything = road.things
    road.things = everything[~np.isin(everything["model"], [MODEL_NAMES.index(name) for name in VEHICLES])]
    road._scene = None
    changed = np.abs(renderer.render(road, 12, CAMERA, AHEAD, MOUNT) - picture).max(axis=2) > 0.04
    assert sightings
    for seen in sightings[:3]:
        x0, y0 = int(seen.object_x0_px) + 1, int(seen.object_y0_px) + 1
        assert changed[y0 : int(seen.object_y1_px), x0 : int(seen.object_x1_px)].mean() > 0.5


def test_a_renderer_shares_a_context(renderer: RoadRenderer) -> None:
    with RoadRenderer(renderer._context) as small:
        picture = small.render(drive(1), 4, CAMERA.scaled((320, 180)), AHEAD, MOUNT)
    whole = renderer.render(drive(1), 4, CAMERA, AHEAD, MOUNT)
    shrunk = cv2.resize(whole, (320, 180), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk - picture).mean() < 0.03
