"""A supervisor below itself, and a tree that takes the name of the runtime."""

from supervisor import Child, Supervisor

inner = Supervisor("inner", [])
tree = Supervisor("shop", [Supervisor("outer", [inner])])
inner.children = [tree.children[0]]

reserved = Supervisor("runtime", [Child("pump", "marks:quiet")])
