"""What makes the reference outputs that tests compare with."""
