"""How late rows were really committed, against what their declaration says."""
