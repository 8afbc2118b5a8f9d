"""Parity as an asset: past requests of a log, or of batch predictions, replayed online and compared with the lake of then."""
