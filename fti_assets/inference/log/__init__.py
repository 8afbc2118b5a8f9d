"""The prediction log as a table of the lake: files that servers and apps wrote, taken in by partitions, exactly once."""
