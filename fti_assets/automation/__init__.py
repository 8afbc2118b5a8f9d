"""What makes a system run by itself: sensors over new data and over the automation conditions."""
