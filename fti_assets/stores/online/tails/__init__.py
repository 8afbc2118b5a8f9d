"""What the online store holds of a key for windows at the time of a request: its newest rows, and cells of older ones."""
