"""Composites: models that answer together, promoted and served as one."""
