"""Where features, models and predictions lie on disk. Nothing here knows Dagster."""
