"""What takes rows, snapshots and files of a lake away, or brings them back."""
