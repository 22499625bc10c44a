"""Durable state: the database is the queue, and one public function is one transaction.

A recipient row says its state, due time, holder, counted attempts, and the reason it waits. Doors only
insert; workers claim, which opens the attempt before any network is touched, and settle, which closes
it, moves the recipient, appends the event and counts the usage, all or nothing. A broker only rings.

What makes a crash harmless:

- A claim names its holder, a worker's incarnation, and not a time. The sweeper declares an incarnation
  dead when its heartbeat counter stood still for the lease, by the sweeper's own monotonic clock, and
  fences it for ever; no wall clock is compared, so a clock step releases nothing.
- Claim and settle lock their incarnation's row for the length of the transaction and require it live,
  so a fenced worker can write nothing, however late it wakes.
- Settling is idempotent by attempt id: a recipient that no longer holds this attempt is left alone.
- Between the two, mailer/relay/journal.py notes what the database cannot know. `recover` settles a dead
  incarnation's attempts from it: reply heard is settled, no record was never sent, dot without reply
  is in doubt. Without the journal all of them are in doubt.

A DSN to a submitter is owed in the transaction of the change that it tells of (owing.py), and paid in the
transaction that accepts the message which carries it (notices.py): a crash makes neither two nor none.

Accepting touches no shared row: lanes are inserted if missing, usage is counted in a row per process.
"""
