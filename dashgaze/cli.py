"""The command line. Rooms are imported by the command that needs them, so that a missing extra harms nothing else."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import dashgaze
from dashgaze.errors import DashgazeError, InputError

try:
    import typer
except ImportError:  # the core was installed without any extra
    sys.exit("dashgaze: error: the command line needs an extra; pip install 'dashgaze[device]'")

app = typer.Typer(
    name="dashgaze",
    help="Knows where a driver looks, from one cheap dashcam or phone, without calibration, in the car.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

train = typer.Typer(no_args_is_help=True, help="Train networks on sessions, and judge them.")
app.add_typer(train, name="train")
export = typer.Typer(no_args_is_help=True, help="Make, check and sign bundles: what a device runs.")
app.add_typer(export, name="export")

_DEBUG = "--debug"


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"dashgaze {dashgaze.__version__}")
        raise typer.Exit


@app.callback()
def _shared(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say the version.")
    ] = False,
    debug: Annotated[bool, typer.Option(_DEBUG, help="Show the traceback of an error; anywhere on the line.")] = False,
) -> None: ...


@app.command(
    epilog="Examples:  dashgaze watch drive.mp4 --annotate   |   dashgaze watch 0 --headless   |   "
    "dashgaze watch driver.mp4 --road road.mp4 --annotate   |   dashgaze watch rtsp://dashcam/live --out today"
)
def watch(
    source: Annotated[
        str,
        typer.Argument(help="Video file, folder of pictures, camera number or device (0, /dev/video0), or URL."),
    ],
    road: Annotated[
        str | None, typer.Option(help="The rear camera, or its video: places the gaze on the road view.")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Models to run, folder or zip; the packaged ones if not set.")
    ] = None,
    allow_unsigned: Annotated[bool, typer.Option("--allow-unsigned", help="Take a bundle that nobody signed.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the drive; by default drives/NAME-TIME in the current folder."),
    ] = None,
    annotate: Annotated[
        bool,
        typer.Option("--annotate", help="Also write a video for people to watch, beside the drive. It shows the face."),
    ] = False,
    blur_face: Annotated[bool, typer.Option("--blur-face", help="Make the face unrecognisable in that video.")] = False,
    headless: Annotated[bool, typer.Option("--headless", help="No live view: one line for each alert.")] = False,
    gaze: Annotated[
        Literal["auto", "network", "geometric", "fused"] | None,
        typer.Option(help="Gaze estimator; auto, which is the default, takes the bundle's network where it has one."),
    ] = None,
    no_adapt: Annotated[bool, typer.Option("--no-adapt", help="Learn nothing about this camera and driver.")] = False,
    mirror: Annotated[bool, typer.Option("--mirror", help="The video is mirrored, as selfie videos are.")] = False,
    hand_of_drive: Annotated[
        Literal["left", "right"] | None,
        typer.Option(help="Side of the car the driver sits on; left if not set."),
    ] = None,
    start_utc: Annotated[str | None, typer.Option(help="When a file's first frame was taken, ISO 8601.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file; docs/configuration.md names every key.")] = None,
) -> None:
    """Watch a driver: face, head pose, eyes, gaze, attention; alerts as they come, and a drive as record."""
    from dashgaze.device.config import read_config
    from dashgaze.device.outputs.terminal import open_view, print_outcome
    from dashgaze.device.watch import watch as run

    overrides: dict[str, dict[str, Any]] = {}
    if mirror:
        overrides.setdefault("source", {})["mirror"] = True
    if start_utc:
        overrides.setdefault("source", {})["start_utc"] = start_utc
    if gaze:
        overrides["gaze"] = {"method": gaze}
    if no_adapt:
        overrides["adaptation"] = {"method": "none"}
    if hand_of_drive:
        overrides["vehicle"] = {"hand_of_drive": hand_of_drive}
    if blur_face:
        overrides["annotate"] = {"blur_face": True}
    settings = read_config(config, overrides)
    models = _bundle(bundle, settings.bundle_keys, allow_unsigned)
    place = out or Path("drives") / f"{_stem(source)}-{datetime.now():%Y%m%d-%H%M%S}"
    with open_view(headless) as view:
        outcome = run(source, settings, models, place, view, road, annotate)
    print_outcome(outcome)
    if not outcome.finished:
        raise typer.Exit(1)


@app.command(
    epilog="Examples:  dashgaze synth drives --sessions 20 --seed 1   |   "
    "dashgaze synth night --sessions 4 --light infrared --duration 60 --rate 10 --masks   |   "
    "dashgaze synth faces --stills faces --sessions 25 --people 20 --each 4"
)
def synth(
    context: typer.Context,
    out: Annotated[Path, typer.Argument(help="Folder of the set; one that is there already is completed.")],
    sessions: Annotated[
        int, typer.Option(help="Sessions in the set: drives, or with --stills parts of so many people.")
    ] = 8,
    seed: Annotated[int, typer.Option(help="The same seed gives the same drives, another seed other people.")] = 0,
    duration: Annotated[float, typer.Option(help="Length of a drive in seconds.")] = 30.0,
    rate: Annotated[float, typer.Option(help="Labelled frames a second.")] = 1.0,
    style: Annotated[
        Literal["attentive", "ordinary", "drowsy", "distraction_demo"], typer.Option(help="How the drivers behave.")
    ] = "ordinary",
    light: Annotated[
        Literal["day", "overcast", "dusk", "night", "infrared"] | None,
        typer.Option(help="All drives in this light; a mixture if not set."),
    ] = None,
    recurring: Annotated[
        bool, typer.Option("--recurring", help="A quarter of the drives show a driver again, in other conditions.")
    ] = False,
    masks: Annotated[
        bool, typer.Option("--masks", help="Also write what each pixel of the driver view shows.")
    ] = False,
    stills: Annotated[
        Literal["faces", "pairs", "triplets"] | None,
        typer.Option(
            help="Aligned faces instead of drives: faces with attributes, pairs that differ in one feature, or "
            "triplets of probe, mate and inpainted non-mate."
        ),
    ] = None,
    people: Annotated[int, typer.Option(help="With --stills: people in a session.")] = 20,
    each: Annotated[int, typer.Option(help="With --stills: faces, pairs or triplets of each person.")] = 4,
    workers: Annotated[
        int | None, typer.Option(help="Processes, about 1 GB each; one for each core if not set.")
    ] = None,
) -> None:
    """Render drives of synthetic drivers with exact ground truth, as sessions; goes on where it was stopped."""
    from dashgaze.training.progress import frame_bar
    from dashgaze.training.synth.drives import SetPlan
    from dashgaze.training.synth.farm import Plan, render_set
    from dashgaze.training.synth.stills import StillsPlan

    plan: Plan
    if stills is None:
        _refuse(context, ("people", "each"), "goes with --stills")
        plan = SetPlan(sessions, seed, duration, rate, style, recurring, light, masks)
    else:
        _refuse(context, ("duration", "rate", "style", "recurring", "light", "masks"), "does not go with --stills")
        plan = StillsPlan(sessions, seed, stills, people, each)
    with _resumable(), frame_bar("sessions") as bar:
        outcome = render_set(plan, out, len(os.sched_getaffinity(0)) if workers is None else workers, bar)
    print(f"{out}: {sessions} sessions, {outcome.sessions} new; {outcome.text()}")


@train.command(
    "gaze",
    epilog="Examples:  dashgaze train gaze edge --out runs/edge   |   "
    "dashgaze train gaze my.toml --train drives --validation more-drives --out runs/mine",
)
def train_gaze(
    config: Annotated[str, typer.Argument(help="TOML file, or the name of a recipe (training/gaze/recipes).")],
    out: Annotated[Path, typer.Option(help="Folder of the run; one that is there already is gone on with.")],
    train_sets: Annotated[
        list[Path] | None, typer.Option("--train", help="Sets of sessions to train on, instead of the configuration's.")
    ] = None,
    validation: Annotated[
        list[Path] | None, typer.Option(help="Sets to stop early by, instead of the configuration's.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the configuration's.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that take the crops from the videos, before training.")] = 2,
) -> None:
    """Train a gaze network on sessions; goes on where it was stopped, to the same weights."""
    from dashgaze.training.gaze.config import read_gaze_config
    from dashgaze.training.gaze.train import train as run

    data = {"train": train_sets, "validation": validation}
    overrides: dict[str, dict[str, Any]] = {"data": {name: sets for name, sets in data.items() if sets}}
    if seed is not None:
        overrides["training"] = {"seed": seed}
    with _resumable():
        metrics = run(read_gaze_config(config, overrides), out, workers)
    errors = ", ".join(f"{name} {found.mean:.2f}" for name, found in metrics.errors.items() if found.mean is not None)
    print(f"{out}: weights of epoch {metrics.epoch}, mean errors on the validation set: {errors}")


@train.command(
    epilog="Examples:  dashgaze train evaluate runs/edge sets/standard/test --out report   |   "
    "dashgaze train evaluate runs/edge sessions/monday sessions/tuesday"
)
def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    sessions: Annotated[list[Path], typer.Argument(help="Sets or single sessions that it was not trained on.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the report; RUN/evaluation if not set.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that take the crops from the videos.")] = 2,
) -> None:
    """Judge a gaze network on sessions with ground truth: errors with intervals, subsets, baselines, pictures."""
    from dashgaze.training.gaze.report import evaluate_run

    evaluate_run(run, sessions, out, workers)


@export.command(
    "bundle",
    epilog="Examples:  dashgaze export bundle runs/edge --out bundle   |   "
    "dashgaze export bundle runs/edge --out small --quantise int8 --key maker.pem",
)
def export_bundle(
    run: Annotated[Path, typer.Argument(help="Folder of a gaze run.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle; an older bundle there is replaced.")],
    base: Annotated[
        Path | None, typer.Option(help="Bundle that the other parts are taken from; the packaged one if not set.")
    ] = None,
    quantise: Annotated[Literal["int8"] | None, typer.Option(help="Store weights in eight bits.")] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="With --quantise: sets to calibrate on; the run's validation sets if not set."),
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Private key to sign with (export keygen).")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the bundle; that of the run if not set.")] = None,
    version: Annotated[str | None, typer.Option(help="Its version; the run's fingerprint if not set.")] = None,
    created: Annotated[datetime | None, typer.Option(help="Its date, UTC; the base's if not set.")] = None,
    card: Annotated[
        Path | None, typer.Option(help="Also write a model card (Markdown) here; needs an evaluation of the run.")
    ] = None,
) -> None:
    """Put a run's network into a bundle: ONNX, compared with the network before it is written."""
    from dashgaze.export.bundles import export_bundle as write
    from dashgaze.export.model_card import write_card

    if data and quantise is None:
        raise InputError("--data", "goes with --quantise", "leave it out")
    date = created.replace(tzinfo=UTC) if created else None
    made = write(
        run,
        out,
        _bundle(base, (), allow_unsigned=True),
        quantise,
        name=name,
        version=version,
        created=date,
        calibration=data or (),
        key=key,
    )
    if card is not None:
        write_card(run, card)
    difference = f"{out}: differs from the network by {made.parity:.1e}"
    print("; ".join([difference, *([made.comparison.text()] if made.comparison else [])]))


