"""Stamps of single sources from many surveys → stores, stacks, fits of one and two stars, doubles."""
