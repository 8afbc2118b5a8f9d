"""Models that another code location owns: what their owner promises, and the asset that stands for them here."""
