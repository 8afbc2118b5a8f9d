"""Fitting a torch module: here or in several processes, from a checkpoint or anew, epoch by epoch."""
