"""`codequarry serve`: a small server of vectors, with OpenAI's API and with that of TEI.

`app` reads a request's body within the limits of `requests`, `schemas` validates it and makes an
`EmbeddingRequest` of it, `batching` shares a forward pass between requests, and `schemas` writes the answer.
`server` runs the app on a socket; `auth` has the key.
"""
