"""What knows Dagster and nothing of one pipeline."""