@export.command(epilog="Examples:  dashgaze export verify bundle --public-key maker.pem.pub --data pictures")
def verify(
    bundle: Annotated[Path, typer.Argument(help="Bundle, folder or zip.")],
    public_key: Annotated[list[Path] | None, typer.Option(help="Key that it should be signed with.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of pictures of faces to run it on.")] = None,
) -> None:
    """Check a bundle anywhere: hashes, signature, every network against its description, on numbers and pictures."""
    from dashgaze.bundle import read_public_key
    from dashgaze.device.doctor import worst
    from dashgaze.device.outputs.terminal import print_checks
    from dashgaze.export.verify import verify_bundle

    checks = verify_bundle(bundle, [read_public_key(key) for key in public_key or ()], data)
    print_checks(checks)
    raise typer.Exit(worst(checks))


@export.command()
def sign(
    bundle: Annotated[Path, typer.Argument(help="Bundle, a folder.")],
    key: Annotated[Path, typer.Option(help="Private key (export keygen).")],
) -> None:
    """Sign a bundle, so that devices that trust the key take it."""
    from dashgaze.export.signing import sign as write

    write(bundle, key)
    print(f"{bundle}: signed; devices take it that name the public key in bundle_keys")


@export.command()
def keygen(
    out: Annotated[Path, typer.Argument(help="File of the private key; the public one gets .pub behind its name.")],
) -> None:
    """Make a pair of keys: keep the private one, give the public one to devices (`bundle_keys`)."""
    from dashgaze.export.signing import keygen as write

    print(write(out))


