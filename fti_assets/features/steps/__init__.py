"""What the steps of feature groups do: what they read, which rows they store, and what their pages show."""
