"""`codequarry serve`: a small server that answers with vectors, with OpenAI's API and with that of TEI.

How a request travels: `app` reads its body within `limits`, `schemas` validates it and makes the request of
it, `batching` shares a forward pass of the `encoder` between requests, and `schemas` writes the answer.
`server` ties the app to a socket and to signals, `command` to the command line; `auth` has the key.
"""
