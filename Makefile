# Two commands: `make run` computes the default study, `make test` checks the project.
PYTHON ?= python3
CORES  ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
BIN    := .venv/bin
READY  := .venv/.ready
PIP    := $(BIN)/pip install --quiet --disable-pip-version-check
# The first one holds what a study needs; tests and docs have their own.
LOCKS  := requirements.lock tests/requirements.lock docs/requirements.lock
# Workers share the cores, one thread each. One more than cores: tests of the workflow often wait.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n $(shell expr $(CORES) + 1) --maxprocesses 8 --dist worksteal \
  --durations=20
# Coverage takes 29 % more of the processor's time before Python 3.12: only test-all pays it.
COVERAGE := --cov --cov-report=term:skip-covered

# Byte code is written, whatever the shell says: a study starts many processes. pip would write that
# of 18,900 modules; loading what a study loads writes that of 5,300.
export PYTHONDONTWRITEBYTECODE :=
LOADED := snakemake.cli, snakemake.report.html_reporter, torch._dynamo, peft, captum.attr, faiss, \
  transformers.models.auto.modeling_auto, transformers.models.auto.tokenization_auto, \
  transformers.models.bert.modeling_bert, transformers.models.llama.modeling_llama, \
  matplotlib.pyplot, matplotlib.backends.backend_pdf, seaborn, polars, pyarrow.parquet, pydantic, \
  rich.progress, scipy.stats, sklearn.linear_model, bm25s, altair, jinja2

.PHONY: run env test test-all quick whole lint style types docs bench clean lock slurm-lab slurm-check slurm-cancel
.DEFAULT_GOAL := run

# A stamp, not the folder: a set-up that was cut off starts over. Several pips unpack at once; one more installs what
# a platform needs beside the locked packages, such as CUDA's.
$(READY): $(LOCKS) pyproject.toml
	$(PYTHON) -m venv --clear .venv
	grep -hv '^#' $(LOCKS) | xargs -P $(CORES) -n 30 $(PIP) --no-compile --no-deps
	$(PIP) --no-compile $(LOCKS:%=-r %)
	$(PIP) --no-deps --no-build-isolation -e .
	$(BIN)/python -c "import $(LOADED)"
	touch $@

env: $(READY)

STUDY := results/studies/$$($(BIN)/python -c \
  "import yaml; print(yaml.safe_load(open('config.yaml'))['study']['name'])")

# The study with its page, and Snakemake's own report of it.
run: $(READY)
	$(BIN)/snakemake --cores $(CORES)
	$(BIN)/snakemake --report $(STUDY)/report.html
	@echo "The answer is in $(CURDIR)/$(STUDY)/index.html"

# Types take a minute of one core: the tests begin beside them.
test: $(READY)
	$(MAKE) --no-print-directory -j 2 style docs
	$(MAKE) --no-print-directory -j 2 types quick

test-all: $(READY)
	$(MAKE) --no-print-directory -j 2 style docs
	$(MAKE) --no-print-directory -j 2 types whole

quick: $(READY)
	$(PYTEST) -m "not slow" --hypothesis-profile=quick

whole: $(READY)
	$(PYTEST) $(COVERAGE)

lint: $(READY)
	$(MAKE) --no-print-directory -j 2 style types

types: $(READY)
	$(BIN)/pyright --pythonpath $(BIN)/python

style: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

bench: $(READY)
	$(BIN)/python -m benchmarks

# What the tests of tests/slurm start: a Slurm of one node, where root may install packages.
SLURM := slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge
APT   := -o Acquire::Retries=0 -o Acquire::http::Timeout=20

slurm-lab:
	@if PATH="$$PATH:/usr/sbin" which slurmctld slurmd sbatch munged > /dev/null; then \
	  echo "slurm-lab: Slurm is here, nothing to do"; \
	elif ! command -v apt-get > /dev/null || [ "$$(id -u)" != 0 ]; then \
	  echo "slurm-lab: only root installs packages, on Debian or Ubuntu: $(SLURM)"; \
	else \
	  echo "slurm-lab: installs $(SLURM)"; \
	  apt-get $(APT) update -qq; \
	  DEBIAN_FRONTEND=noninteractive apt-get $(APT) install -qq --no-install-recommends $(SLURM); \
	fi

# Tells what Slurm would refuse of the study's jobs. OPTIONS are Snakemake's.
slurm-check: $(READY)
	$(BIN)/wellspring cluster-check $(OPTIONS)

# Cancels the jobs of a run whose Snakemake is dead.
slurm-cancel:
	@if [ -z "$(RUN)" ]; then \
	  echo "slurm-cancel: name the run: make slurm-cancel RUN=…" >&2; \
	  ls .snakemake/slurm_runs 2> /dev/null; exit 1; \
	fi
	scancel --name="$(RUN)"

lock: $(READY)
	$(BIN)/pip freeze --all --exclude-editable | grep -v '^pip==' | sed 's/+cpu$$//' \
	  | grep -vxFf tests/requirements.lock | grep -vxFf docs/requirements.lock > requirements.lock
	$(BIN)/python envs/generate.py

clean:
	rm -rf .venv site .coverage .pytest_cache .ruff_cache .hypothesis .snakemake \
	  results/datasets results/models \
	  results/embeddings results/probes results/attributions results/activations results/ablations \
	  results/removals results/retrieval results/terms results/studies results/logs results/benchmarks results/.digests.json
