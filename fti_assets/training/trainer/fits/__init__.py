"""Fitting a torch module: here or in several processes, from a checkpoint or again, epoch by epoch."""
