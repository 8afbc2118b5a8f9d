"""What is measured of a system that runs, over relations and arrays alone: parity."""
