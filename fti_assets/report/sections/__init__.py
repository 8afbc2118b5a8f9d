"""The parts of the report's page, each as HTML."""
