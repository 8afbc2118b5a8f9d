"""The code location: the flight delays system with the stores and engine of this environment."""

from examples.flight_delays.definitions import defs as defs
