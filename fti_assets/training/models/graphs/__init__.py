"""The graph of a trained model: exported, calibrated and compared with it."""
