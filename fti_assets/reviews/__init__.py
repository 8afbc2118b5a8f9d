"""Reviews: assets that hold a champion beside the one before it, on rows that have come since, and propose or do a rollback."""
