"""What fresh features are worth: a model trained again with one group's values known sooner or later, judged on the same test rows."""
