"""What tests share: the packaged models, a real clip, real recordings where they are."""

from pathlib import Path

import pytest

from dashgaze.bundle import Bundle, packaged_bundle
from dashgaze.errors import DashgazeError
from dashgaze.session import Session, read_session

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return packaged_bundle()


@pytest.fixture(scope="session")
def carphone() -> Path:
    """A man talking in a moving car, 120 frames of 176 x 144."""
    clip = ROOT / ".demo" / "carphone.mp4"
    if not clip.exists():
        pytest.skip("the clip is not there: run examples/fetch_clip.py .demo/carphone.mp4 (make test does)")
    return clip


@pytest.fixture(scope="session")
def data() -> Path:
    """Real recordings beside the project."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the real recordings in ../shared/data")
    return folder


@pytest.fixture(scope="session")
def opengl() -> None:
    """OpenGL without a screen; what renders is skipped where it is missing."""
    from dashgaze.training.synth.graphics import create_context

    try:
        create_context().release()
    except DashgazeError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def rendered(opengl: None, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A rendered drive by day, three seconds with a frame each, with masks."""
    from dashgaze.training.synth.drives import SetPlan

    path = tmp_path_factory.mktemp("rendered") / "00000"
    SetPlan(sessions=1, seed=2, duration_s=3.0, light="day", masks=True).write(0, path, lambda: None)
    return read_session(path)
