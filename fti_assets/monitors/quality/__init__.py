"""What a monitor measures of the quality of answers: which rows, whose, and by which rules."""
