"""Groups whose rows lie elsewhere: their asset, their rows, what is observed of them."""
