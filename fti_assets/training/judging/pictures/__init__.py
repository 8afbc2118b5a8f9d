"""What is drawn of a build, as SVG."""
