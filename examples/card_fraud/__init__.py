"""A bank that decides each authorization of a card while the terminal waits, from a stream of events. The cards are simulated."""
