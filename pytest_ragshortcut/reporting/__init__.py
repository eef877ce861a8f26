"""What a person or a program is told of a check. Renders results; computes nothing."""
