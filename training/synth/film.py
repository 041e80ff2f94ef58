"""Plays one planned drive and films it: pictures of both cameras and the truth of every frame.

Here everything meets, once a frame: the moment (`behaviour`) poses the body, the eyes are aimed at the gaze target, the
light and the cabin are those of the moment, the renderer draws, the sensor develops, and `labels` writes down what is
true of it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

import dashgaze
from dashgaze import session as contract
from dashgaze.geometry import Camera, Floats, unit
from dashgaze.session import DriverToRoad, SessionHeader, SessionWriter, write_session
from dashgaze.tables import Status, write_atomically
from dashgaze.training.synth import labels
from dashgaze.training.synth.actors import Actor, Pose, dressed, rider
from dashgaze.training.synth.behaviour import STYLES, Behaviour, speed_profile
from dashgaze.training.synth.drives import DrivePlan, SetPlan
from dashgaze.training.synth.labels import Face, Row
from dashgaze.training.synth.light import Lighting, sky_of
from dashgaze.training.synth.person import person_of
from dashgaze.training.synth.records import Moment, Person
from dashgaze.training.synth.renderer import Renderer, Scene, View
from dashgaze.training.synth.rig import PlacedCamera, plan_rig, render_camera
from dashgaze.training.synth.road import Road
from dashgaze.training.synth.road.renderer import RoadRenderer
from dashgaze.training.synth.sensor import Exposure, develop_parts, plan_sensor
from dashgaze.training.synth.vehicle import Cabin, Seat, plan_car
from dashgaze.training.video import write_video
from dashgaze.zones import ROAD_ZONES, ZoneMap

CRF = {"phone": (19, 26), "dashcam": (23, 30)}
"""x264's quality, from and to: phones film better than dashcams."""
IMU_HZ = 50.0
GRAVITY_MPS2 = 9.80665


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """One filmed frame."""

    t_s: float
    driver: NDArray[np.uint8]
    road: NDArray[np.uint8]
    """(h, w, 3) BGR pictures of the two cameras."""
    parts: NDArray[np.uint8]
    """(h, w) of `Part`: what each pixel of the driver view shows."""
    frame: Row
    labels: Row
    objects: tuple[Row, ...]


@cache
def studio() -> tuple[Renderer, RoadRenderer]:
    """What draws, one for all drives of a process: compiling the shaders takes seconds.

    Raises DashgazeError if there is no OpenGL.
    """
    renderer = Renderer()
    renderer.context.gc_mode = "auto"
    return renderer, RoadRenderer(renderer.context)


@cache
def warm_studio() -> tuple[Renderer, RoadRenderer]:
    """The studio after a rehearsal: the very first frame of a context differs in a few pixels from what it draws later.

    Raises DashgazeError if there is no OpenGL.
    """
    rehearsal = SetPlan(sessions=1, seed=0, duration_s=1.0, light="infrared").drive(0)
    for _ in Film(rehearsal).play(*studio()):
        pass
    return studio()


