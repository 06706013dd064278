"""What a model is trained towards: InfoNCE and its terms. Recipes import their names here, without torch."""

from typing import Literal, get_args

# From whom to whom: a pair's query against all documents, its query against the other queries, its document
# against all queries, its document against the other documents. In the order sentence-transformers asks.
Direction = Literal["query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)

# joint: one softmax over all directions; per_direction: one for each, averaged.
Partition = Literal["joint", "per_direction"]

# Which wrong documents weigh more the nearer they are: none, other pairs' (all their documents), the pair's
# own mined negatives, or both.
Hardness = Literal["none", "in_batch_negatives", "hard_negatives", "all_negatives"]
