"""What a picture says of its making: the marker, the XMP packet that carries it, and where both stand in a file."""
