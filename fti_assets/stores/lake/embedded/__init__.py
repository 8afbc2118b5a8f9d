"""What a catalog in a SQLite file needs: copies of it, and its file written again."""
