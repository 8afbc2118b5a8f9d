"""What every other package rests on: types, times, names, records and rules, of the standard library and numpy alone."""
