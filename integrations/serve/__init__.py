"""`codequarry serve`: a small server that answers with vectors, in OpenAI's shape and in that of TEI.

How a request travels: `body` reads it within limits, `openai_shape` or `tei_shape` turns it into what is
`wanted`, `batching` shares a forward pass of the `encoder` between requests, and the shape answers. `app`
ties these to the routes, `server` to a socket and to signals, `command` to the command line.
"""