class Film:
    """One drive; `shots()` plays it."""

    def __init__(self, plan: DrivePlan) -> None:
        self.plan = plan
        rng, car_rng, road_rng = (np.random.default_rng([plan.seed, part]) for part in range(3))
        self.person = dressed(person_of(plan.person_seed), plan.eyewear)
        self.rig = plan_rig(rng, plan.hand_of_drive, plan.mount)
        self.cabin = Cabin(plan_car(car_rng, plan.hand_of_drive, plan.passengers))
        speed = speed_profile(road_rng, plan.road_type, plan.traffic, plan.duration_s)
        self.road = Road(
            plan.seed,
            road_type=plan.road_type,
            weather=plan.weather,
            traffic=plan.traffic,
            time_of_day=plan.time_of_day,
            speed=speed,
            hand_of_drive=plan.hand_of_drive,
            duration_s=plan.duration_s,
        )
        self.behaviour = Behaviour(
            self.person,
            plan.hand_of_drive,
            plan.seed,
            speed,
            self.road.salient,
            plan.duration_s,
            STYLES[plan.style],
            light=plan.light,
            passenger=bool(plan.passengers),
            curvature=lambda t_s: float(self.road.curvature(t_s)),
        )
        self._lighting = Lighting(
            plan.seed,
            plan.light,
            plan.road_type,
            plan.hand_of_drive,
            self.cabin.windows,
            self.rig.driver.position_mm,
            plan.time_of_day,
            plan.weather,
        )
        self._sensor = plan_sensor(rng, self.rig.device, plan.light)
        self._road_sensor = plan_sensor(rng, self.rig.device, sky_of(plan.time_of_day, plan.weather))
        self.crf = int(rng.integers(*CRF[self.rig.device], endpoint=True))
        self._noise = np.random.default_rng([plan.seed, 3])
        self._zones = ZoneMap.for_vehicle(plan.hand_of_drive)
        self._pinhole = render_camera(self.rig.driver.camera)
        self._road_pinhole = render_camera(self.rig.road.camera)
        self._actor = Actor(self.person)

    # --- playing ---

    def times_s(self) -> Floats:
        """When frames are taken."""
        return np.arange(round(self.plan.duration_s * self.plan.rate_hz)) / self.plan.rate_hz

    def shots(self) -> Iterator[Shot]:
        """Film every frame of the drive, in order."""
        yield from self.play(*warm_studio())

    def play(self, renderer: Renderer, road_renderer: RoadRenderer) -> Iterator[Shot]:
        """Film every frame of the drive with these."""
        renderer.resize(self._pinhole.size_px)
        renderer.load("driver", self._actor.likeness(self.plan.light == "infrared"))
        riders = self._riders(renderer)
        exposures: tuple[Exposure | None, Exposure | None] = None, None
        for number, t_s in enumerate(self.times_s().tolist()):
            shot, exposures = self._shoot(number, t_s, renderer, road_renderer, riders, exposures)
            yield shot

    def _riders(self, renderer: Renderer) -> list[tuple[str, Actor, Seat]]:
        riders = []
        for number, (number_of_rider, seat) in enumerate(zip(self.plan.passengers, self.cabin.seats, strict=False)):
            actor = rider(number_of_rider)
            renderer.load(f"passenger {number}", actor.likeness(self.plan.light == "infrared"))
            riders.append((f"passenger {number}", actor, seat))
        return riders

    def _shoot(
        self,
        number: int,
        t_s: float,
        renderer: Renderer,
        road_renderer: RoadRenderer,
        riders: list[tuple[str, Actor, Seat]],
        exposures: tuple[Exposure | None, Exposure | None],
    ) -> tuple[Shot, tuple[Exposure, Exposure]]:
        plan, rig = self.plan, self.rig
        moment = self.behaviour.at(t_s)
        heading_deg, distance_m = self._course(t_s)
        light = self._lighting.at(t_s, heading_deg, distance_m)
        posed = self._actor.act(moment, self.cabin, plan.light, t_s)
        figures = [posed.figure("driver")]
        figures += [actor.sit(seat, t_s, plan.light).figure(key) for key, actor, seat in riders]
        meshes = (*self.cabin.static, *self.cabin.moving(moment, posed.body.clothes.vertices_mm))
        view = View(self._pinhole.matrix, rig.driver.rotation, rig.driver.position_mm)
        picture = renderer.render(Scene(view, light, tuple(figures), meshes))
        face_box = _face_box(posed.face, PlacedCamera(self._pinhole, rig.driver.rotation, rig.driver.position_mm))
        exposure = self._sensor.expose(picture.radiance, exposures[0], t_s, face_box)
        driver = self._sensor.develop(picture.radiance, self._pinhole, rig.driver.camera, exposure, self._noise)
        parts = develop_parts(picture.parts, self._pinhole, rig.driver.camera)
        sun = None if plan.time_of_day == "night" else light.sun_direction
        radiance = road_renderer.render(
            self.road, t_s, self._road_pinhole, rig.road.rotation, rig.road.position_mm, sun
        )
        road_exposure = self._road_sensor.expose(radiance, exposures[1], t_s)
        road = self._road_sensor.develop(radiance, self._road_pinhole, rig.road.camera, road_exposure, self._noise)
        objects = self._objects(number, t_s)
        frame, truth = self._truth(number, t_s, moment, posed, parts)
        if truth["target_object_id"] not in {row["object_id"] for row in objects}:
            truth["target_object_id"] = None  # beside the road view, hidden there or too small
        shot = Shot(t_s, driver, road, parts, frame, truth, objects)
        return shot, (exposure, road_exposure)

    def _course(self, t_s: float) -> tuple[float, float]:
        """How far the car has turned to the right since the start, in degrees, and how far it has come, in metres."""
        _, _, heading, distance_m = self.road.pose(t_s)
        return float(np.degrees(heading - self.road.pose(0.0)[2])), distance_m - self.road.pose(0.0)[3]

    # --- truth ---

    def _truth(self, number: int, t_s: float, moment: Moment, posed: Pose, parts: NDArray[np.uint8]) -> tuple[Row, Row]:
        face, view = posed.face, self.rig.driver
        gaze = labels.gaze_row(face, moment.gaze_target_mm, view)
        head = labels.head_row(face, view)
        lids = labels.lids_row(face, self._actor.normal_opening_mm, moment.jaw_open)
        ray = unit(moment.gaze_target_mm - face.eye_mid_mm)
        zone = self._zones.zone_of(face.eye_mid_mm, ray)
        location, object_id = self._location(t_s, face.eye_mid_mm, ray, zone in ROAD_ZONES)
        if lids["eyes_closed"]:
            location, object_id = {"location_status": Status.EYES_CLOSED}, None
        common: Row = {"t_s": t_s, "driver_frame": number}
        frame = {
            **common,
            "road_frame": number,
            **gaze,
            "angle_status": Status.EYES_CLOSED if lids["eyes_closed"] else Status.OK,
            **location,
            "hops": 0 if location["location_status"] == Status.OK else None,
            "zone": zone,
            **labels.boxes_row(face, view),
            "faces_visible": None,
            **head,
            **lids,
            **self._motion(t_s),
            "speed_mps": moment.speed_mps,
        }
        vanishing = self.road.vanishing_point(t_s, self.rig.road.camera, self.rig.road.rotation)
        truth = {
            **common,
            **labels.eyes_row(face, posed.eyes, view, parts),
            **{f"target_{axis}_mm": float(v) for axis, v in zip("xyz", moment.gaze_target_mm, strict=True)},
            "target_object_id": object_id,
            "saccade": moment.saccade,
            "state": moment.state,
            "vanishing_x_px": float(vanishing[0]),
            "vanishing_y_px": float(vanishing[1]),
            "face_visible_frac": labels.face_visible_share(face, view, parts),
            "identity": self.plan.driver_id,
            **labels.person_row(self.person, self.plan.light, moment.expression, moment.valence),
            "pose": labels.pose_bin(head),
        }
        return frame, truth

    def _location(self, t_s: float, eyes_mm: Floats, ray: Floats, outside: bool) -> tuple[Row, int | None]:
        """Where gaze that leaves the car meets the scene, on the road view; and the object it meets."""
        if not outside:
            return {"location_status": Status.OFF_VIEW}, None
        point_mm, object_id, _ = self.road.hit(t_s, eyes_mm, ray)
        x, y = self.rig.road.project(point_mm)
        width, height = self.rig.road.camera.size_px
        if not (-0.5 <= x < width - 0.5 and -0.5 <= y < height - 0.5):  # NaN too
            return {"location_status": Status.OFF_VIEW}, object_id
        location = {"location_status": Status.OK, "road_x_px": float(x), "road_y_px": float(y), "gaze_error_px": 0.0}
        return location, object_id

    def _objects(self, number: int, t_s: float) -> tuple[Row, ...]:
        road = self.rig.road
        sightings = self.road.objects(t_s, road.camera, road.rotation, road.position_mm)
        rows = ({name: getattr(seen, name) for name in seen.__slots__} for seen in sightings)
        return tuple({"t_s": t_s, "road_frame": number, "score": 1.0, **row} for row in rows)

    def _motion(self, t_s: float) -> Row:
        """What the device's inertial sensors would read, in the driver camera's axes, without noise."""
        step = 0.05
        before, after = max(t_s - step, 0.0), min(t_s + step, self.plan.duration_s)
        speed = [float(self.road.ego.speed(t)) for t in (before, after)]
        turn = [self._course(t)[0] for t in (before, after)]
        rate_dps = (turn[1] - turn[0]) / (after - before)
        forward = (speed[1] - speed[0]) / (after - before) / GRAVITY_MPS2
        sideways = float(np.radians(rate_dps)) * float(np.mean(speed)) / GRAVITY_MPS2
        rotation = self.rig.driver.rotation
        gyro = np.array([0.0, rate_dps, 0.0]) @ rotation  # y points down: turning right is positive
        accel = np.array([sideways, -1.0, forward]) @ rotation  # at rest an accelerometer reads 1 g upward
        axes = zip("xyz", gyro, accel, strict=True)
        return {key: v for a, g, f in axes for key, v in ((f"gyro_{a}_dps", float(g)), (f"accel_{a}_g", float(f)))}

    # --- the session ---

    def header(self) -> SessionHeader:
        """What goes into `session.json`."""
        plan, rotation_and_shift = self.plan, self.rig.driver_to_road
        libraries = {name: version(name) for name in ("moderngl", "numpy", "opencv-python-headless", "scipy", "av")}
        return SessionHeader(
            session_id=plan.session_id,
            created=datetime.now(UTC),
            driver_id=plan.driver_id,
            vehicle=f"synthetic {self.cabin.plan.seed}",
            hand_of_drive=plan.hand_of_drive,
            camera_position=f"{plan.mount}, {self.rig.device}",
            weather=plan.weather,
            time_of_day=plan.time_of_day,
            traffic=plan.traffic,
            road_type=plan.road_type,
            glasses=_glasses(self.person),
            age_band=_age_band(self.person.age_years),
            passengers=len(plan.passengers),
            cameras=contract.Cameras(driver=_described(self.rig.driver.camera), road=_described(self.rig.road.camera)),
            rig=contract.Rig(
                driver_to_road=DriverToRoad(R=_rows(rotation_and_shift[0]), t_mm=_triple(rotation_and_shift[1]))
            ),
            primary_stream="driver",
            versions=contract.Versions(dashgaze=dashgaze.__version__, python=python_version(), libraries=libraries),
        )

    def imu(self) -> dict[str, list[Any]]:
        """The table of inertial samples."""
        rows = [
            {"t_s": t, "stream": "driver", **self._motion(t)} for t in np.arange(0, self.plan.duration_s, 1 / IMU_HZ)
        ]
        return columns(rows)


