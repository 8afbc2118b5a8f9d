"""Training a model again to look at what comes of it: nothing is published, promoted or recorded."""
