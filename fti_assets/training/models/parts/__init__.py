"""The parts of a dataset, as a build is trained and judged on them."""
