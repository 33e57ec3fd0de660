"""Alert packets of other surveys: read, decoded to triplets, described in this catalogue's own columns."""
