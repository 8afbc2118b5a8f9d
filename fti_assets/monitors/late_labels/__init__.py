"""Labels that come later than a monitor's partition looks for them: which partitions they are of, and the sensor that asks for these."""
