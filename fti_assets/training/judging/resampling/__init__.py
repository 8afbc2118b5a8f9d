"""How far a metric would move if other rows had been drawn."""
