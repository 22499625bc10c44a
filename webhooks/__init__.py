"""Callbacks: a tenant's events, posted to the URLs it named (Standard Webhooks, standardwebhooks.com).

    endpoints   where a tenant wants to be called: made, listed, changed, their secrets rotated
    urls        which URLs are taken
    fanout      one row for every (event, endpoint), in the transaction that numbers the event
    claims      a caller takes what is due and settles what it heard; one function is one transaction
    caller      the process: claims, posts, settles, and lets nobody wait for a slow endpoint
    post        one POST, and what was heard; payload, signature: its body and its proof
    schedule    when a callback that failed is tried again, and when we stop; pure
    history     what was tried, what waits, and trying again what was given up

What a consumer can rely on:

- At least once. The row is written with the event's number and goes only when somebody answered 2xx, or
  the schedule ended. A caller that dies leaves its rows held; they are released when its incarnation is
  declared dead, as a worker's recipients are (mailer/queue), never by a time. What it had posted is posted
  again, with the same `webhook-id`, the event's.
- Provably complete. Every payload carries the event's number in the tenant's log, which has no gaps; what
  is missing can be read from `GET /v1/events`. An endpoint hears of the events numbered after it was made.
- No order. Calls run side by side and are repeated; the number says which came first.

A disabled endpoint gets no new callbacks, and what is due waits until it is enabled again or is as old as
the retention. Nothing is said to one endpoint about another: a slow one has calls of its own open, few of
them while it fails, and the index by which callbacks are found starts with the endpoint.

Of the mailer this package knows the events, the store, the clock and the ids, and the guarded way out
(mailer/outward); the rest is given to it by mailer/bootstrap.
"""