@train.command(epilog="Examples:  dashgaze train split recordings --out sets")
def split(
    sessions: Annotated[list[Path], typer.Argument(help="Sets or single sessions.")],
    out: Annotated[Path, typer.Option(help="Folder that gets train, validation and test, with links to the sessions.")],
    seed: Annotated[int, typer.Option(help="Another seed gives another split.")] = 0,
) -> None:
    """Split sessions by driver into training, validation and test, alike in light, glasses and camera position."""
    from dashgaze.training.gaze.splits import link_splits

    for name, count in link_splits(sessions, out, seed).items():
        print(f"{out / name}: {count} sessions")


@app.command()
def doctor(
    out: Annotated[Path, typer.Option(help="Where drives will be written.")] = Path(),
) -> None:
    """Check camera, models, CPU, clock and disk of this device, and say what mends what is wrong."""
    from dashgaze.device.doctor import diagnose, worst
    from dashgaze.device.outputs.terminal import print_checks

    checks = diagnose(out)
    print_checks(checks)
    raise typer.Exit(worst(checks))


@contextmanager
def _resumable() -> Iterator[None]:
    """Ctrl-C ends work that the same command takes up again."""
    try:
        yield
    except KeyboardInterrupt:
        print("dashgaze: stopped; the same command goes on from here", file=sys.stderr)
        raise typer.Exit(130) from None


