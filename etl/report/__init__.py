"""What people ask of the warehouse; it must not write to it."""
