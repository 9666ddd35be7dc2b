# make quickstart   sets up .venv, runs a study on this machine, writes its report
# make test         the same set-up, then every check and the tests
# make test-long    the tests that take half a minute or more each: kills of drivers and workers, real clusters
# make schemas      renew the JSON Schemas of study files, recipes and mappings in study/examples
# make docs         build the documentation to build/docs; a warning is an error
# make chaos        30 kills over 5 studies, and what they cost: nothing. Figures in build/chaos.json
# make faults       whatever fails, no row is lost and no number changes: at most 20 minutes. Figures in build/faults.json
# make slurm-test   studies on a real Slurm of two nodes: needs root and Debian's packages. Figures in build/slurm.json
# make cluster-test nodes that die, join late, are cut off: at most 15 minutes, needs root. Figures in build/cluster.json
# make simulate     10,000 trials on 1,000 GPUs, simulated: where driver and storage saturate. Figures in build/simulate.json
# make calibrate    how often intervals hold and equal arms are told apart: half an hour. Figures in build/calibrate.json
# make bench        speed and scale, as ratios. Figures in build/bench.json
# make bench-gpu    agreement, speed and resume on a GPU: at most ten minutes. Figures in build/bench.json
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
SIZE ?=
STORAGE ?= runs

STUDY := quickstart$(if $(SIZE),_$(SIZE))
WATER := water$(if $(SIZE),_$(SIZE))
TESSERAL := .venv/bin/tesseral

.PHONY: quickstart test test-long install check schemas docs chaos faults slurm-test cluster-test simulate calibrate bench bench-gpu clean

quickstart: install
	@$(TESSERAL) reference make study/examples/$(WATER).toml --storage $(STORAGE)
	@$(TESSERAL) run study/examples/$(STUDY).toml --storage $(STORAGE) || [ $$? = 1 ]  # some trials failed: report them
	@$(TESSERAL) report $(STUDY) --storage $(STORAGE)

# A third of the time is waiting. Each file stays in one process; one that crashes ends the run: xdist would wait on.
test: install check
	@.venv/bin/pytest -n 3 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

test-long: install
	@.venv/bin/pytest -m long -n 2 --dist load

check: install
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

schemas: install
	@for kind in study recipe mapping; do \
		$(TESSERAL) schema $$kind > study/examples/$$kind.schema.json || exit; done

docs: install
	@.venv/bin/python -m sphinx -W --keep-going -q docs build/docs
	@echo "Documentation: build/docs/index.html"

chaos: install
	@.venv/bin/python -m tests.system.chaos --seeds 5 --kills 6 --figures build/chaos.json

faults: install
	@.venv/bin/python -m tests.system.faults --figures build/faults.json

slurm-test: install
	@nice -n 10 .venv/bin/python -m tests.system.slurm --figures build/slurm.json

cluster-test: install
	@.venv/bin/pytest -m cluster
	@.venv/bin/python -m tests.system.cluster --figures build/cluster.json

simulate: install
	@.venv/bin/python -m tests.benchmarks.simulate --figures build/simulate.json

calibrate: install
	@OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 nice -n 10 .venv/bin/python -m tests.calibration --figures build/calibrate.json

bench: install
	@.venv/bin/python -m tests.benchmarks.scale --figures build/bench.json
	@.venv/bin/python -m tests.benchmarks.analysis --figures build/bench.json
	@.venv/bin/python -m tests.benchmarks.records --figures build/bench.json
	@OMP_NUM_THREADS=1 .venv/bin/python -m tests.benchmarks.data --figures build/bench.json
	@OMP_NUM_THREADS=1 .venv/bin/python -m tests.benchmarks.steps --figures build/bench.json
	@OMP_NUM_THREADS=1 .venv/bin/python -m tests.benchmarks.growth --figures build/bench.json
	@OMP_NUM_THREADS=1 .venv/bin/python -m tests.benchmarks.epochs --figures build/bench.json
	@OMP_NUM_THREADS=1 .venv/bin/python -m tests.benchmarks.density --figures build/bench.json
	@OMP_NUM_THREADS=1 .venv/bin/python -m tests.benchmarks.traces --figures build/bench.json
	@.venv/bin/python -m tests.benchmarks.reference --structures 1000 --sample 30 --figures build/bench.json

bench-gpu: install
	@.venv/bin/python -m tests.benchmarks.gpu --figures build/bench.json

install: .venv/installed

# Up to date as long as neither the dependencies nor their pins change; the code itself is installed by reference.
.venv/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed; name one: make install PYTHON=..."; exit 2; }
	@echo "Setting up .venv with $(PYTHON): a few minutes, once"
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[test]"
	@touch $@

clean:
	rm -rf .venv build dist *.egg-info
