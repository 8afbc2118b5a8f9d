"""The rows of a split as a model is trained on them: stored, encoded, in batches, and what loads them."""
