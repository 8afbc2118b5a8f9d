"""What is asked: the fields of a request and their values, one request, many in columns, and values for other features."""
