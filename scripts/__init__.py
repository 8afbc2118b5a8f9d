"""What the repository makes of itself."""
