# The server of models: the base install, what it speaks HTTP with, and the clients of Redis and of a bucket. No Dagster, torch or DuckDB.
FROM python:3.11-slim-bookworm

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 FTI_HOME=/var/lib/fti
WORKDIR /opt/flights

COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY fti_assets ./fti_assets
RUN python -m pip install --constraint constraints.txt '.[server,redis,bucket]'
# What the models' manifests name of the application's code: its on-demand functions.
COPY examples/__init__.py ./examples/__init__.py
COPY examples/flight_delays/__init__.py examples/flight_delays/on_demand.py ./examples/flight_delays/
RUN python -m compileall -q examples
RUN python -c "import examples.flight_delays.on_demand, fti_assets.inference.server, obstore, redis"

EXPOSE 8000
CMD ["sh", "-c", "exec fti serve delay --models \"$FLIGHTS_MODELS\" --online \"$FLIGHTS_ONLINE\" --host 0.0.0.0 --port 8000"]
