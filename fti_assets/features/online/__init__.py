"""From the lake to the online store."""
