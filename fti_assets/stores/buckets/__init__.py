"""Buckets of object stores that speak S3: how one is reached, and the paths in it."""
