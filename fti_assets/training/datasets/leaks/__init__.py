"""Features that tell the label: equal to it, an order of it, or nearly."""
