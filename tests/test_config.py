"""Configuration: every key is checked and named."""

import pytest

from dashgaze.device.config import WatchConfig, read_config
from dashgaze.errors import InputError


def write(tmp_path, text):
    path = tmp_path / "car.toml"
    path.write_text(text)
    return path


def test_no_file_is_the_default():
    assert read_config(None) == WatchConfig()


def test_a_file_changes_what_it_names_and_the_command_line_goes_first(tmp_path):
    path = write(tmp_path, "[vehicle]\nhand_of_drive = 'right'\nspeed_mps = 10\n[gaze]\nbeta_hz = 1.5\n")
    config = read_config(path, {"vehicle": {"hand_of_drive": "left"}})
    assert config.vehicle.hand_of_drive == "left"
    assert config.vehicle.speed_mps == 10
    assert config.gaze.beta_hz == 1.5


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (
            "[vehicle]\nhand_of_driv = 'left'\n",
            r"car\.toml, vehicle\.hand_of_driv: unknown key; known keys: .*hand_of_drive",
        ),
        ("[steering]\n", r"steering: unknown key"),
        ("[camera]\nfov_deg = 500\n", r"camera\.fov_deg: .*less than 170"),
        ("[camera]\nfov_deg = 'wide'\n", r"camera\.fov_deg"),
        ("[faces]\nredetect_s = nan\n", r"faces\.redetect_s"),
        ("[attention.long]\nwarning_s = 'x'\n", r"attention\.long\.warning_s"),
        ("[attention.long]\nwarnings = 1\n", r"attention\.long\.warnings: unknown key"),
        ("camera = 3\n", r"camera"),
        ("[camera\n", r"is not TOML"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path, text, named):
    with pytest.raises(InputError, match=named) as caught:
        read_config(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_files_that_are_no_configuration(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_config(tmp_path / "none.toml")
    (tmp_path / "bin.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        read_config(tmp_path / "bin.toml")
    (tmp_path / "big.toml").write_bytes(b"#" * 1_000_001)
    with pytest.raises(InputError, match="too large"):
        read_config(tmp_path / "big.toml")


def test_an_impossible_camera_matrix_is_named(tmp_path):
    config = read_config(write(tmp_path, "[camera]\nmatrix = [[0, 0, 0], [0, 1, 0], [0, 0, 1]]\n"))
    with pytest.raises(InputError, match=r"matrix"):
        config.camera.camera((640, 480))


def test_a_matrix_follows_the_pictures_size(tmp_path):
    text = "[camera]\nsize_px = [1280, 720]\nmatrix = [[900, 0, 640], [0, 900, 360], [0, 0, 1]]\n"
    config = read_config(write(tmp_path, text))
    assert config.camera.camera((640, 360)).matrix[0, 0] == 450


def test_mount_angles_turn_the_camera_as_their_descriptions_say():
    """Yaw to the driver's left, pitch up, roll clockwise from behind: in the car frame, x right, y down, z forward."""
    looks = WatchConfig().camera.model_copy(update={"yaw_deg": 20.0}).car_from_camera() @ [0, 0, 1]
    assert looks[0] < -0.3, "to the left"
    looks = WatchConfig().camera.model_copy(update={"pitch_deg": 20.0}).car_from_camera() @ [0, 0, 1]
    assert looks[1] < -0.3, "up"
    right_edge = WatchConfig().camera.model_copy(update={"roll_deg": 20.0}).car_from_camera() @ [1, 0, 0]
    assert right_edge[1] > 0.3, "the right edge, seen from behind the camera, goes down"


def test_the_principal_point_of_a_mirrored_video_is_turned_back_with_it():
    matrix = ((900.0, 0.0, 600.0), (0.0, 900.0, 360.0), (0.0, 0.0, 1.0))
    settings = WatchConfig().camera.model_copy(update={"matrix": matrix})
    assert settings.camera((1280, 720), mirrored=True).matrix[0, 2] == 1279 - 600
