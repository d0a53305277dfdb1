"""What every back end returns: counts of actions, and what they cost, as one printable value."""
