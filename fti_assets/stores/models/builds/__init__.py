"""What is told of builds beside each other, what was in production when, and which of them may go."""
