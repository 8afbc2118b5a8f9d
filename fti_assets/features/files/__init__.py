"""Files of rows, one a partition: read as one relation in one schema."""
