"""Sinks: where answers go beside the lake, partition by partition."""
