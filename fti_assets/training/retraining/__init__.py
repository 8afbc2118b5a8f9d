"""Training a model again: when its triggers ask for it, and in a step of which nothing is kept, to look at what comes of it."""
