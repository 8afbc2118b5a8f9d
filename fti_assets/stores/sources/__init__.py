"""Tables that another system computes."""
