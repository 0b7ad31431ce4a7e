"""What the viewer receives and plays: the package format, its coding, and the client."""
