"""Image archives → stores, differences whose significance is a significance, candidates with triplets."""
