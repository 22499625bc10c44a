"""Callbacks: a tenant's events, posted to the URLs it named."""
