"""Quality of answers: the metrics of the judging room on labels that came late, and estimates before they come."""
