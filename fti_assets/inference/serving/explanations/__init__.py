"""What each feature contributes to an answer: exact where the graph adds up, else by asking it."""
