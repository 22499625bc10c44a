"""What tenants write once and send often: templates under a name, each with versions that never change.

A version is numbered and immutable, so that a message can be traced to the words it was made of, and a
process may keep what it compiled. One version is published: it is sent where none is named. Publishing
another, an older one too, is one row changed. Sent messages hold their own words; nothing here refers to
them, and a template may be deleted at any time.

HTML is kept as it was written: styles are written into elements, and the text beside it is made, when a
message is made of it (compose/finishing.py says why).

Every public function that takes a Store is one transaction, and raises StoreUnavailable. A template is
asked for by its name or its id; a name never looks like an id.

  shelf    create, list, look at, add versions, publish, delete
  reading  what is sent: the published version of a name, and the words of a version
"""
