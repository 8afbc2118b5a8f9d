"""A year unattended: 2013 day by day on a set clock, with files that come late, wrong or broken, and what the system makes of them."""
