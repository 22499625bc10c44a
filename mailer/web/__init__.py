"""Pages for people. Now: /inbox, where sandbox mail is looked at; the console comes here too.

What is shown was written by strangers, so the page trusts none of it. Templates escape; the script sets
text, never markup; no page loads anything from elsewhere, and a Content-Security-Policy without inline
script or style says so to the browser. A message's HTML is a document of its own under a policy that lets
it run nothing and fetch nothing, in a frame with an origin of its own; images it carries itself (cid:) are
put in as data. Downloads are always attachments with nosniff. Each of these would do alone.

Live means a poll a second of a JSON list with an ETag, not Server-Sent Events: a held connection would
delay the HTTP role's end and needs care behind proxies, while an unchanged list costs a directory scan.

inbox.py has the routes; shelf.py finds messages and remembers their summaries; reading.py takes one apart
and never raises on hostile bytes; hostile.py makes parts of it harmless; verdict.py asks dkimpy.

inbox_api.py is the same inbox for tests of applications, under /v1 with a key: owned.py leaves each tenant
its own mail, links.py finds what a test follows, waiting.py holds requests until a message comes. There a
held connection is what was asked for, so it is bounded in number and time, and let go when the role ends.
"""
