"""Models: trained, exported, compared and published."""
