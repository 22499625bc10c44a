"""What was reported about a sending domain, added up and page by page. Nothing here is written but dropped.

    span        which reports are asked for: a domain, and days
    dmarc, failures, tls, complaints   totals, and reports one by one
    dropping    old ones go

Totals are of whole reports: one is counted on the day that its time begins.
"""
