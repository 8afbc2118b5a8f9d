"""Plans on Spark, through the Spark Connect API alone, so that Spark and Sail run the same ones."""
