"""How a declaration becomes a Dagster asset: what the three pipelines share of the shell around their pure cores."""
