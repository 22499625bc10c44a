"""Who may send: tenants, their sending domains, the DKIM keys of those, and API keys.

A tenant owns streams, sending domains and API keys; a domain name belongs to one tenant of an
installation. Private DKIM keys lie in the database sealed under the installation's secret (vault.py,
installation.py), which is never in the database: a stolen backup signs nothing. Of an API key only the
SHA-256 of its 256-bit secret is kept, so that a look-up costs one hash and a stolen table opens no door;
a slow password hash would add nothing, since nobody guesses 256 bits.

Revoking keeps rows, because accepted mail refers to them: a revoked key or domain accepts nothing more,
and mail that waits under a revoked domain is held, not sent unsigned.

The operator names tenants and may do everything (tenants.py, domains.py, api_keys.py); a tenant changes
its own streams and keys by one of its keys (own_keys.py, streams.py), which is judged inside the
transaction that changes (asking.py) and hands on no more than it has (rights.py).

Every public function that takes a Store is one transaction, and raises IdentityError for what its caller
may mend, StoreUnavailable when the database does not answer. names.py, keys.py, rights.py and vault.py do
no I/O.
"""
