"""Training on a dataset's rows: rows on disk, streams, loaders, and fitting a torch module."""
