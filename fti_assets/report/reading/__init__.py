"""What the report says, read from the stores: figures of monitors, comparisons, models, groups and what is wrong."""
