"""Configuration of a training run: recipes, inheritance, and what a wrong file is told."""

import pytest
import torch

from dashgaze.errors import InputError
from dashgaze.training.gaze.config import RECIPES, GazeConfig, read_gaze_config
from dashgaze.training.gaze.describe import describe, example_inputs
from dashgaze.training.gaze.model import DashGazeNet, SessionHeads
from dashgaze.training.gaze.runs import differences, to_toml

ALL = sorted(path.stem for path in RECIPES.glob("*.toml"))
SHORT = [name for name in ALL if 'base = "edge-short"' in (RECIPES / f"{name}.toml").read_text()]
ABLATIONS = [name for name in SHORT if name != "idgaze"]  # which is another network
TOGETHER = {"mixture": {"model.location", "model.mixture"}, "consistency": {"loss.consistency", "data.unlabelled"}}
"""Keys that make one thing only together."""


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", [name for name in ALL if name != "thesis"])
def test_a_recipe_is_read_and_builds_under_its_own_name(name):
    config = read_gaze_config(name)
    assert config.name == name
    with torch.inference_mode():
        outputs = DashGazeNet(config.model).eval()(example_inputs(config.model, 2))
    assert (outputs.ray_deg is not None) == config.model.ray
    if config.model.session_task != "none":
        assert SessionHeads(config.model, 3)(outputs.features).shape == (2, 3)


@pytest.mark.parametrize("name", ALL)
def test_a_recipe_written_into_a_run_reads_back_the_same(name, tmp_path):
    config = read_gaze_config(name)
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config))
    assert read_gaze_config(path) == config


def test_the_thesis_recipe_is_the_chapter():
    model = read_gaze_config("thesis").model
    assert (model.backbone, model.driver_px, model.face_px, model.channels) == ("resnet50", (224, 224), (224, 224), 3)
    assert (model.features, model.session_task, model.session_features) == (500, "translation", "eyes_landmarks")
    assert (model.angle_fusion, model.location_fusion, model.ray) == ("weighted", "concatenate", False)


def test_edge_says_the_defaults():
    assert read_gaze_config("edge") == GazeConfig()


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_changes_one_thing(name):
    changed = set(differences(read_gaze_config("edge-short"), read_gaze_config(name))) - {"name"}
    if name == "no-augmentation":
        assert {key.partition(".")[0] for key in changed} == {"augmentation"}
    else:
        assert len(changed) == 1 or changed == TOGETHER[name]


def test_there_are_ablations():
    assert {*TOGETHER, "no-mesh", "no-augmentation"} <= set(ABLATIONS)


def test_rows_of_the_table_differ_in_fusion_and_session_task_only():
    rows = [read_gaze_config(f"table-12-1-{row}") for row in range(1, 6)]
    free = {"name", "model.angle_fusion", "model.location_fusion", "model.session_task", "model.session_features"}
    for row in rows:
        assert set(differences(rows[4], row)) <= free
        assert row.training.patience_epochs >= row.training.epochs
    assert [row.model.session_task for row in rows] == ["none", "identity", "identity", "identity", "translation"]


def test_no_two_recipes_are_the_same():
    configs = [read_gaze_config(name).model_copy(update={"name": "x"}) for name in ALL]
    assert all(one != other for number, one in enumerate(configs) for other in configs[:number])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[model]\nwidht = 1", "model.widht: unknown key"),
        ("[model]\nwidth = 0", "model.width"),
        ("[model]\nray = false", "model: location = residual needs the ray"),
        ("[model]\nmixture = 2", "model: mixture needs location = direct"),
        ("[model]\nray = false\nface_angles = false\nlocation = 'none'", "model: needs a head"),
        ("[model]\ndriver_px = [96, 0]", "model.driver_px.1"),
        ("[model]\nbranches = ['face', 'face']", "model: a branch is named twice"),
        ("[loss]\nkind = 'squared'", "squared does not train model.uncertainty"),
        ("[training]\nseed = nan", "training.seed"),
        ("[loss]\nray = inf", "loss.ray"),
        ("name = 'No Name'", "name"),
        ("[model", "is not TOML"),
        ("base = 'nothing'", "neither a TOML file nor a recipe"),
    ],
)
def test_a_wrong_file_is_told_where(text, said, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_gaze_config(path)


def test_a_file_is_not_its_own_base(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(f"base = {str(path)!r}")
    with pytest.raises(InputError, match="its own base"):
        read_gaze_config(path)


def test_a_file_that_is_no_recipe_is_told_the_recipes(tmp_path):
    with pytest.raises(InputError, match="edge, edge-short"):
        read_gaze_config("egde")


def test_overrides_lie_over_a_recipe():
    plain, config = read_gaze_config("no-mesh"), read_gaze_config("no-mesh", {"training": {"epochs": 3}})
    assert differences(plain, config) == ["training.epochs"]
    assert config.training.epochs == 3


def test_strings_that_toml_could_misread_come_back(tmp_path):
    config = GazeConfig.model_validate({"data": {"train": ['a "quoted" \\ set', "ünïcode\t"]}})
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    assert read_gaze_config(path) == config


def test_a_description_counts_each_parameter_once():
    told = describe(read_gaze_config("edge").model)
    assert told["parameters"] == sum(told["parameters_by_part"].values())
    assert 50e6 < told["flops"] < 120e6
    assert describe(read_gaze_config("landmarks-only").model)["flops"] < 1e6