def _bundle(path: Path | None, keys: tuple[Path, ...], allow_unsigned: bool) -> Any:
    from dashgaze.bundle import load_bundle, packaged_bundle, read_public_key

    if path is None:
        return packaged_bundle()
    return load_bundle(path, trusted_keys=[read_public_key(key) for key in keys], allow_unsigned=allow_unsigned)


def _refuse(context: typer.Context, options: tuple[str, ...], why: str) -> None:
    """Raise InputError for the first of these options that was given: it would be without effect."""
    for option in options:
        source = context.get_parameter_source(option)
        if source is not None and source.name == "COMMANDLINE":
            raise InputError(f"--{option}", why, "leave it out")


def _extra() -> str:
    """The extra that the command on the command line needs."""
    if sys.argv[1:3] == ["export", "bundle"]:
        return "export"
    return "training" if sys.argv[1:2] in (["synth"], ["train"]) else "device"


def _stem(source: str) -> str:
    """A source's name as part of a folder's: letters, digits and dashes."""
    last = source.rstrip("/").rsplit("/", 1)[-1].split("?")[0]
    kept = "".join(c if c.isalnum() else "-" for c in Path(last).stem).strip("-")
    return f"camera{kept}" if kept.isdigit() else kept or "drive"


def main() -> None:
    """Entry point: errors are one line on stderr, and the exit code says whose they are."""
    debug = _DEBUG in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != _DEBUG]
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # the driver's button may come before the loop is up
    try:
        app(arguments)
    except DashgazeError as error:
        if debug:
            raise
        print(f"dashgaze: error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        if debug or (error.name or "").startswith("dashgaze"):
            raise
        print(f"dashgaze: error: {error.name} is missing; pip install 'dashgaze[{_extra()}]'", file=sys.stderr)
        sys.exit(InputError.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
