"""How each evaluation set is made from its source's files: one function a set, from files to `EvalSet`."""
