"""tesseral: which irreps earn their cost? Studies of E(3)-equivariant networks on Ray."""
