"""What a server answers with under each name: models that look features up, graphs on their own, and which of them are loaded."""
