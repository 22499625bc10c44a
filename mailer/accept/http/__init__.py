"""The HTTP door: a JSON API on FastAPI (RFC 9110), and what operators ask of a running process.

    visits       every request: its id, its log line, its metrics, and the last resort when we fail
    submitting   what the routes that take messages share: who asks, the body, the answer when on disk
    sending      POST /v1/messages; raw: a whole message; validating: a dry run, examining: what it finds
    body         reading a request body within size, time and the process's byte budget
    wire         the JSON of a send request as msgspec structs, and where in it a fault lies (RFC 6901)
    draft        a decoded request becomes a Submission: mailboxes, header fields, limits
    listing      GET /v1/messages, page by page; cursors: where the next page begins
    batching     POST /v1/messages/batch: many at once; batch: what its items are
    filling      a template, or HTML to be finished, becomes the words of a request
    templating   /v1/templates
    reading      GET: a message, why it waits, the event log; shapes: what those answers look like
    changing     POST on a message: cancel, retry
    streams      /v1/streams; keys: /v1/keys
    asked        what those routes are asked: values, refusals; smallbody: their bodies; invalid: what the
                 framework finds wrong, in our words
    endpoints    /v1/webhook-endpoints
    catalogue    every kind of refusal with its status and advice; problems: RFC 9457 answers
    openapi      the OpenAPI 3.1 document, also of the send route; docs: the same for people
    health       live, ready; metrics: Prometheus

The send route bypasses FastAPI's own request handling: decoding the raw body with msgspec takes half
the CPU of a FastAPI endpoint on the raw request and a third of one with pydantic models, and skipping
the framework's layers a fifth less again (measured). It lends its schema to the document, so callers see
no difference. All else is plain FastAPI: synchronous functions in its thread pool, since database reads
must not hold up the event loop.

Rejected: FastAPI's documentation pages, which load scripts from a CDN; cookies and CORS, since keys
belong on servers; a 200 for half a success: a message is accepted for all its recipients or for none. A
batch is no message: its 200 answers for each of its messages.
"""
