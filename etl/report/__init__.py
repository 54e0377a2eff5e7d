"""What people ask of the warehouse."""
