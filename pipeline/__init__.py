"""What happens to data: stages, stores and the commit log."""
