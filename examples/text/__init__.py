"""What reports say of a flight: sentences as features, and a sentence encoder that learns."""
