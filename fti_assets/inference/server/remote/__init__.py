"""The graph on another server of the Open Inference Protocol, while features are looked up here."""
