"""What things cost: seconds, memory, parameters, multiply-accumulates."""
