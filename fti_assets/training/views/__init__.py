"""Feature views: which features a model learns from, its label, and their record."""
