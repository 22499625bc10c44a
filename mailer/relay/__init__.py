"""One attempt: from a claimed recipient to an outcome that can be settled.

The worker process runs four kinds of thread. The Celery task (main thread) and the settler claim;
signer threads load and sign; one event loop holds every SMTP session and the DNS cache; the settler
writes outcomes. Async code never opens a transaction, database code never touches the network.
"""
