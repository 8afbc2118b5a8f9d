"""The online store in a Redis server."""
