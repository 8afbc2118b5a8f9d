"""What judges a running system from the command line: its delays, and what leaks would promise."""
