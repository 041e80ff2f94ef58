"""What tests share: the packaged models, a real clip, real recordings where they are."""

from pathlib import Path

import pytest

from dashgaze.bundle import Bundle, packaged_bundle

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
