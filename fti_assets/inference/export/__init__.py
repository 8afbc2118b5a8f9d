"""Exporting a build: as files, as a model repository of Triton's, as a manifest of KServe's."""
