"""What was answered, with what the builds saw and how it turned out: of batches and of logs."""
