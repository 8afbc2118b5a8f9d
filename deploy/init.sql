-- One database for the lake's catalog, one for what Dagster keeps of runs.
CREATE DATABASE lake;
CREATE DATABASE dagster;
