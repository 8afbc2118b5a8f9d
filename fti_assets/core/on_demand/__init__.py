"""On-demand functions: what they mean, where their source is, and how they are called."""
