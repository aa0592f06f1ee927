"""Supervisors three deep, whose workers have descendants that escape."""

from marks import parent, quiet

from supervisor import Child, Supervisor

innermost = Supervisor("innermost", [Child("c", parent), Child("d", quiet, count=2)])
inner = Supervisor("inner", [Child("b", parent), innermost])
tree = Supervisor("deep", [Child("a", quiet, count=2), inner, Child("z", parent)], intensity=10)
