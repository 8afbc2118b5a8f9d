"""What a feature view cannot be: the checks of its declaration, as far as schemas tell when the code loads."""
