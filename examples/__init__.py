"""Complete ML systems, declared with fti_assets."""
