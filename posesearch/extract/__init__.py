"""Taking networks out of a supernet and proving that nothing changed on the way."""
