"""Steps that another orchestrator calls."""
