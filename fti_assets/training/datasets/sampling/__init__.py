"""Which train rows a dataset keeps, and what each that is kept counts."""
