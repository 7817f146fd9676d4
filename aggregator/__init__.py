"""Door of the room; behaviour is imported from here, vocabulary from its own module."""
