# make demo      a shipped detector watches footage of a line: alarms, evidence images, a contact sheet
# make test      the tests, without the slow ones
# make test-all  the tests, then the slow ones
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

.PHONY: demo test test-slow test-all lint docs sample clean

demo: $(VENV)/runtime
	$(BIN)/edge-ad run --camera edge_ad/sample/footage.mp4 --engine edge_ad/sample/engine.onnx \
		--output demo --overwrite
	@echo
	@echo "Look at demo/contact-sheet.jpg; the event log is demo/events.jsonl."

test: $(VENV)/everything
	$(BIN)/python -m pytest -m "not slow and not full" $(PYTEST)

test-slow: $(VENV)/everything
	$(BIN)/python -m pytest -m "slow and not full" $(PYTEST)

test-all: test test-slow

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
	$(PIP) --editable '.[onnxruntime]'
	@touch $@

# torch is pinned and comes first: what follows then finds it satisfied. TensorRT-RTX builds plans
# without a GPU; it has wheels for x86-64 Linux only, and elsewhere the tests that need it skip.
$(VENV)/everything: $(VENV)/runtime
	$(PIP) $(TORCH)
	$(PIP) --editable '.[all,test,lint]'
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
