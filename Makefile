# make demo      a shipped detector watches footage of a line: alarms, evidence images, a contact sheet
#                on a machine with a GPU it builds the detector's plan first and runs on that
# make test      the tests, without the slow ones
# make test-all  the tests, then the slow ones
# make test-runtime  the tests of what a device installs, without torch and onnx
# make test-bare demo and those tests on a Debian with nothing but Python, make and git (needs root)
# make test-wheel  the wheel in empty environments of each Python from 3.10 to 3.13 that is here
# make test-arm  the same on an emulated aarch64, with fewer tests (needs root, qemu-user and time)
# make lint      ruff, mypy, import-linter
# make docs      the documentation as a site in site/
# make sample    make the shipped footage and detector again (needs TEACHER, ResNet-18 weights)
# make clean     remove what the targets above made

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
RTX ?= 1.7.1.116
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Tests of the rooms that a device runs, without those of verbs that import torch or onnx.
RUNTIME_TESTS := $(wildcard tests/test_*.py) $(addprefix tests/, calibration/thresholds cli control \
	dataset describe engine images line machine opcua outlet page parts sample source store synthesis \
	synthetic_line)
ARM_TESTS := tests/test_detector.py tests/test_preprocess.py tests/test_scoring.py \
	tests/source/test_pixels.py \
	tests/test_frame_gate.py tests/test_inspection.py tests/images/test_images.py \
	tests/engine/test_onnxruntime.py tests/line/test_loop.py tests/machine
WORKSTATION := torch|onnx |(tests|edge_ad)\.(export|methods|training|calibration\.(quantize|ranges|int8))
WORKSTATION_TESTS = $(shell grep -lE '^(import|from) ($(WORKSTATION))' tests/cli/*.py)

# Every start of Python would compile the package again, and pytest all tests.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-slow test-all test-runtime test-bare test-wheel test-arm arm-checks lint docs sample clean

demo: $(VENV)/runtime
	@engine=$$($(BIN)/python -m edge_ad.sample.demo $(VENV)/sample.plan) && set -x && \
	$(BIN)/edge-ad run --camera edge_ad/sample/footage.mp4 --engine "$$engine" \
		--expected-anomalous 0.45 --frames-per-part 28 --output demo --overwrite
	@echo
	@echo "Look at demo/contact-sheet.jpg; the events: $(BIN)/edge-ad events demo"

test: $(VENV)/everything
	$(BIN)/python -m pytest -m "not slow and not full" $(PYTEST)

test-slow: $(VENV)/everything
	$(BIN)/python -m pytest -m "slow and not full" $(PYTEST)

test-all: test test-slow

test-runtime: $(VENV)/runtime-tests
	$(BIN)/python -m pytest -q -m "not slow and not full" $(PYTEST) \
		$(addprefix --ignore=, $(WORKSTATION_TESTS)) $(RUNTIME_TESTS)

test-bare:
	BARE_OR_SKIP=$(BARE_OR_SKIP) .ci/bare

test-wheel:
	.ci/wheel

test-arm:
	BARE_OR_SKIP=$(BARE_OR_SKIP) BARE_ARCH=arm64 .ci/bare

# What is checked on the emulated machine: aarch64 wheels, engines, images, store, the loop, and the
# first frames of the demo.
arm-checks: $(VENV)/runtime-tests
	$(BIN)/python -m pytest -q -m "not slow and not full" -o timeout=1800 --junitxml=arm-tests.xml \
		$(PYTEST) $(ARM_TESTS)
	$(BIN)/edge-ad run --camera edge_ad/sample/footage.mp4 --engine edge_ad/sample/engine.onnx \
		--frames 12 --log-inspections all --output arm-demo --overwrite
	$(BIN)/python .ci/arm_summary.py arm-tests.xml arm-demo arm-checks.json

lint: $(VENV)/everything
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "Open site/index.html; '$(BIN)/python -m mkdocs serve' follows changes."

sample: $(VENV)/everything
	$(BIN)/python -m edge_ad.sample.make --teacher $(TEACHER)

$(VENV)/runtime: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[onnxruntime,video]'
	@touch $@

$(VENV)/runtime-tests: $(VENV)/runtime
	$(PIP) --editable '.[test]'
	@touch $@

# torch is pinned and comes first: what follows then finds it satisfied. scikit-learn is what tests
# compare metrics with. TensorRT-RTX builds plans
# without a GPU; it has wheels for x86-64 Linux only, and elsewhere the tests that need it skip.
$(VENV)/everything: $(VENV)/runtime
	$(PIP) $(TORCH)
	$(PIP) --editable '.[all,gpio,modbus,mqtt,opcua,test,lint]' 'scikit-learn>=1.3'
	if [ "$$(uname -sm)" = "Linux x86_64" ]; then \
		$(PIP) tensorrt-rtx-cu13-libs==$(RTX) tensorrt-rtx-cu13-bindings==$(RTX) && \
		$(PIP) --no-deps tensorrt-rtx-cu13==$(RTX); \
	fi
	@touch $@

$(VENV)/docs: $(VENV)/runtime
	$(PIP) --editable '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) demo build dist site *.egg-info
