"""What is used with a mouse: the Explorer, the caption box, the user study."""