# --- details of the session ---


def _face_box(face: Face, view: PlacedCamera) -> tuple[float, ...] | None:
    row = labels.boxes_row(face, view)
    return tuple(row[f"face_{end}_px"] for end in ("x0", "y0", "x1", "y1")) if "face_x0_px" in row else None


def _glasses(person: Person) -> contract.Glasses:
    kinds: dict[str, contract.Glasses] = {"none": "none", "sunglasses": "sunglasses"}
    return kinds.get(person.eyewear, "clear")


def _age_band(years: float) -> contract.AgeBand:
    if years < 25:
        return "under_25"
    if years < 45:
        return "25_to_44"
    return "45_to_64" if years < 65 else "65_and_over"


def _described(camera: Camera) -> contract.Camera:
    return contract.Camera(
        size_px=camera.size_px,
        K=_rows(camera.matrix),
        distortion=tuple(float(k) for k in camera.distortion),
        mirrored=False,
    )


def _rows(matrix: Floats) -> contract.Matrix:
    return _triple(matrix[0]), _triple(matrix[1]), _triple(matrix[2])


def _triple(vector: Floats) -> contract.Triple:
    x, y, z = (float(v) for v in vector)
    return x, y, z


def columns(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Rows as columns; what a row lacks is null."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def write_drive(plan: DrivePlan, path: Path, masks: bool, tick: Callable[[], None]) -> None:
    """Render a drive into the session `path`; `tick` is called after each frame.

    Raises InputError if `path` is taken, DashgazeError if the disk is full or OpenGL is missing.
    """
    film = Film(plan)
    with write_session(path) as session, ExitStack() as videos:
        writers = {
            name: videos.enter_context(
                write_video(session.folder / f"{name}.mp4", camera.size_px, 1 / plan.rate_hz, film.crf)
            )
            for name, camera in (("driver", film.rig.driver.camera), ("road", film.rig.road.camera))
        }
        frames: list[Row] = []
        truths: list[Row] = []
        objects: list[Row] = []
        for shot in film.shots():
            writers["driver"].write(shot.driver, shot.t_s)
            writers["road"].write(shot.road, shot.t_s)
            mask = {"mask": _write_mask(session.folder, shot)} if masks else {}
            frames.append(shot.frame)
            truths.append({**shot.labels, **mask})
            objects += shot.objects
            tick()
        videos.close()
        session.append("frames", columns(frames))
        session.append("labels", columns(truths))
        session.append("objects", columns(objects))
        _append_behaviour(session, film)
        session.describe(film.header())


def _write_mask(folder: Path, shot: Shot) -> str:
    """Write what each pixel of the driver view shows; returns the image's path in the session."""
    name = f"masks/{shot.frame['driver_frame']:06d}.png"
    (folder / "masks").mkdir(exist_ok=True)
    _, png = cv2.imencode(".png", shot.parts)
    write_atomically(folder / name, png.tobytes())
    return name


def _append_behaviour(session: SessionWriter, film: Film) -> None:
    behaviour = film.behaviour
    session.append(
        "fixations",
        {
            "t_s": [f.start_s for f in behaviour.fixations],
            "duration_s": [f.duration_s for f in behaviour.fixations],
            "fixation_id": [f.fixation_id for f in behaviour.fixations],
        },
    )
    session.append(
        "blinks",
        {
            "t_s": [b.start_s for b in behaviour.blinks],
            "duration_s": [b.duration_s for b in behaviour.blinks],
            "blink_id": [b.blink_id for b in behaviour.blinks],
        },
    )
    session.append(
        "events",
        {
            "t_s": [e.t_s for e in behaviour.events],
            "kind": [e.kind for e in behaviour.events],
            "source": [e.source for e in behaviour.events],
        },
    )
    session.append("imu", film.imu())
