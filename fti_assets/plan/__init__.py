"""What a change of code recomputes: ``fti plan``."""
