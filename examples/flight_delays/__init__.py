"""Will a flight out of New York arrive 15 minutes late or more? Every flight of 2013, from landing to prediction."""
